"""SIGTERM with real clients: who notices what, and when the process has ended."""

import time
from pathlib import Path

import pytest

from tests.peers.ffmpeg import FfmpegPublisher, Player, require
from tests.peers.server import RunningServer

pytestmark = [pytest.mark.peer, pytest.mark.timeout(120)]


def test_sigterm_ends_publisher_and_players_in_order(tmp_path: Path) -> None:
    require("ffmpeg", "ffprobe")
    with RunningServer(tmp_path / "server") as server:
        rtmp = server.rtmp_url("live/cam")
        copy = ["-c", "copy", "-f", "null", "-"]
        with FfmpegPublisher(rtmp, tmp_path) as publisher:
            server.wait_live("live/cam")
            hls = server.hls_url("live/cam")
            flv = f"{server.base_url}/flv/live/cam"
            players = [
                Player(["ffmpeg", "-v", "info", "-i", url, *copy], tmp_path / f"player{at}.log")
                for at, url in enumerate((rtmp, flv, hls))
            ]
            for player in players:
                player.__enter__()
            deadline = time.monotonic() + 20
            while server.viewers("live/cam") < len(players):
                assert time.monotonic() < deadline, [one.output()[-500:] for one in players]
                time.sleep(0.2)
            # Each plays by now, and knows what to do about an end.
            time.sleep(3)
            began = time.monotonic()
            code = server.stop()
            took_s = time.monotonic() - began
            assert code == 0
            assert took_s < 10 + 5, "drain_timeout_s, and what has to be closed"
            assert publisher.process is not None
            assert publisher.process.wait(10) != 0, "ffmpeg says that it was cut short"
            # RTMP says UnpublishNotify, FLV ends its answer, HLS has an EXT-X-ENDLIST.
            codes = [player.process.wait(20) for player in players if player.process]
            print(f"the process ended after {took_s:.1f} s; players' exit codes: {codes}")  # noqa: T201
            assert codes == [0, 0, 0], [one.output()[-800:] for one in players]
