"""Chromium publishes and plays through a relay of ours that loses packets, each way.

``STREAMSERVER_LOSS_S=60`` watches for a minute.
"""

import logging
import os
import time
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.peers.browser import chromium, wait_until
from tests.peers.rtc_page import Page
from tests.peers.server import RunningServer
from tests.peers.udp_relay import UdpRelay

logger = logging.getLogger(__name__)

WATCH_S: Final = int(os.environ.get("STREAMSERVER_LOSS_S", "12"))

pytestmark = [pytest.mark.peer, pytest.mark.timeout(180 + WATCH_S)]

_PUBLISH: Final = """
async ({url, relayPort}) => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [480, 270];
  const context = canvas.getContext("2d");
  // Enough that changes for several packets in every picture.
  setInterval(() => {
    for (let i = 0; i < 60; i += 1) {
      context.fillStyle = `hsl(${Math.random() * 360} 80% 50%)`;
      context.fillRect(Math.random() * 480, Math.random() * 270, 40, 30);
    }
  }, 33);
  const stream = canvas.captureStream(30);
  const audio = new AudioContext(), tone = new OscillatorNode(audio);
  const out = audio.createMediaStreamDestination();
  tone.connect(out);
  tone.start();
  stream.addTrack(out.stream.getAudioTracks()[0]);
  const pc = window.pc = new RTCPeerConnection({bundlePolicy: "max-bundle"});
  pc.addTransceiver(stream.getAudioTracks()[0], {direction: "sendonly"});
  pc.addTransceiver(stream.getVideoTracks()[0], {direction: "sendonly",
    sendEncodings: [{maxBitrate: 1000000}]});
  return await window.signal(pc, url, relayPort);
}
"""

_PLAY: Final = """
async ({url, relayPort}) => {
  const pc = window.pc = new RTCPeerConnection({bundlePolicy: "max-bundle"});
  const stream = new MediaStream();
  for (const kind of ["audio", "video"]) pc.addTransceiver(kind, {direction: "recvonly"});
  pc.addEventListener("track", ({track}) => stream.addTrack(track));
  const video = document.createElement("video");
  [video.srcObject, video.autoplay] = [stream, true];
  document.body.append(video);
  return await window.signal(pc, url, relayPort);
}
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium("--disable-background-timer-throttling") as it:
        yield it


def _video(page: Page) -> dict[str, Any]:
    found: dict[str, Any] = page.totals("inbound-rtp").get("video", {})
    return found


@pytest.mark.parametrize("share", [0.0, 0.01, 0.05], ids=["0", "1", "5"])
@pytest.mark.parametrize("side", ["publish", "play"])
def test_pictures_come_through_a_path_that_loses_packets(
    browser: Any, server: RunningServer, side: str, share: float
) -> None:
    key = f"live/loss{side}{round(share * 100)}"
    camera, player = Page(browser, server), Page(browser, server)
    with UdpRelay(server.webrtc_port) as relay:
        ports = {"publish": 0, "play": 0, side: relay.port}
        try:
            begun = camera.run(_PUBLISH, url=f"/whip/{key}", relayPort=ports["publish"])
            assert begun["status"] == 201, begun
            wait_until(
                lambda: server.stream(key),
                lambda stream: stream is not None and len(stream["tracks"]) == 2,
                20,
                "the stream",
            )
            shown = player.run(_PLAY, url=f"/whep/{key}", relayPort=ports["play"])
            assert shown["status"] == 201, shown
            wait_until(
                lambda: _video(player).get("framesDecoded", 0), lambda n: n > 30, 30, "pictures"
            )
            relay.loss = share
            before, lost = _video(player), relay.lost
            sent = camera.totals("outbound-rtp")["video"]["framesSent"]
            time.sleep(WATCH_S)
            after, lost = _video(player), relay.lost - lost
            outbound = camera.totals("outbound-rtp")["video"]
            link = server.stream(key)["publisher"]["link"]
            viewer = server.api(f"streams/{key}/viewers")["items"][0]["link"]
        finally:
            camera.close()
            player.close()
    decoded = after["framesDecoded"] - before["framesDecoded"]
    freezes = after["freezeCount"] - before["freezeCount"]
    frozen_s = after["totalFreezesDuration"] - before["totalFreezesDuration"]
    logger.info(
        "%s, %.0f %% each way, %d s: relay lost %d datagrams; %d frames sent, %d decoded, "
        "%d freezes of %.2f s in all; publisher: lost %d, recovered %d, nacks %d, plis %d; "
        "viewer: %d lost, %d sent again, %d nacks, %d plis; the browser sent %d packets again "
        "and received %s so; %d packets of video sent, aimed at %d bit/s; %s; "
        "round trips %s and %s ms",
        side, share * 100, WATCH_S, lost, outbound["framesSent"] - sent, decoded, freezes,
        frozen_s, link["lost"], link["recovered"], link["nacks"], link["plis"], viewer["lost"],
        viewer["recovered"], viewer["nacks"], viewer["plis"],
        outbound["retransmittedPacketsSent"], after.get("retransmittedPacketsReceived"),
        outbound["packetsSent"], outbound["targetBitrate"], outbound["qualityLimitationReason"],
        link["rtt_ms"], viewer["rtt_ms"],
    )  # fmt: skip
    # What the publisher sent comes out, though a few pictures may be on their way.
    assert decoded >= 0.9 * (outbound["framesSent"] - sent) - 15
    assert frozen_s < 0.2 * WATCH_S + 0.5
    if share:
        assert lost
        assert (link if side == "publish" else viewer)["recovered"]
