"""Browsers that get out through a TURN server only: Debian's coturn, with our credentials."""

import contextlib
import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.peers.browser import chromium, wait_until
from tests.peers.ffmpeg import require
from tests.peers.rtc_page import Page
from tests.peers.server import RunningServer, free_ports, stop_process

logger = logging.getLogger(__name__)

pytestmark = pytest.mark.peer

_SECRET: Final = "peer-test-turn-secret-0123456789"
_RELAYED: Final = range(49_152, 49_252)
_CAMERA: Final = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")

# What RFC 9725, section 4.6, has in the Link header, as a browser wants it.
_SERVERS: Final = """
() => {
  window.iceServers = async (url) => {
    const links = (await fetch(url, {method: "OPTIONS"})).headers.get("Link") ?? "";
    const ours = links.split(/,\\s*(?=<)/).filter((link) => /rel="ice-server"/.test(link));
    return ours.map((link) => ({
      urls: link.match(/<([^>]*)>/)[1],
      username: link.match(/username="([^"]*)"/)?.[1],
      credential: link.match(/credential="([^"]*)"/)?.[1],
    }));
  };
}
"""

_CONNECT: Final = """
async ({url, publish}) => {
  const iceServers = await window.iceServers(url);
  const pc = window.pc = new RTCPeerConnection({
    bundlePolicy: "max-bundle", iceTransportPolicy: "relay", iceServers});
  if (publish) {
    const stream = await navigator.mediaDevices.getUserMedia({video: true, audio: true});
    for (const track of stream.getTracks()) pc.addTransceiver(track, {direction: "sendonly"});
  } else {
    const stream = new MediaStream();
    for (const kind of ["audio", "video"]) pc.addTransceiver(kind, {direction: "recvonly"});
    pc.addEventListener("track", ({track}) => stream.addTrack(track));
    const video = document.createElement("video");
    [video.srcObject, video.autoplay] = [stream, true];
    document.body.append(video);
  }
  return {...await window.signal(pc, url), iceServers};
}
"""

_GATHER: Final = """
async ({url, credential}) => {
  const iceServers = await window.iceServers(url);
  if (credential) iceServers[0].credential = credential;
  const pc = new RTCPeerConnection({iceTransportPolicy: "relay", iceServers});
  const found = [];
  pc.createDataChannel("any");
  pc.addEventListener("icecandidate", ({candidate}) => candidate && found.push(candidate.type));
  const gathered = new Promise((done) => pc.addEventListener("icegatheringstatechange",
    () => pc.iceGatheringState === "complete" && done()));
  await pc.setLocalDescription();
  await gathered;
  pc.close();
  return found;
}
"""

_PAIR: Final = """
async () => {
  const stats = await window.pc.getStats();
  for (const one of stats.values()) {
    if (one.type === "candidate-pair" && one.nominated) {
      const local = stats.get(one.localCandidateId);
      return {type: local.candidateType, relay: local.relayProtocol};
    }
  }
}
"""


@contextlib.contextmanager
def coturn(directory: Path) -> Iterator[tuple[int, Path]]:
    """Debian's TURN server on loopback. Skips where it is not installed."""
    require("turnserver")
    directory.mkdir(parents=True)
    (port,) = free_ports(1)
    log = directory / "turn.log"
    process = subprocess.Popen(
        [
            *("turnserver", "-n", "--no-cli", "--no-tls", "--no-dtls", "--verbose"),
            *("--listening-ip", "127.0.0.1", "--listening-port", str(port)),
            *("--relay-ip", "127.0.0.1", "--allow-loopback-peers"),
            *("--min-port", str(_RELAYED.start), "--max-port", str(_RELAYED.stop - 1)),
            *("--realm", "peer.test", "--use-auth-secret", "--static-auth-secret", _SECRET),
            *("--userdb", str(directory / "turn.db"), "--pidfile", str(directory / "turn.pid")),
            *("--log-file", str(log), "--simple-log", "--fingerprint"),
        ],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield port, log
    finally:
        stop_process(process)


@pytest.fixture(scope="module", params=["udp", "tcp"])
def relayed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    """A server whose clients are told of a TURN server, over UDP or over TCP."""
    directory = tmp_path_factory.mktemp("relayed")
    with coturn(directory / "coturn") as (port, _):
        url = f"turn:127.0.0.1:{port}?transport={request.param}"
        settings = (
            'webrtc.public_addresses=["127.0.0.1"]',
            f'webrtc.ice_servers=[{{urls = ["{url}"], secret = "{_SECRET}"}}]',
        )
        with RunningServer(directory / "server", settings=settings) as server:
            yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium(*_CAMERA) as it:
        yield it


def _page(browser: Any, server: RunningServer) -> Page:
    page = Page(browser, server)
    page.page.evaluate(_SERVERS)
    return page


def test_browsers_publish_and_play_through_a_turn_server_only(
    browser: Any, relayed: RunningServer
) -> None:
    camera, player = _page(browser, relayed), _page(browser, relayed)
    try:
        begun = camera.run(_CONNECT, url="/whip/live/relay", publish=True)
        assert begun["status"] == 201, begun
        wait_until(
            lambda: relayed.stream("live/relay"),
            lambda stream: stream is not None and len(stream["tracks"]) == 2,
            20,
            "the stream",
        )
        shown = player.run(_CONNECT, url="/whep/live/relay", publish=False)
        assert shown["status"] == 201, shown
        names = [one["iceServers"][0]["username"] for one in (begun, shown)]
        seen = wait_until(
            lambda: player.totals("inbound-rtp"),
            lambda seen: (
                seen.get("video", {}).get("framesDecoded", 0) > 60
                and seen.get("audio", {}).get("totalAudioEnergy", 0) > 0
            ),
            30,
            "pictures and sound",
        )
        pairs = [page.page.evaluate(_PAIR) for page in (camera, player)]
        assert {pair["type"] for pair in pairs} == {"relay"}
        links = [
            relayed.stream("live/relay")["publisher"]["link"],
            relayed.api("streams/live/relay/viewers")["items"][0]["link"],
        ]
        for link in links:
            assert int(link["remote"].rpartition(":")[2]) in _RELAYED, link
        logger.info(
            "connected %.0f and %.0f ms after the answers, %d pictures, round trips %s and %s ms; "
            "users %s; pairs %s",
            begun["connect_ms"], shown["connect_ms"], seen["video"]["framesDecoded"],
            links[0]["rtt_ms"], links[1]["rtt_ms"], names, pairs,
        )  # fmt: skip
    finally:
        camera.close()
        player.close()


def test_the_turn_server_takes_no_other_credential(browser: Any, relayed: RunningServer) -> None:
    page = _page(browser, relayed)
    try:
        assert "relay" in page.run(_GATHER, url="/whip/live/relay", credential="")
        assert page.run(_GATHER, url="/whip/live/relay", credential="bm90IHRoaXM=") == []
    finally:
        page.close()
