"""Chromium publishes its camera by WHIP and plays by WHEP, with a few lines of script."""

import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.peers.browser import chromium, wait_until
from tests.peers.ffmpeg import FfmpegPublisher, require
from tests.peers.rtc_page import Page
from tests.peers.server import RunningServer

logger = logging.getLogger(__name__)

pytestmark = pytest.mark.peer

_CAMERA: Final = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")

_AVAILABLE: Final = """
async () => {
  for (const one of (await window.pc.getStats()).values()) {
    if (one.type === "candidate-pair" && one.nominated) return one.availableOutgoingBitrate ?? 0;
  }
  return 0;
}
"""

_PUBLISH: Final = """
async ({url, codec}) => {
  const stream = await navigator.mediaDevices.getUserMedia({
    video: {width: 1280, height: 720, frameRate: 30}, audio: true});
  const pc = window.pc = new RTCPeerConnection({bundlePolicy: "max-bundle"});
  pc.addTransceiver(stream.getAudioTracks()[0], {direction: "sendonly"});
  const video = pc.addTransceiver(stream.getVideoTracks()[0], {direction: "sendonly",
    sendEncodings: [{maxBitrate: 2500000}]});
  if (codec) {
    const known = RTCRtpSender.getCapabilities("video").codecs;
    video.setCodecPreferences(known.filter((one) => one.mimeType === "video/" + codec));
  }
  return await window.signal(pc, url);
}
"""

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


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium(*_CAMERA) as it:
        yield it


def _live(server: RunningServer, key: str, tracks: int = 2) -> Any:
    return wait_until(
        lambda: server.stream(key),
        lambda stream: stream is not None and len(stream["tracks"]) == tracks,
        20,
        f"{key} to be live",
    )


def _plays(page: Page) -> Any:
    return wait_until(
        lambda: page.totals("inbound-rtp"),
        lambda seen: (
            seen.get("video", {}).get("framesDecoded", 0) > 60
            # What is heard, not what came: a tone or a beep.
            and seen.get("audio", {}).get("totalAudioEnergy", 0) > 0
        ),
        30,
        "pictures and sound",
    )


def test_a_camera_is_published_and_played_within_half_a_second(browser: Any, server: RunningServer):
    camera, player = Page(browser, server), Page(browser, server)
    try:
        began = camera.run(_PUBLISH, url="/whip/live/camera", codec="")
        assert began["status"] == 201, began
        stream = _live(server, "live/camera")
        assert [track["codec"] for track in stream["tracks"]] == ["h264", "opus"]
        assert stream["publisher"]["protocol"] == "whip"
        shown = player.run(_PLAY, url="/whep/live/camera")
        assert shown["status"] == 201, shown
        seen = _plays(player)
        # A browser whose processor is busy sends smaller pictures.
        assert seen["video"]["frameHeight"] >= 180
        # What our feedback allows; how much a busy browser makes of it is another matter.
        rate = wait_until(
            lambda: camera.page.evaluate(_AVAILABLE),
            lambda rate: rate >= 2_000_000,
            20,
            "the configured bit rate to be allowed",
        )
        sent = camera.totals("outbound-rtp")["video"]
        link = server.api("streams/live/camera/viewers")["items"][0]["link"]
        assert link["protocol"] == "udp"
        logger.info(
            "answers after %.0f and %.0f ms, connected %.0f ms later, %d bit/s allowed, "
            "%d aimed at, limited by %s, %s",
            began["answer_ms"], shown["answer_ms"], shown["connect_ms"], rate,
            sent["targetBitrate"], sent["qualityLimitationReason"], link,
        )  # fmt: skip
        sections = subprocess.run(
            [
                "ffprobe", "-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0",
                server.hls_url("live/camera"),
            ],
            capture_output=True, text=True, timeout=40, check=True,
        ).stdout.split()  # fmt: skip
        assert set(sections) == {"h264", "aac"}
        ended = camera.run("async () => (await fetch(window.resource, {method: 'DELETE'})).status")
        assert ended == 200
        wait_until(
            lambda: server.stream("live/camera")["state"],
            lambda state: state == "interrupted",
            5,
            "the end",
        )
    finally:
        camera.close()
        player.close()


@pytest.mark.parametrize("codec", ["VP8", "VP9", "AV1"])
def test_other_codecs_are_published_and_played(browser: Any, server: RunningServer, codec: str):
    camera, player = Page(browser, server), Page(browser, server)
    key = f"live/{codec.lower()}"
    try:
        assert camera.run(_PUBLISH, url=f"/whip/{key}", codec=codec)["status"] == 201
        stream = _live(server, key)
        assert stream["tracks"][0]["codec"] == codec.lower()
        assert player.run(_PLAY, url=f"/whep/{key}")["status"] == 201
        _plays(player)
    finally:
        camera.close()
        player.close()


def test_rtmp_with_aac_is_played_with_sound(browser: Any, server: RunningServer, tmp_path: Path):
    require("ffmpeg")
    with FfmpegPublisher(server.rtmp_url("live/obs"), tmp_path):
        _live(server, "live/obs")
        player = Page(browser, server)
        try:
            shown = player.run(_PLAY, url="/whep/live/obs")
            assert shown["status"] == 201, shown
            _plays(player)
        finally:
            player.close()


def test_ice_restarts_and_media_goes_on(browser: Any, server: RunningServer):
    camera = Page(browser, server)
    try:
        assert camera.run(_PUBLISH, url="/whip/live/restart", codec="")["status"] == 201
        _live(server, "live/restart")
        restarted = camera.run(
            """
            async () => {
              const pc = window.pc;
              const offer = await pc.createOffer({iceRestart: true});
              await pc.setLocalDescription(offer);
              const keep = (name) => offer.sdp.split("\\r\\n").find((l) => l.startsWith(name));
              const body = [keep("a=ice-ufrag"), keep("a=ice-pwd"), ""].join("\\r\\n");
              const answer = await fetch(window.resource, {method: "PATCH", body, headers: {
                "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": "*"}});
              const text = await answer.text();
              const fresh = (name) => text.split("\\r\\n").find((l) => l.startsWith(name));
              let sdp = pc.remoteDescription.sdp;
              sdp = sdp.replace(/a=ice-ufrag:.*/g, fresh("a=ice-ufrag"));
              sdp = sdp.replace(/a=ice-pwd:.*/g, fresh("a=ice-pwd"));
              await pc.setRemoteDescription({type: "answer", sdp});
              return {status: answer.status, tag: answer.headers.get("ETag"), was: window.etag};
            }
            """
        )
        assert restarted["status"] == 200
        assert restarted["tag"] != restarted["was"]
        before = server.stream("live/restart")["publisher"]["link"]["packets"]
        wait_until(
            lambda: server.stream("live/restart")["publisher"]["link"]["packets"],
            lambda packets: packets > before + 600,
            20,
            "packets after the restart",
        )
    finally:
        camera.close()
