"""npm's WHIP and WHEP clients of Eyevinn, unchanged, on a page of another origin.

Both are installed in the cache of the peer tests, with esbuild, which bundles them as
pages are bundled.
"""

import logging
import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Final

import pytest

from tests.peers.browser import chromium, wait_until
from tests.peers.server import PUBLISH_KEY, RunningServer

logger = logging.getLogger(__name__)

pytestmark = [pytest.mark.peer, pytest.mark.timeout(240)]

_CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME", "/tmp")) / "streamserver-peers" / "eyevinn"
_PACKAGES: Final = ("@eyevinn/whip-web-client@1", "@eyevinn/webrtc-player@0", "esbuild@0")
_ENTRY: Final = """
import { WHIPClient } from "@eyevinn/whip-web-client";
import { WebRTCPlayer } from "@eyevinn/webrtc-player";
Object.assign(window, { WHIPClient, WebRTCPlayer });
"""
_PAGE: Final = """<!doctype html><title>Page</title><link rel="icon" href="data:,">
<video></video><script src="out.js"></script>"""
_CAMERA: Final = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")

_PUBLISH: Final = """
async ({endpoint, authkey, noTrickleIce}) => {
  const client = window.client = new WHIPClient({endpoint, opts: {authkey, noTrickleIce}});
  await client.setIceServersFromEndpoint();
  const stream = await navigator.mediaDevices.getUserMedia({video: true, audio: true});
  await client.ingest(stream);
}
"""

_PLAY: Final = """
async ({url}) => {
  const player = window.player = new WebRTCPlayer({
    video: document.querySelector("video"), type: "whep", statsTypeFilter: "^inbound-rtp",
  });
  window.seen = {};
  player.on("stats:inbound-rtp", (report) => { window.seen[report.kind] = {...report}; });
  await player.load(new URL(url));
  player.unmute();
  document.querySelector("video").play();
}
"""


@pytest.fixture(scope="module")
def bundle() -> Path:
    """The directory with a page that has both clients. Skips without npm."""
    out = _CACHE / "site" / "out.js"
    if not out.exists():
        if shutil.which("npm") is None:
            pytest.skip("npm is not installed, and Eyevinn's clients are not here")
        _CACHE.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", *_PACKAGES]
        done = subprocess.run(
            [*command, "--prefix", str(_CACHE)], check=False, capture_output=True, timeout=180
        )
        if done.returncode:
            pytest.skip(f"the clients could not be installed: {done.stderr[-300:]!r}")
        (_CACHE / "entry.js").write_text(_ENTRY)
        tool = next(_CACHE.glob("node_modules/@esbuild/*/bin/esbuild"))
        subprocess.run(
            [str(tool), "entry.js", "--bundle", "--format=iife", f"--outfile={out}"],
            cwd=_CACHE, check=True, capture_output=True, timeout=60,
        )  # fmt: skip
    (out.parent / "index.html").write_text(_PAGE)
    return out.parent


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def origin(bundle: Path) -> Iterator[str]:
    """The page's own origin, which is not the server's."""
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(bundle)))
    thread = Thread(target=httpd.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_address[1]}/"
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium(*_CAMERA) as it:
        yield it


@pytest.mark.parametrize("trickle", [True, False], ids=["trickle", "no trickle"])
def test_eyevinns_clients_publish_and_play_unchanged(
    browser: Any, guarded: RunningServer, origin: str, *, trickle: bool
) -> None:
    key = f"live/eyevinn{trickle:d}"
    context = browser.new_context()
    said: list[str] = []
    pages = [context.new_page() for _ in range(2)]
    for page in pages:
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(f"error: {error}"))
        page.goto(origin)
    camera, player = pages
    try:
        endpoint = f"{guarded.base_url}/whip/{key}"
        options = {"endpoint": endpoint, "authkey": PUBLISH_KEY, "noTrickleIce": not trickle}
        camera.evaluate(_PUBLISH, options)
        stream = wait_until(
            lambda: guarded.stream(key),
            lambda stream: stream is not None and len(stream["tracks"]) == 2,
            30,
            f"the stream; the page says {said}",
        )
        assert stream["publisher"]["protocol"] == "whip"
        player.evaluate(_PLAY, {"url": f"{guarded.base_url}/whep/{key}"})
        seen = wait_until(
            lambda: player.evaluate("() => window.seen"),
            lambda seen: (
                seen.get("video", {}).get("framesDecoded", 0) > 30
                and seen.get("audio", {}).get("totalAudioEnergy", 0) > 0
            ),
            40,
            f"pictures and sound; the page says {said}",
        )
        logger.info(
            "%d pictures decoded, %d freezes; consoles: %s",
            seen["video"]["framesDecoded"], seen["video"]["freezeCount"], said,
        )  # fmt: skip
        player.evaluate("() => window.player.destroy()")
        camera.evaluate("() => window.client.destroy()")
        wait_until(lambda: guarded.viewers(key), lambda count: count == 0, 10, "the viewer gone")
        wait_until(
            lambda: guarded.stream(key),
            lambda stream: stream is None or stream["state"] == "interrupted",
            10,
            "the publisher gone",
        )
    finally:
        context.close()
    assert not [text for text in said if text.startswith("error")], said
