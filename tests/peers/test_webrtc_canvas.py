"""A page that publishes a canvas and an oscillator, and what comes of it at a destination.

The canvas shows the time of the audio clock in black and white bars, and the oscillator beeps at
every whole second of the same clock: both are measured in what a second server was sent.
``STREAMSERVER_CANVAS_S=600`` watches for ten minutes.

On a machine that is too busy Chromium renders too little sound: the audio clock falls behind the
other, and its time stamps do not tell. Nobody who gets the packets can know before some have come
late, so what lies within three seconds after that is told apart: the page notes both clocks.
"""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, Final

import av
import numpy as np
import pytest

from tests.peers.browser import chromium, wait_until
from tests.peers.rtc_page import Page
from tests.peers.server import RunningServer
from tests.peers.udp_relay import UdpRelay

logger = logging.getLogger(__name__)

WATCH_S: Final = int(os.environ.get("STREAMSERVER_CANVAS_S", "12"))
KEY: Final = "live/canvas"
KEYFRAME_S: Final = 2.5
APART_S: Final = 0.045
AWAY_S: Final = 10
_LOST_S: Final = 0.02
_WAKE_S: Final = 3
_BITS: Final = 20
_BARS: Final = _BITS + 2

pytestmark = [pytest.mark.peer, pytest.mark.timeout(240 + WATCH_S)]

# Bars: white, black, then the milliseconds of the audio clock, the highest bit first.
_PUBLISH: Final = """
async ({url, bits, relayPort}) => {
  const audio = window.audio = new AudioContext({sampleRate: 48000});
  await audio.resume();
  const tone = new OscillatorNode(audio, {frequency: 880});
  const gain = window.gain = new GainNode(audio, {gain: 0});
  const out = audio.createMediaStreamDestination();
  tone.connect(gain).connect(out);
  tone.start();
  let beep = Math.ceil(audio.currentTime + 0.5);
  setInterval(() => {
    while (beep < audio.currentTime + 3) {
      gain.gain.setValueAtTime(0.5, beep);
      gain.gain.setValueAtTime(0, beep + 0.1);
      beep += 1;
    }
  }, 500);
  window.clocks = [];
  setInterval(() => window.clocks.push([audio.currentTime, performance.now() / 1000]), 100);
  window.makeCanvas = (width, height) => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width, height];
    document.body.append(canvas);
    const context = canvas.getContext("2d");
    setInterval(() => {
      const ms = Math.round(audio.currentTime * 1000);
      const bar = canvas.width / (bits + 2);
      context.fillStyle = "#000";
      context.fillRect(0, 0, canvas.width, canvas.height);
      context.fillStyle = "#fff";
      context.fillRect(0, 0, bar, canvas.height);
      for (let i = 0; i < bits; i += 1) {
        if (ms >> (bits - 1 - i) & 1) context.fillRect((i + 2) * bar, 0, bar, canvas.height);
      }
    }, 33);
    return canvas;
  };
  const canvas = window.canvas = makeCanvas(640, 360);
  const pc = window.pc = new RTCPeerConnection({bundlePolicy: "max-bundle"});
  window.sound = out.stream.getAudioTracks()[0];
  window.picture = canvas.captureStream(30).getVideoTracks()[0];
  pc.addTransceiver(window.sound, {direction: "sendonly"});
  window.sender = pc.addTransceiver(window.picture, {direction: "sendonly",
    sendEncodings: [{maxBitrate: 1500000}]}).sender;
  return await window.signal(pc, url, relayPort);
}
"""


@dataclass
class Seen:
    """What came at the far side."""

    pictures: list[tuple[float, float, int]] = field(default_factory=list)
    """Time in the stream, time of the audio clock that it shows, width."""
    keyframes: list[tuple[float, float]] = field(default_factory=list)
    """Time in the stream and of arrival."""
    beeps: list[float] = field(default_factory=list)
    """Where a tone begins, in the time of the stream."""
    samples_s: float = 0.0
    """Seconds of sound."""

    def apart(self, since_s: float) -> list[tuple[int, float]]:
        """Each beep since then: its second of the audio clock, and by how much pictures are later
        than sound (negative: sooner)."""
        found = []
        for beep in list(self.beeps):
            near = [(t, shown) for t, shown, _ in list(self.pictures) if abs(t - beep) < 0.5]
            if beep < since_s or len(near) < 5:
                continue
            # What the pictures nearby say the audio clock was at stream time 0.
            base = median(t - shown for t, shown in near)
            second = round(beep - base)
            found.append((second, base + second - beep))
        return found


class Reader(threading.Thread):
    """Reads the stream of a server and notes what it sees, until it ends."""

    def __init__(self, url: str) -> None:
        super().__init__(name="reader", daemon=True)
        self.seen = Seen()
        self.ended = ""
        self._url = url
        self._quiet = 1.0
        self._last = -1.0
        self._stopping = False

    def stop(self) -> None:
        self._stopping = True
        self.join(30)

    def run(self) -> None:
        try:
            with av.open(self._url, timeout=25) as source:
                for packet in source.demux():
                    if self._stopping:
                        return
                    self._take(packet)
            self.ended = "end of stream"
        except (OSError, av.error.FFmpegError) as error:
            self.ended = f"{type(error).__name__}: {error}"

    def _take(self, packet: Any) -> None:
        if packet.stream.type == "video" and packet.is_keyframe and packet.dts is not None:
            stamp = float(packet.dts * packet.time_base)
            self.seen.keyframes.append((stamp, time.monotonic()))
        for frame in packet.decode():
            if frame.time is None:
                continue
            if packet.stream.type == "video":
                self._picture(frame)
            else:
                self._sound(frame)

    def _picture(self, frame: Any) -> None:
        row = np.asarray(frame.to_ndarray(format="gray"))[frame.height // 2]
        bar = frame.width / _BARS
        levels = [int(row[int((i + 0.5) * bar)]) for i in range(_BARS)]
        if levels[0] - levels[1] < 80:
            return  # black: muted
        shown = 0
        for level in levels[2:]:
            shown = shown << 1 | (level > 128)
        self.seen.pictures.append((frame.time, shown / 1000, frame.width))

    def _sound(self, frame: Any) -> None:
        samples = np.abs(frame.to_ndarray()).max(axis=0)
        rate = frame.sample_rate
        self.seen.samples_s += len(samples) / rate
        for at in np.flatnonzero(samples > 0.1):
            moment = frame.time + at / rate
            if self._quiet > 0.3:
                self.seen.beeps.append(moment)
            self._quiet = 0.0
            self._last = moment
        if self._quiet == 0.0 or samples.max() <= 0.1:
            end = frame.time + len(samples) / rate
            self._quiet = end - self._last


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium("--disable-background-timer-throttling") as it:
        yield it


class Show:
    """A publishing page, a relay before it, and a reader at the destination's server."""

    def __init__(self, page: Page, relay: UdpRelay, reader: Reader) -> None:
        self.page = page
        self.relay = relay
        self.reader = reader
        self.seen = reader.seen

    def judge(self, since_s: float) -> "Figure":
        """What was seen since then."""
        seen, until_s = self.seen, self.now()
        # From the last keyframe before: a distance that begins there is of this time too.
        stamps = [stamp for stamp, _ in seen.keyframes if since_s - 1 <= stamp <= until_s]
        times = [at for at, _, _ in list(seen.pictures)]
        clocks = self.page.run("() => window.clocks")
        skews = seen.apart(since_s + 0.5)
        disturbed = {second for second, _ in skews if lost_sound(clocks, second)}
        return Figure(
            max((own_distance(times, *pair) for pair in pairwise(stamps)), default=float("inf")),
            sorted(abs(skew) for second, skew in skews if second not in disturbed),
            sorted(abs(skew) for second, skew in skews if second in disturbed),
        )

    def now(self) -> float:
        """The newest picture's time in the stream."""
        return self.seen.pictures[-1][0] if self.seen.pictures else 0.0

    def goes_on(self, seconds: float, what: str) -> float:
        """Waits for so much more of the stream; answers where it stood."""
        began = self.now()
        wait_until(
            lambda: (self.now(), self.reader.ended),
            lambda seen: seen[0] > began + seconds,
            seconds + 30,
            what,
        )
        return began


@pytest.fixture
def show(browser: Any, tmp_path: Path) -> Iterator[Show]:
    with contextlib.ExitStack() as stack:
        second = stack.enter_context(RunningServer(tmp_path / "second"))
        ours = stack.enter_context(RunningServer(tmp_path / "ours"))
        relay = stack.enter_context(UdpRelay(ours.webrtc_port))
        body = {"url": second.rtmp_url("live/copy"), "name": "second"}
        ours.api(f"streams/{KEY}/destinations", "POST", body)
        page = Page(browser, ours)
        stack.callback(page.close)
        begun = page.run(_PUBLISH, url=f"/whip/{KEY}", bits=_BITS, relayPort=relay.port)
        assert begun["status"] == 201, begun
        second.wait_live("live/copy")
        reader = Reader(second.base_url + "/flv/live/copy")
        reader.start()
        stack.callback(reader.stop)
        wait_until(lambda: len(reader.seen.pictures), lambda count: count > 30, 30, "pictures")
        yield Show(page, relay, reader)


def test_keyframes_come_and_sound_stays_with_the_picture_through_changes(show: Show) -> None:
    page, seen = show.page, show.seen
    began = show.goes_on(WATCH_S, "the beginning")
    figures = {"plain": show.judge(began)}

    page.run(
        "async () => window.sender.replaceTrack("
        "makeCanvas(640, 360).captureStream(30).getVideoTracks()[0])"
    )
    began = show.goes_on(5, "after replaceTrack")
    figures["replaceTrack"] = show.judge(began)

    page.run("async () => window.sender.replaceTrack(window.picture)")
    sound_before = seen.samples_s
    page.run("() => { window.sound.enabled = window.picture.enabled = false; }")
    time.sleep(4)
    page.run("() => { window.sound.enabled = window.picture.enabled = true; }")
    assert seen.samples_s > sound_before + 2, "a muted track is silence, not a hole"
    wait_until(show.now, lambda now: now > began + 9, 30, "pictures after the mute")
    began = show.goes_on(5, "after the mute")
    figures["mute"] = show.judge(began)

    page.run("() => { window.canvas.width = 320; window.canvas.height = 180; }")
    wait_until(
        lambda: seen.pictures[-1][2], lambda width: width == 320, 20, "pictures of the new size"
    )
    began = show.goes_on(5, "after the change of size")
    figures["size"] = show.judge(began)

    show.relay.blocked = True
    time.sleep(AWAY_S)
    show.relay.blocked = False
    back, mark = time.monotonic(), page.run("() => window.audio.currentTime")
    wait_until(
        lambda: (seen.pictures[-1][1], show.reader.ended),
        lambda now: now[0] > mark,
        30,
        "pictures after ten seconds without a network",
    )
    logger.info("after %d s without network: back within %.1f s", AWAY_S, time.monotonic() - back)
    began = show.goes_on(6, "after ten seconds without a network")
    figures["network"] = show.judge(began)
    for phase, figure in figures.items():
        logger.info(
            "%s: keyframes at most %.2f s apart; sound apart by %s; after a loss in the page by %s",
            phase,
            figure.distance_s,
            told(figure.skews_s),
            told(figure.disturbed_s),
        )
    every = sorted(skew for figure in figures.values() for skew in figure.skews_s)
    logger.info("all: sound apart by %s", told(every))
    for phase, figure in figures.items():
        assert figure.skews_s or figure.disturbed_s, phase
        assert figure.distance_s <= KEYFRAME_S, (phase, figure)
        assert not figure.skews_s or share_of(figure.skews_s, 0.5) <= APART_S, (phase, figure)
    assert not every or share_of(every, 0.95) <= APART_S, figures


@dataclass(frozen=True)
class Figure:
    """What was measured in one phase."""

    distance_s: float
    """The largest distance of keyframes, less the time in which the page sent no picture."""
    skews_s: list[float]
    """By how much picture and sound were apart, at each beep, ascending."""
    disturbed_s: list[float]
    """The same at beeps that follow a loss of sound in the page."""


def own_distance(pictures: list[float], begin_s: float, end_s: float) -> float:
    """From keyframe to keyframe, without the longest pause between pictures there."""
    times = [at for at in pictures if begin_s <= at <= end_s]
    pause = max((after - before for before, after in pairwise(times)), default=0.0)
    return end_s - begin_s - max(0.0, pause - 0.1)


def lost_sound(clocks: list[tuple[float, float]], second: int) -> bool:
    """Whether the audio clock has fallen behind the other shortly before."""

    def behind(begin_s: float, end_s: float) -> float:
        within = [wall - at for at, wall in clocks if begin_s <= at <= end_s]
        return min(within, default=0.0)

    # The least of each second: a look may itself come late.
    return behind(second, second + 1) - behind(second - _WAKE_S - 1, second - _WAKE_S) > _LOST_S


def share_of(values: list[float], share: float) -> float:
    """What so many of them do not exceed; they ascend."""
    return values[round(share * (len(values) - 1))]


def told(values: list[float]) -> str:
    """For people."""
    if not values:
        return "nothing (no beep)"
    figures = [1000 * share_of(values, share) for share in (0.5, 0.95, 1.0)]
    return "{:.0f} ms (median), {:.0f} (95 %), {:.0f} (most) at {} beeps".format(
        *figures, len(values)
    )
