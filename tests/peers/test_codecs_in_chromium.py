"""What enhanced RTMP brings, in the browser's own decoders."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peers.browser import Watcher, chromium
from tests.peers.publishers import publishing, pyav
from tests.peers.server import RunningServer

pytestmark = [pytest.mark.peer, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.mark.parametrize(
    ("video", "codec", "audio", "opus"),
    [
        ("h264", "avc1.42C01E", "opus", "aac"),
        ("h264", "avc1.42C01E", "opus", "keep"),
        ("hevc", "hvc1.1.6.L93.B0", "aac", "aac"),
        ("av1", "av01.0.04M.08", "opus", "keep"),
        ("vp9", "vp09.00.30.08", "opus", "aac"),
        ("vp9", "vp09.00.30.08", "opus", "keep"),
    ],
)
def test_chromium_plays_what_it_can_decode(
    tmp_path: Path, browser: Any, video: str, codec: str, audio: str, opus: str
) -> None:
    with RunningServer(tmp_path / "server", settings=(f"server.opus={opus}",)) as server:
        page = browser.new_page()
        watcher = Watcher(page)
        watcher.open(f"{server.base_url}/")
        able = page.evaluate(f"MediaSource.isTypeSupported('video/mp4; codecs=\"{codec}\"')")
        if not able:
            page.close()
            pytest.skip(f"this Chromium has no decoder for {video}")
        command = pyav(server.rtmp_url("live/one"), "--video", video, "--audio", audio)
        with publishing(command, tmp_path / "publisher.log"):
            server.wait_live("live/one")
            watcher.open(f"{server.base_url}/play/live/one?via=hls")
            watcher.wait_playing(30)
            began = watcher.position()
            time.sleep(6)
            data = watcher.data()
            assert data["state"] == "playing", watcher.messages
            assert watcher.position() - began > 4.5
            assert watcher.size() == (640, 360)
            heard = watcher.page.evaluate(
                "() => document.querySelector('video').webkitAudioDecodedByteCount"
            )
            # Chromium counts what it decoded: as many seconds of about 128 kbit/s, or more.
            assert heard > 40_000
        page.close()
