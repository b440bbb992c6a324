"""``webrtc.transcode = "auto"``: Chromium plays over WHEP what it could not play as it comes."""

import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.peers import publishers
from tests.peers.browser import chromium, wait_until
from tests.peers.ffmpeg import Player, require
from tests.peers.rtc_page import Page
from tests.peers.server import RunningServer

logger = logging.getLogger(__name__)

pytestmark = [pytest.mark.peer, pytest.mark.timeout(240)]

_PLAY: Final = """
async ({url}) => {
  const pc = window.pc = new RTCPeerConnection({bundlePolicy: "max-bundle"});
  const stream = new MediaStream();
  for (const kind of ["audio", "video"]) pc.addTransceiver(kind, {direction: "recvonly"});
  pc.addEventListener("track", ({track}) => stream.addTrack(track));
  const video = document.createElement("video");
  video.srcObject = stream;
  document.body.append(video);
  const result = await window.signal(pc, url);
  video.play();
  return result;
}
"""

_FORMS: Final = {
    "bframes": ("libx264", "-preset", "veryfast", "-bf", "3", "-pix_fmt", "yuv420p"),
    "yuv422": ("libx264", "-preset", "ultrafast", "-pix_fmt", "yuv422p"),
    "ten-bits": ("libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p10le"),
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as it:
        yield it


@pytest.fixture(scope="module")
def converting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    directory = tmp_path_factory.mktemp("converting")
    with RunningServer(directory, settings=("webrtc.transcode=auto",)) as running:
        yield running


def _publisher(server: RunningServer, key: str, form: str, directory: Path) -> Player:
    """ffmpeg's moving picture, a keyframe each two seconds, and a tone."""
    command = ["ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "warning"]
    command += ["-re", "-f", "lavfi", "-i", "testsrc2=s=640x360:r=30"]
    command += ["-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]
    command += ["-c:v", *_FORMS[form], "-g", "60", "-b:v", "1000k", "-c:a", "aac"]
    command += ["-f", "flv", server.rtmp_url(key)]
    return Player(command, directory / f"{form}.log")


def _plays(page: Page, frames: int = 90) -> Any:
    before = page.totals("inbound-rtp").get("video", {}).get("framesDecoded", 0)
    return wait_until(
        lambda: page.totals("inbound-rtp"),
        lambda seen: (
            seen.get("video", {}).get("framesDecoded", 0) > before + frames
            and seen.get("audio", {}).get("totalAudioEnergy", 0) > 0
        ),
        90,
        "pictures and sound",
    )


def _figures(server: RunningServer) -> dict[str, float]:
    return {
        name.removeprefix("streamserver_video_rendition"): value
        for name, value in server.metrics().items()
        if name.startswith("streamserver_video_rendition")
    }


def _log(server: RunningServer, seen: Any) -> None:
    video, audio = seen["video"], seen["audio"]
    skew = video.get("estimatedPlayoutTimestamp", 0) - audio.get("estimatedPlayoutTimestamp", 0)
    logger.info(
        "%dx%d, %d decoded, %d keyframes, %d freezes, %d dropped, PLIs %d, jitter buffer %.0f ms, "
        "picture %d ms ahead of sound; %s",
        video["frameWidth"], video["frameHeight"], video["framesDecoded"],
        video["keyFramesDecoded"], video["freezeCount"], video["framesDropped"],
        video["pliCount"],
        1000 * video["jitterBufferDelay"] / max(1, video["jitterBufferEmittedCount"]), skew,
        _figures(server),
    )  # fmt: skip


@pytest.mark.parametrize("form", _FORMS)
def test_chromium_plays_what_it_could_not(
    browser: Any, converting: RunningServer, tmp_path: Path, form: str
):
    require("ffmpeg")
    key = f"live/{form}"
    with _publisher(converting, key, form, tmp_path):
        converting.wait_live(key, 40)
        player = Page(browser, converting)
        try:
            shown = player.run(_PLAY, url=f"/whep/{key}")
            assert shown["status"] == 201, shown
            seen = _plays(player)
            assert (seen["video"]["frameWidth"], seen["video"]["frameHeight"]) == (640, 360)
            _log(converting, seen)
            codes = [one["code"] for one in converting.api(f"streams/{key}")["health"]]
            assert "webrtc_transcoded" in codes
        finally:
            player.close()


def test_obs_with_its_defaults_is_played(browser: Any, converting: RunningServer, tmp_path: Path):
    require("obs", "xvfb-run")
    url = f"rtmp://127.0.0.1:{converting.rtmp_port}/live"
    command, environment = publishers.obs(
        tmp_path, url, "obs", keyframe_interval_s=None, preset="veryfast"
    )
    with publishers.publishing(command, tmp_path / "obs.log", environment):
        converting.wait_live("live/obs", 60)
        codes = wait_until(
            lambda: [one["code"] for one in converting.api("streams/live/obs")["health"]],
            lambda codes: "webrtc_transcoded" in codes,
            40,
            "B-frames to be seen",
        )
        assert "webrtc_unplayable" not in codes
        player = Page(browser, converting)
        try:
            shown = player.run(_PLAY, url="/whep/live/obs")
            assert shown["status"] == 201, shown
            _log(converting, _plays(player, 300))
        finally:
            player.close()


def test_a_conversion_that_is_killed_goes_on(
    browser: Any, converting: RunningServer, tmp_path: Path
):
    require("ffmpeg")
    with _publisher(converting, "live/killed", "bframes", tmp_path):
        converting.wait_live("live/killed", 40)
        player = Page(browser, converting)
        try:
            assert player.run(_PLAY, url="/whep/live/killed")["status"] == 201
            _plays(player)
            before = _figures(converting)["_restarts_total"]
            for child in _children(converting.pid):
                os.kill(child, signal.SIGKILL)
            wait_until(
                lambda: _figures(converting)["_restarts_total"],
                lambda restarts: restarts > before,
                40,
                "the end to be noticed",
            )
            _log(converting, _plays(player))
        finally:
            player.close()


def _children(pid: int) -> list[int]:
    """The processes that a server converts with."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    children = [child for task in tasks for child in (task / "children").read_text().split()]
    return [
        int(child)
        for child in children
        if b"streamserver.ffmpeg.transcode" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]
