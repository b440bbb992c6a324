"""The pages that publish and play over WebRTC, in real Chromiums with a make-believe camera."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peers.browser import Watcher, chromium, wait_until
from tests.peers.ffmpeg import FfmpegPublisher, require
from tests.peers.server import PUBLISH_KEY, RunningServer

pytestmark = [pytest.mark.peer, pytest.mark.timeout(180)]

CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}

# Keeps the connections of a page within reach of its test.
KEEP = """
window.connections = [];
window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(...settings) { super(...settings); window.connections.push(this); }
};
"""

# A network that lets no WebRTC through: the server's addresses lead nowhere.
BLOCK = """
window.RTCPeerConnection = class extends RTCPeerConnection {
  setRemoteDescription({type, sdp}) {
    return super.setRemoteDescription({type, sdp: sdp.replace(/a=candidate:.*\\r\\n/g, "")});
  }
};
"""

# Plays the part of a network that is gone, which Chromium cannot be told for WebRTC.
FAIL = """
() => {
  const connection = window.connections.at(-1);
  Object.defineProperty(connection, "connectionState", {value: "failed", configurable: true});
  connection.dispatchEvent(new Event("connectionstatechange"));
  delete connection.connectionState;
}
"""

# How far the loudest sample of a second is from silence.
LOUDNESS = """
async () => {
  const stream = document.querySelector("video").srcObject;
  const context = new AudioContext();
  await context.resume();
  const analyser = new AnalyserNode(context, {fftSize: 2048});
  context.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  let most = 0;
  for (const began = performance.now(); performance.now() < began + 2500;) {
    await new Promise((done) => setTimeout(done, 20));
    analyser.getFloatTimeDomainData(samples);
    for (const one of samples) most = Math.max(most, Math.abs(one));
  }
  await context.close();
  return most;
}
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium(*CAMERA) as browser:
        yield browser


@pytest.fixture
def tab(browser: Any) -> Iterator[Any]:
    """Opens pages, each in a profile of its own."""
    contexts = []

    def opened(script: str = "", size: dict[str, int] | None = None) -> Watcher:
        context = browser.new_context(viewport=size or DESKTOP)
        contexts.append(context)
        if script:
            context.add_init_script(script)
        return Watcher(context.new_page())

    yield opened
    for context in contexts:
        context.close()


def go_live(watcher: Watcher, url: str) -> None:
    watcher.open(url)
    watcher.page.click("#go")
    watcher.wait_state("live")


def test_a_camera_is_published_and_seen_over_webrtc_and_over_hls(
    server: RunningServer, tab: Any
) -> None:
    publisher = tab()
    go_live(publisher, f"{server.base_url}/publish/live/cam")
    viewers = {via: tab() for via in ("webrtc", "hls")}
    for via, viewer in viewers.items():
        viewer.open(f"{server.base_url}/play/live/cam?via={via}")
    for via, viewer in viewers.items():
        data = viewer.wait_playing(30)
        assert data["via"] == via
        wait_until(viewer.size, lambda size: size == (1280, 720), 10, f"the size over {via}")
        assert viewer.page.inner_text("#via-note") == ""
    stream = server.stream("live/cam")
    assert [track["codec"] for track in stream["tracks"]] == ["h264", "opus"]
    assert stream["publisher"]["protocol"] == "whip"
    # The make-believe microphone beeps.
    assert viewers["webrtc"].page.evaluate(LOUDNESS) > 0.02
    shown = wait_until(
        lambda: publisher.page.inner_text("#facts"), lambda text: "kbit/s" in text, 10, "figures"
    )
    assert all(word in shown for word in ("720", "H.264", "Opus", "UDP, direct"))
    # Muted, and with another size in the middle: the same broadcast goes on.
    publisher.page.click("#mute-audio")
    publisher.page.select_option("#height", "360")
    for via, viewer in viewers.items():
        wait_until(viewer.size, lambda size: size == (640, 360), 20, f"the new size over {via}")
    assert server.stream("live/cam")["session_id"] == stream["session_id"]
    publisher.page.click("#go")
    publisher.wait_state("idle")
    wait_until(
        lambda: server.stream("live/cam"),
        lambda seen: seen is None or seen["state"] != "live",
        5,
        "the end of the broadcast",
    )
    viewers["webrtc"].wait_state("waiting", "buffering")
    assert publisher.messages == []


def test_a_key_leaves_the_address_and_stays_in_the_tab(guarded: RunningServer, tab: Any) -> None:
    publisher = tab()
    page = publisher.page
    publisher.open(f"{guarded.base_url}/publish/live/keyed?key=wrong&x=1")
    assert page.url == f"{guarded.base_url}/publish/live/keyed?x=1"
    page.click("#go")
    publisher.wait_state("refused")
    assert page.inner_text("#fault")
    page.fill("#key", PUBLISH_KEY)
    page.click("#key-form button")
    publisher.wait_state("live")
    assert not page.is_visible("#key-form")
    page.reload()
    page.click("#go")
    publisher.wait_state("live")
    page.click("#go")
    fragment = tab()
    go_live(fragment, f"{guarded.base_url}/publish/live/other#key={PUBLISH_KEY}")
    assert PUBLISH_KEY not in fragment.page.evaluate("location.href + history.length")


def test_who_is_not_first_is_told_so(server: RunningServer, tab: Any) -> None:
    first, second = tab(), tab()
    go_live(first, f"{server.base_url}/publish/live/taken")
    second.open(f"{server.base_url}/publish/live/taken")
    second.page.click("#go")
    second.wait_state("refused")
    assert second.page.inner_text("#fault").endswith(".")
    assert not second.page.is_visible("#key-form")
    assert first.data()["state"] == "live"


def test_a_broadcast_outlives_a_change_of_network_and_a_restart_of_the_server(
    tmp_path: Path, tab: Any
) -> None:
    with RunningServer(tmp_path / "server") as server:
        publisher, viewer = tab(KEEP), tab(KEEP)
        go_live(publisher, f"{server.base_url}/publish/live/cam")
        viewer.open(f"{server.base_url}/play/live/cam")
        assert viewer.wait_playing()["via"] == "webrtc"
        before = server.stream("live/cam")
        restarts: list[int] = []
        for watcher in (publisher, viewer):
            watcher.page.on(
                "response",
                lambda seen: restarts.append(seen.status) if seen.request.method == "PATCH" else 0,
            )
            watcher.page.evaluate(FAIL)
        wait_until(
            lambda: publisher.page.wait_for_timeout(50) or list(restarts),
            lambda seen: seen == [200, 200],
            10,
            "two restarts of ICE",
        )
        publisher.wait_state("live")
        viewer.wait_playing()
        # Past the time after which a restart that failed would have been given up.
        publisher.page.wait_for_timeout(7000)
        assert publisher.page.evaluate("connections.length") == 1
        assert viewer.page.evaluate("connections.length") == 1
        assert viewer.data()["state"] == publisher.data()["state"].replace("live", "playing")
        assert server.stream("live/cam")["session_id"] == before["session_id"]
        server.kill()
        publisher.wait_state("reconnecting", timeout_s=30)
        server.start()
        publisher.wait_state("live", timeout_s=40)
        assert viewer.wait_playing(40)["via"] == "webrtc"


def test_the_player_falls_back_to_hls_where_the_network_blocks_webrtc(
    server: RunningServer, tmp_path: Path, tab: Any
) -> None:
    require("ffmpeg")
    with FfmpegPublisher(server.rtmp_url("live/blocked"), tmp_path, colour=None):
        server.wait_live("live/blocked")
        watcher = tab(BLOCK)
        watcher.open(f"{server.base_url}/play/live/blocked")
        wait_until(watcher.data, lambda data: data.get("via") == "hls", 15, "the fall-back")
        watcher.wait_playing()
        assert "network" in watcher.page.inner_text("#via-note")
        assert watcher.page.get_attribute("#via-hls", "aria-pressed") == "true"
        embedded = tab(BLOCK)
        embedded.open(f"{server.base_url}/embed/live/blocked?autoplay=1&muted=1")
        wait_until(embedded.data, lambda data: data.get("via") == "hls", 15, "the fall-back")
        embedded.wait_playing()


def test_the_player_falls_back_for_b_frames_and_says_what_the_publisher_can_do(
    server: RunningServer, tmp_path: Path, tab: Any
) -> None:
    require("ffmpeg")
    url = server.rtmp_url("live/bframes")
    extra = ("-tune", "film", "-bf", "2", "-x264-params", "bframes=2:b-adapt=0:rc-lookahead=5")
    watcher = tab()
    with FfmpegPublisher(url, tmp_path, colour=None, extra=extra):
        server.wait_live("live/bframes")
        watcher.open(f"{server.base_url}/play/live/bframes")
        wait_until(watcher.data, lambda data: data.get("via") == "hls", 15, "the fall-back")
        watcher.wait_playing()
        assert "B-frames" in watcher.page.inner_text("#via-note")
        # Asking for it again is answered in the same way.
        watcher.page.click("#via-webrtc")
        wait_until(watcher.data, lambda data: data.get("via") == "hls", 15, "the fall-back")
        watcher.wait_playing()
    # The next broadcast can be played, and is; the player has to notice that there was an end.
    wait_until(
        lambda: watcher.page.inner_text("#status"), lambda text: "come back" in text, 20, "the end"
    )
    with FfmpegPublisher(url, tmp_path, colour="blue"):
        wait_until(watcher.data, lambda data: data.get("via") == "webrtc", 60, "WebRTC again")
        watcher.wait_playing(30)
        assert watcher.page.inner_text("#via-note") == ""


def test_a_server_without_webrtc_plays_over_hls_and_publishes_nothing(
    tmp_path: Path, tab: Any
) -> None:
    require("ffmpeg")
    with RunningServer(tmp_path / "server", settings=("webrtc.enabled=false",)) as server:
        with FfmpegPublisher(server.rtmp_url("live/one"), tmp_path):
            server.wait_live("live/one")
            watcher = tab()
            watcher.open(f"{server.base_url}/play/live/one")
            assert watcher.wait_playing(30)["via"] == "hls"
            assert "no WebRTC" in watcher.page.inner_text("#via-note")
        publisher = tab()
        publisher.open(f"{server.base_url}/publish/live/two")
        publisher.page.click("#go")
        publisher.wait_state("refused")
        assert "no WebRTC" in publisher.page.inner_text("#fault")


def test_the_way_that_a_viewer_chose_is_kept(
    server: RunningServer, tmp_path: Path, tab: Any
) -> None:
    require("ffmpeg")
    with FfmpegPublisher(server.rtmp_url("live/chosen"), tmp_path, colour=None):
        server.wait_live("live/chosen")
        watcher = tab()
        watcher.open(f"{server.base_url}/play/live/chosen")
        assert watcher.wait_playing()["via"] == "webrtc"
        watcher.page.click("#via-hls")
        assert watcher.wait_playing()["via"] == "hls"
        watcher.page.reload()
        assert watcher.wait_playing()["via"] == "hls"
        watcher.page.click("#via-webrtc")
        assert watcher.wait_playing()["via"] == "webrtc"


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_page_fits_the_screen_and_breaks_no_rule_of_its_own(
    server: RunningServer, tab: Any, size: dict[str, int]
) -> None:
    publisher = tab(size=size)
    go_live(publisher, f"{server.base_url}/publish/live/size-{size['width']}")
    wide = publisher.page.evaluate("document.documentElement.scrollWidth")
    assert wide <= size["width"]
    assert publisher.messages == []


def test_plain_http_is_explained_and_leads_to_https(tmp_path: Path, tab: Any) -> None:
    with RunningServer(
        tmp_path / "server",
        settings=("http.host=0.0.0.0",),
        arguments=("--tls-self-signed",),
    ) as server:
        publisher = tab("Object.defineProperty(window, 'isSecureContext', {value: false});")
        publisher.open(f"{server.base_url}/publish/live/cam?key=sesame")
        page = publisher.page
        assert page.inner_text("#insecure-title") == "Cameras need HTTPS"
        assert page.is_disabled("#go")
        link = page.get_attribute("#insecure-link", "href")
        assert link == f"https://127.0.0.1:{server.https_port}/publish/live/cam#key=sesame"
