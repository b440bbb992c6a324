"""Real faults: bad lines, a full disk, no name server, no descriptors, stopped and killed programs.

What counts is what a viewer on a good line sees meanwhile: every picture. Most need root.
"""

import contextlib
import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import urllib.error
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from tests.peers import publishers
from tests.peers.browser import wait_until
from tests.peers.far_sides import SinkProcess
from tests.peers.ffmpeg import FfmpegPublisher, require
from tests.peers.players import LightPlayer
from tests.peers.server import RunningServer
from tests.peers.witness import Witness

pytestmark = [pytest.mark.peer, pytest.mark.timeout(300)]

STREAM: Final = "live/cam"
PATIENCE_S: Final = 60
DESTINATIONS: Final = 20
SOCKETS: Final = 400
DESCRIPTORS: Final = 160
HLS_VIEWERS: Final = 44
OTHER_VIEWERS: Final = 6


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    require("ffmpeg", "ffprobe")
    with ExitStack() as stack:
        yield stack


def need_root(*commands: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can do this")
    require(*commands)


def run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=20)


class Line:
    """A network namespace whose only way out is a line of ours. A context manager."""

    def __init__(self) -> None:
        need_root("ip", "nft", "tc")
        ident = secrets.token_hex(3)
        self.name, self._outer, self._inner = f"ss{ident}", f"ssa{ident}", f"ssb{ident}"
        self.prefix = ("ip", "netns", "exec", self.name)
        net = f"10.{int(ident[0:2], 16)}.{int(ident[2:4], 16)}"
        self.server_ip, self._ip = f"{net}.1", f"{net}.2"

    def __enter__(self) -> "Line":
        made = subprocess.run(("ip", "netns", "add", self.name), check=False, timeout=20)
        if made.returncode:
            pytest.skip("no network namespaces here")
        run(*("ip", "link", "add", self._outer, "type", "veth"), *("peer", "name", self._inner))
        run("ip", "link", "set", self._inner, "netns", self.name)
        run("ip", "address", "add", f"{self.server_ip}/24", "dev", self._outer)
        run("ip", "link", "set", self._outer, "up")
        run(*self.prefix, "ip", "address", "add", f"{self._ip}/24", "dev", self._inner)
        run(*self.prefix, "ip", "link", "set", self._inner, "up")
        run(*self.prefix, "ip", "link", "set", "lo", "up")
        return self

    def __exit__(self, *exc: object) -> None:
        subprocess.run(("ip", "link", "del", self._outer), check=False, timeout=20)
        subprocess.run(("ip", "netns", "del", self.name), check=False, timeout=20)

    def lose(self, share: float) -> None:
        """Loses packets, each way."""
        below = str(int(share * 2**32))
        run(*self.prefix, "nft", "add", "table", "inet", "loss")
        for hook in ("input", "output"):
            chain = f"{{ type filter hook {hook} priority 0; }}"
            run(*self.prefix, "nft", "add", "chain", "inet", "loss", hook, chain)
            rule = ("meta", "random", "<", below, "drop")
            run(*self.prefix, "nft", "add", "rule", "inet", "loss", hook, *rule)

    def narrow(self, rate: str) -> None:
        """Bounds what the server can send into it."""
        shape = ("tbf", "rate", rate, "burst", "16kb", "latency", "200ms")
        run("tc", "qdisc", "add", "dev", self._outer, "root", *shape)

    def url(self, server: RunningServer, key: str = STREAM) -> str:
        """As seen from within."""
        return server.rtmp_url(key).replace("127.0.0.1", self.server_ip)

    def hls_url(self, server: RunningServer) -> str:
        """Likewise."""
        return server.hls_url(STREAM).replace("127.0.0.1", self.server_ip)


EVERYWHERE: Final = ("rtmp.host=0.0.0.0", "http.host=0.0.0.0", "auth.anonymous_publish=true")


def on_air(
    stack: ExitStack, tmp_path: Path, *settings: str, prefix: tuple[str, ...] = ()
) -> tuple[RunningServer, Witness]:
    """A server with a stream, and a viewer on a good line."""
    server = stack.enter_context(
        RunningServer(tmp_path / "server", settings=settings, prefix=prefix)
    )
    stack.enter_context(FfmpegPublisher(server.rtmp_url(STREAM), tmp_path, colour=None))
    server.wait_live(STREAM, PATIENCE_S)
    witness = stack.enter_context(Witness(server.rtmp_url(STREAM), tmp_path / "witness.log"))
    witness.see_more(30)
    return server, witness


def test_viewers_behind_bad_lines_cost_those_on_good_ones_nothing(
    stack: ExitStack, tmp_path: Path
) -> None:
    lossy, narrow = stack.enter_context(Line()), stack.enter_context(Line())
    server, witness = on_air(stack, tmp_path, *EVERYWHERE)
    lossy.lose(0.02)
    narrow.narrow("300kbit")
    far = stack.enter_context(Witness(lossy.url(server), tmp_path / "lossy.log", lossy.prefix))
    hls = stack.enter_context(Witness(lossy.hls_url(server), tmp_path / "hls.log", lossy.prefix))
    slow = stack.enter_context(Witness(narrow.url(server), tmp_path / "slow.log", narrow.prefix))
    far.see_more(150)
    hls.see_more(120)

    def dropped() -> int:
        viewers = server.api(f"streams/{STREAM}/viewers")["items"]
        return max(int(one["dropped_frames"]) for one in viewers)

    wait_until(dropped, lambda frames: frames > 0, PATIENCE_S, "the slow one loses frames")
    slow.see_more(1)
    witness.see_more(60)
    assert witness.missed_nothing()
    assert far.missed_nothing(), "TCP makes good what a line loses"
    assert hls.missed_nothing()
    tell("bad lines", witness, lossy=far, hls=hls, slow=slow)


def test_a_publisher_behind_a_lossy_line_is_seen_whole(stack: ExitStack, tmp_path: Path) -> None:
    line = stack.enter_context(Line())
    server = stack.enter_context(RunningServer(tmp_path / "server", settings=EVERYWHERE))
    line.lose(0.02)
    command = [*line.prefix, *publishers.ffmpeg(line.url(server))]
    stack.enter_context(publishers.publishing(command, tmp_path / "ffmpeg.log"))
    server.wait_live(STREAM, PATIENCE_S)
    witness = stack.enter_context(Witness(server.rtmp_url(STREAM), tmp_path / "witness.log"))
    witness.see_more(200)
    assert witness.missed_nothing()
    tell("a lossy publisher", witness)


def test_a_destination_that_is_stopped_is_told_apart_and_goes_on_when_it_wakes(
    stack: ExitStack, tmp_path: Path
) -> None:
    stopped = stack.enter_context(SinkProcess(tmp_path / "stopped"))
    well = stack.enter_context(SinkProcess(tmp_path / "well"))
    server, witness = on_air(stack, tmp_path)
    for name, sink in (("stopped", stopped), ("well", well)):
        body = {"url": sink.url("live/copy"), "name": name}
        server.api(f"streams/{STREAM}/destinations", "POST", body)

    def states() -> dict[str, str]:
        items = server.api(f"streams/{STREAM}/destinations")["items"]
        return {one["name"]: one["state"] for one in items}

    both = {"stopped": "live", "well": "live"}
    wait_until(states, lambda now: now == both, PATIENCE_S, "both are live")
    stopped.signal(signal.SIGSTOP)
    try:
        wait_until(
            states,
            lambda now: now["stopped"] != "live",
            PATIENCE_S,
            "it is noticed",
        )
        assert states()["well"] == "live"
        witness.see_more(60)
    finally:
        stopped.signal(signal.SIGCONT)
    wait_until(states, lambda now: now == both, 2 * PATIENCE_S, "both are live again")
    (item,) = (
        one
        for one in server.api(f"streams/{STREAM}/destinations")["items"]
        if one["name"] == "well"
    )
    assert (item["reconnects"], item["dropped_frames"]) == (0, 0)
    assert witness.missed_nothing()
    tell("a stopped destination", witness)


def test_a_full_disk_refuses_changes_and_nothing_else(stack: ExitStack, tmp_path: Path) -> None:
    need_root("mount", "umount")
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(
        ("mount", "-t", "tmpfs", "-o", "size=2m", "none", str(disk)), check=False, timeout=20
    )
    if made.returncode:
        pytest.skip("nothing can be mounted here")
    stack.callback(subprocess.run, ("umount", "-l", str(disk)), check=False, timeout=20)
    server, witness = on_air(stack, tmp_path, f"storage.path={disk}")
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as full, contextlib.suppress(OSError):
        while full.write(bytes(4096)):
            pass

    def register(number: int) -> int:
        try:
            name = f"n{number}"
            server.api("streams", "POST", {"app": "live", "name": name, "title": "x" * 200})
        except urllib.error.HTTPError as error:
            # A problem document, not a traceback.
            return int(json.loads(error.read())["status"])
        return 201

    # A database has some room of its own.
    codes = [register(number) for number in range(200)]
    assert codes[-1] == 503 or codes[-1] == 507, set(codes)
    assert set(codes) <= {201, codes[-1]}
    witness.see_more(60)
    again = stack.enter_context(Witness(server.hls_url(STREAM), tmp_path / "hls.log"))
    again.see_more(30)
    filler.unlink()
    wait_until(lambda: register(1_000), lambda code: code == 201, PATIENCE_S, "room again")
    assert witness.missed_nothing()
    tell("a full disk", witness, hls=again)


def test_a_name_server_that_never_answers_delays_nobody(stack: ExitStack, tmp_path: Path) -> None:
    need_root("unshare", "mount")
    deaf = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    try:
        deaf.bind(("127.0.0.253", 53))
    except OSError:
        pytest.skip("something listens there")
    resolv = tmp_path / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.253\n")
    script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
    prefix = ("unshare", "--mount", "sh", "-c", script, str(resolv))
    server, witness = on_air(stack, tmp_path, prefix=prefix)
    for number in range(DESTINATIONS):
        body = {"url": f"rtmp://far{number}.example.com/live/key", "name": f"far{number}"}
        server.api(f"streams/{STREAM}/destinations", "POST", body)

    def failed() -> list[Any]:
        items = server.api(f"streams/{STREAM}/destinations")["items"]
        return [one["last_error"] for one in items if one["last_error"]]

    errors = wait_until(failed, lambda all_: len(all_) == DESTINATIONS, PATIENCE_S, "all failed")
    deaf.settimeout(1)
    assert deaf.recv(512), "it was really asked"
    assert {one["class"] for one in errors} == {"dns"}
    witness.see_more(60)
    assert witness.missed_nothing()
    tell("a deaf name server", witness)


def test_without_file_descriptors_newcomers_wait_and_viewers_see_on(
    stack: ExitStack, tmp_path: Path
) -> None:
    require("prlimit")
    settings = ("limits.connections_per_address=10000", "limits.max_connections=10000")
    prefix = ("prlimit", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}")
    server, witness = on_air(stack, tmp_path, *settings, prefix=prefix)
    with ExitStack() as crowd:
        for number in range(SOCKETS):
            port = server.http_port if number % 2 else server.rtmp_port
            one = crowd.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        wait_until(
            lambda: len(os.listdir(f"/proc/{server.pid}/fd")),
            lambda count: count >= DESCRIPTORS - 8,
            PATIENCE_S,
            "they are used up",
        )
        witness.see_more(90)
    wait_until(lambda: answers(server), bool, PATIENCE_S, "newcomers are let in again")
    assert witness.missed_nothing()
    lines = server.log().count("\n")
    assert lines < 200, "a line a second at most"
    tell(f"no descriptors ({lines} log lines)", witness)


def answers(server: RunningServer) -> bool:
    try:
        return bool(server.stream(STREAM))
    except (OSError, http.client.HTTPException):
        return False


def test_the_demonstrations_child_is_killed_and_viewers_stay(
    stack: ExitStack, tmp_path: Path
) -> None:
    server = stack.enter_context(RunningServer(tmp_path / "server", command="demo"))
    key = "live/demo"
    broadcast = server.wait_live(key, PATIENCE_S)["session_id"]
    witness = stack.enter_context(Witness(server.rtmp_url(key), tmp_path / "witness.log"))
    witness.see_more(30)
    # As the kernel does that has no memory left.
    for child in children(server.pid):
        os.kill(child, signal.SIGKILL)
    wait_until(
        lambda: "the demonstration stopped" in server.log(), bool, PATIENCE_S, "it is noticed"
    )
    witness.see_more(60)
    assert server.stream(key)["session_id"] == broadcast
    tell("a killed child", witness)


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


class EndingPlayer(LightPlayer):
    """One that knows the end of a broadcast when it reads it."""

    def __init__(self, url: str, user_agent: str) -> None:
        super().__init__(url, user_agent)
        self.ended = False

    def _read(self, text: str) -> str:
        query = super()._read(text)
        if "#EXT-X-ENDLIST" in text:
            self.ended = True
            self._stopping.set()
        return query


def test_a_reload_is_noticed_by_none_of_fifty_viewers_and_a_drain_is_told_to_each(
    stack: ExitStack, tmp_path: Path
) -> None:
    server, witness = on_air(stack, tmp_path, "limits.hls_sessions_per_address=1000")
    rest = [
        stack.enter_context(
            Witness(
                server.rtmp_url(STREAM) if number % 2 else f"{server.base_url}/flv/{STREAM}",
                tmp_path / f"viewer{number}.log",
            )
        )
        for number in range(OTHER_VIEWERS - 1)
    ]
    players = [EndingPlayer(server.hls_url(STREAM), f"p{n}") for n in range(HLS_VIEWERS)]
    for player in players:
        stack.enter_context(player)

    def ids() -> set[str]:
        items = server.api(f"streams/{STREAM}/viewers?limit=1000")["items"]
        return {one["id"] for one in items}

    count = HLS_VIEWERS + OTHER_VIEWERS
    before = wait_until(ids, lambda found: len(found) == count, PATIENCE_S, "fifty viewers")
    (server.directory / "config.toml").write_text(
        '[server]\nreconnect_window_s = 33\ntakeover = "refuse"\n[limits]\nmax_publishers = 7\n'
    )
    server.signal(signal.SIGHUP)
    wait_until(lambda: "configuration read again" in server.log(), bool, PATIENCE_S, "the reload")
    for each in (witness, *rest):
        each.see_more(60)
    assert ids() == before
    assert all(each.missed_nothing() for each in (witness, *rest))
    steps = max(each.longest_step_s() for each in (witness, *rest))
    code = server.stop()
    codes = [each.process.wait(PATIENCE_S) for each in (witness, *rest) if each.process]
    wait_until(
        lambda: sum(player.ended for player in players),
        lambda told: told == HLS_VIEWERS,
        PATIENCE_S,
        "every player reads the end",
    )
    print(  # noqa: T201
        f"reload: 0 of {count} viewers noticed, longest step {steps * 1000:.0f} ms; drain: "
        f"{HLS_VIEWERS} read ENDLIST, {len(codes)} of RTMP and FLV the end of their stream"
    )
    assert code == 0
    assert codes == [0] * OTHER_VIEWERS


def tell(what: str, witness: Witness, **others: Witness) -> None:
    """Prints what viewers saw."""
    words = [f"{len(witness.times())} pictures, step {witness.longest_step_s() * 1000:.0f} ms"]
    words += [
        f"{name} {len(one.times())}, {one.longest_step_s() * 1000:.0f} ms"
        for name, one in others.items()
    ]
    print(f"{what}: the witness saw {'; '.join(words)}")  # noqa: T201
