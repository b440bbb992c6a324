"""One server, many far sides: the healthy ones get everything, the sick ones are told of truly.

Seconds each, as a test. ``STREAMSERVER_SHOW_S=60`` looks at healthy far sides for a minute.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import av
import pytest

from tests.peers.browser import wait_until
from tests.peers.far_sides import NginxRtmp, NodeMediaServer, SinkProcess
from tests.peers.ffmpeg import FfmpegPublisher, require
from tests.peers.proxies import write_certificate
from tests.peers.server import RunningServer, free_ports

SHOW_S: Final = int(os.environ.get("STREAMSERVER_SHOW_S", "6"))
STREAM: Final = "live/test"
GAP_S: Final = 0.15
"""Pictures are 33 ms apart and sounds 21."""

BEHIND_MS: Final = 1_000

pytestmark = [pytest.mark.peer, pytest.mark.timeout(180 + 6 * SHOW_S)]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def add(server: RunningServer, url: str, name: str, stream: str = STREAM) -> str:
    body = {"url": url, "name": name}
    return str(server.api(f"streams/{stream}/destinations", "POST", body)["id"])


def destinations(server: RunningServer, stream: str = STREAM) -> dict[str, Any]:
    """Those of a stream by name."""
    items = server.api(f"streams/{stream}/destinations")["items"]
    return {one["name"]: one for one in items}


def wait_state(server: RunningServer, name: str, *states: str, within_s: float = 40) -> Any:
    wait_until(
        lambda: destinations(server)[name],
        lambda one: one["state"] in states,
        within_s,
        f"{name} is {' or '.join(states)}",
    )
    return destinations(server)[name]


def packet_times(url: str, seconds: float) -> dict[str, list[float]]:
    """Decoding times that ffprobe reads within so many seconds, by kind."""
    done = subprocess.run(
        [
            *("ffprobe", "-v", "error", "-read_intervals", f"%+{seconds:g}", "-of", "json"),
            *("-show_entries", "packet=codec_type,dts_time", url),
        ],
        check=True, capture_output=True, text=True, timeout=seconds + 40,
    )  # fmt: skip
    times: dict[str, list[float]] = {"video": [], "audio": []}
    for packet in json.loads(done.stdout)["packets"]:
        times[packet["codec_type"]].append(float(packet["dts_time"]))
    return times


def plays_without_a_gap(url: str, seconds: float) -> None:
    for kind, times in packet_times(url, seconds).items():
        assert len(times) > 20 * seconds, (url, kind, len(times))
        gaps = [after - before for before, after in pairwise(times)]
        assert min(gaps) >= 0, (url, kind)
        assert max(gaps) < GAP_S, (url, kind, max(gaps))


def test_five_at_once_three_play_and_two_say_what_is_wrong(
    stack: ExitStack, tmp_path: Path
) -> None:
    require("ffmpeg", "ffprobe")
    nginx = stack.enter_context(NginxRtmp(tmp_path / "nginx"))
    node = stack.enter_context(NodeMediaServer(tmp_path / "node"))
    stalled = stack.enter_context(SinkProcess(tmp_path / "stalled", "stall"))
    refusing = stack.enter_context(SinkProcess(tmp_path / "refusing", "reject:no such key"))
    certificate, key = write_certificate(tmp_path)
    tls = (f"rtmp.cert_file={certificate}", f"rtmp.key_file={key}")
    second = stack.enter_context(RunningServer(tmp_path / "second", settings=tls))
    trust = f"outgoing.ca_file={certificate}"
    ours = stack.enter_context(RunningServer(tmp_path / "ours", settings=(trust,)))
    stack.enter_context(FfmpegPublisher(ours.rtmp_url(STREAM), tmp_path, colour=None))
    ours.wait_live(STREAM)

    healthy = {
        "nginx-rtmp": nginx.url("live/copy"),
        "node-media-server": node.url("live/copy"),
        "second": second.rtmp_url("live/copy"),
    }
    for name in ("nginx-rtmp", "node-media-server"):
        add(ours, healthy[name], name)
    add(ours, f"rtmps://localhost:{second.rtmps_port}/live/copy", "second")
    add(ours, stalled.url("live/ab12-secret"), "stalled")
    add(ours, refusing.url("live/ab12-secret"), "refusing")
    for name in healthy:
        wait_state(ours, name, "live")

    faults: list[BaseException] = []

    def look(url: str) -> None:
        try:
            plays_without_a_gap(url, SHOW_S)
        except BaseException as fault:  # raised below, in the test's own thread
            faults.append(fault)

    looking = [threading.Thread(target=look, args=(url,)) for url in healthy.values()]
    for thread in looking:
        thread.start()
    sick = wait_state(ours, "stalled", "stalled", "backoff")
    for thread in looking:
        thread.join()
    if faults:
        raise faults[0]

    wait_state(ours, "stalled", "backoff")
    now = destinations(ours)
    assert now["stalled"]["last_error"]["class"] == "stalled", sick
    assert now["refusing"]["last_error"]["class"] in ("rejected", "auth")
    assert "no such" in now["refusing"]["last_error"]["message"]
    assert "secret" not in json.dumps(now)
    for name in healthy:
        assert now[name]["state"] == "live"
        assert now[name]["reconnects"] == now[name]["dropped_frames"] == 0


def test_a_far_side_that_is_killed_goes_live_again_by_itself_at_a_keyframe(
    stack: ExitStack, tmp_path: Path
) -> None:
    require("ffmpeg")
    nginx = stack.enter_context(NginxRtmp(tmp_path / "nginx"))
    ours = stack.enter_context(RunningServer(tmp_path / "ours"))
    stack.enter_context(FfmpegPublisher(ours.rtmp_url(STREAM), tmp_path, colour=None))
    ours.wait_live(STREAM)
    add(ours, nginx.url("live/copy"), "nginx")
    wait_state(ours, "nginx", "live")
    nginx.kill()
    away = wait_state(ours, "nginx", "backoff")
    assert away["last_error"]["class"] in ("peer_closed", "refused")
    before = len(nginx.recordings())
    nginx.start()
    wait_state(ours, "nginx", "live", within_s=70)
    wait_until(
        lambda: sum(path.stat().st_size for path in nginx.recordings()[before:]),
        lambda size: size > 200_000,
        30,
        "it has recorded something again",
    )
    (recording,) = nginx.recordings()[before:]
    with av.open(str(recording)) as container:
        first = next(packet for packet in container.demux(video=0) if packet.dts is not None)
        assert first.is_keyframe
    with av.open(str(recording)) as container:
        assert sum(1 for _ in container.decode(video=0)) > 20


@contextmanager
def publishers(server: RunningServer, count: int) -> Iterator[None]:
    """So many light publishers of ``live/bench0`` and on, of 2.65 Mbit/s each."""
    arguments = ("127.0.0.1", server.rtmp_port, "live", count, 4096, 600)
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.publish", *map(str, arguments)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        assert process.stdout.readline()
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("count", [2, 5, 10])
def test_publishers_with_three_destinations_each_that_fail_and_come_and_go_alone(
    stack: ExitStack, tmp_path: Path, count: int
) -> None:
    """Of each publisher one goes well, one drops every two seconds, one is added and removed."""
    well = stack.enter_context(SinkProcess(tmp_path / "well"))
    coming = stack.enter_context(SinkProcess(tmp_path / "coming"))
    failing = stack.enter_context(SinkProcess(tmp_path / "failing", "drop:2s"))
    (nobody,) = free_ports(1)
    ours = stack.enter_context(RunningServer(tmp_path / "ours"))
    stack.enter_context(publishers(ours, count))
    streams = [f"live/bench{index}" for index in range(count)]
    for stream in streams:
        ours.wait_live(stream)
        add(ours, well.url(f"{stream}-well"), "well", stream)
        add(ours, failing.url(f"{stream}-failing"), "failing", stream)
    for stream in streams:
        wait_until(
            lambda stream=stream: destinations(ours, stream)["well"]["state"],  # type: ignore[misc]  # mypy has no type for the default
            lambda state: state == "live",
            20,
            f"{stream} is live there",
        )
    behind: list[int] = []
    deadline = time.monotonic() + 2 * SHOW_S
    turn = 0
    while time.monotonic() < deadline:
        stream = streams[turn % count]
        url = coming.url(f"{stream}-coming") if turn % 3 else f"rtmp://127.0.0.1:{nobody}/live/x"
        ident = add(ours, url, "coming", stream)
        time.sleep(0.4)
        for each in streams:
            now = destinations(ours, each)["well"]
            assert (now["state"], now["reconnects"], now["dropped_frames"]) == ("live", 0, 0)
            behind.append(now["queued_ms"])
        ours.api(f"streams/{stream}/destinations/{ident}", "DELETE")
        turn += 1
    assert max(behind) <= BEHIND_MS
    assert all(destinations(ours, each)["failing"]["reconnects"] for each in streams)
    ours.stop()
    done = wait_until(
        lambda: [one for one in well.events("ended") if "stream" in one],
        lambda told: len(told) == count,
        20,
        "all have ended",
    )
    for ended in done:
        assert ended["begins_with_keyframe"]
        assert ended["longest_video_gap_ms"] < 1000 * GAP_S
        assert ended["longest_audio_gap_ms"] < 1000 * GAP_S
        # What came late came within the second.
        assert ended["longest_silence_ms"] < BEHIND_MS
        assert ended["backward_steps"] == ended["damaged"] == 0
