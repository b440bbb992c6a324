"""Each real encoder, watched in Chromium through hls.js: no stall.

``STREAMSERVER_WATCH_S`` says for how long; the suite takes fifteen seconds of each.
"""

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.peers import publishers
from tests.peers.browser import Watcher, chromium
from tests.peers.ffmpeg import require
from tests.peers.server import RunningServer

pytestmark = [pytest.mark.peer, pytest.mark.timeout(200)]

logger = logging.getLogger(__name__)

WATCH_S: Final = float(os.environ.get("STREAMSERVER_WATCH_S", "15"))

ENCODERS: Final = ("ffmpeg", "rtmp2sink", "librtmp", "obs", "obs_8s")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@contextlib.contextmanager
def encoder(name: str, server: RunningServer, key: str, directory: Path) -> Iterator[None]:
    """Publishes as a user of that program would; ``obs_8s`` keeps OBS's own keyframe interval."""
    environment = None
    url = server.rtmp_url(key)
    match name:
        case "ffmpeg":
            require("ffmpeg")
            command = publishers.ffmpeg(url)
        case "rtmp2sink" | "librtmp":
            require("gst-launch-1.0")
            sink = "rtmpsink" if name == "librtmp" else name
            command = publishers.gstreamer(url, sink=sink)
        case _:
            require("obs", "xvfb-run")
            app, _, stream = key.partition("/")
            command, environment = publishers.obs(
                directory,
                f"rtmp://127.0.0.1:{server.rtmp_port}/{app}",
                stream,
                keyframe_interval_s=2 if name == "obs" else None,
            )
    with publishers.publishing(command, directory / "encoder.log", environment):
        server.wait_live(key, 40)
        yield


@pytest.mark.parametrize("name", ENCODERS)
def test_hls_js_plays_an_encoder_without_a_stall(
    name: str, server: RunningServer, browser: Any, tmp_path: Path
) -> None:
    key = f"live/watched_{name}"
    with encoder(name, server, key, tmp_path):
        # OBS draws its first seconds as fast as it can start; hls.js begins three parts back.
        time.sleep(5)
        context = browser.new_context()
        watcher = Watcher(context.new_page())
        watcher.open(f"{server.base_url}/play/{key}?via=hls")
        watcher.wait_playing(30)
        began, position = time.monotonic(), watcher.position()
        time.sleep(WATCH_S)
        played = watcher.position() - position
        watched = time.monotonic() - began
        data = watcher.data()
        context.close()
    logger.info("%s: %.1f of %.1f s played, %s", name, played, watched, data)
    assert data["state"] == "playing"
    assert data["stalls"] == "0"
    # More than the clock is a player that came nearer to live.
    assert played > watched - 2
    assert watcher.messages == []
