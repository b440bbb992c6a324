"""Transports that take what a test lets them, and streams without a publisher."""

import contextlib
import os
import socket
from collections.abc import Callable

from streamserver.feeds.body import Body, Header
from streamserver.feeds.framed import Framed, FramedFeed
from streamserver.hub.sessions import Action, Protocol
from streamserver.hub.slicer import Slicer
from streamserver.hub.stream import LogBounds
from streamserver.log import Log
from streamserver.outputs.fanout import FanOut, FanOutSettings, FanOutStats
from streamserver.outputs.viewer import Viewer
from streamserver.rtmp.message import AMF0_DATA, AUDIO, VIDEO
from tests.fakes import FakeClock, Turns, audio_track, session, video_track

BOUNDS = LogBounds(12_000, 16 * 1024 * 1024)


def header(name: bytes = b"h") -> Header:
    bodies = ((AMF0_DATA, b"<m" + name + b">"), (VIDEO, b"<v" + name + b">"))
    return Header((video_track(), audio_track()), bodies)


class PlainFormat:
    """Frames that a test can read: nothing is put around a body."""

    def frame(self, kind: int, time_ms: int, head: bytes, data: bytes) -> tuple[bytes, ...]:
        return (head, data)

    def greeting(self, header: Header) -> bytes:
        return b"<hello>"


class FakeTransport:
    """Keeps what it was written; ``kernel`` bytes of it are taken at once, then more by `take`."""

    def __init__(self, kernel: int = 1 << 40) -> None:
        self.kernel = kernel
        self.writes: list[bytes] = []
        self.written = 0
        self.peak = 0
        self.closing = False
        self.fails = False

    def write(self, data: bytes) -> None:
        assert not self.closing, "written to after it was closed"
        if self.fails:
            raise RuntimeError("no")
        self.writes.append(data)
        self.written += len(data)
        self.peak = max(self.peak, self.get_write_buffer_size())

    def get_write_buffer_size(self) -> int:
        return max(0, self.written - self.kernel)

    def is_closing(self) -> bool:
        return self.closing

    def take(self, size: int) -> None:
        self.kernel = max(self.kernel, self.kernel + size)

    @property
    def data(self) -> bytes:
        return b"".join(self.writes)


class SocketTransport:
    """A transport over a real socket, and the other end: what the kernel does not take it holds."""

    def __init__(self, kernel: int = 4_608) -> None:
        self.near, self.far = socket.socketpair()
        self.near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, kernel)
        self.near.setblocking(False)
        self.far.setblocking(False)
        self.held = bytearray()
        self.writes = 0
        self.data = bytearray()
        self.closing = False

    def own(self) -> socket.socket:
        """What a viewer is given (`own_socket`)."""
        own = socket.socket(fileno=os.dup(self.near.fileno()))
        own.setblocking(False)
        return own

    def write(self, data: bytes) -> None:
        assert not self.closing, "written to after it was closed"
        self.writes += 1
        held = bool(self.held)
        self.held += data
        if not held:
            self.flush()

    def get_write_buffer_size(self) -> int:
        return len(self.held)

    def is_closing(self) -> bool:
        return self.closing

    def take(self, size: int) -> None:
        """The other end reads so much, at most; the transport does not know yet."""
        with contextlib.suppress(BlockingIOError):
            while size > 0 and (data := self.far.recv(size)):
                self.data += data
                size -= len(data)

    def close(self) -> None:
        self.near.close()
        self.far.close()

    def flush(self) -> None:
        """The loop sees that there is room."""
        with contextlib.suppress(BlockingIOError):
            while self.held:
                del self.held[: self.near.send(self.held)]


class World:
    """A fan-out over a log of bodies that the test fills, and time that it lets pass."""

    def __init__(self, bounds: LogBounds = BOUNDS, **settings: int) -> None:
        self.clock = FakeClock()
        self.turns = Turns()
        self.timers: list[tuple[int, Callable[[], None]]] = []
        self.bodies: Log[Body] = Log(
            max_ms=bounds.max_ms, max_bytes=bounds.max_bytes, schedule=self.turns
        )
        self.feed = FramedFeed(self.bodies, PlainFormat(), bounds, self.turns)
        self.stats = FanOutStats()
        self.look_ns = 0
        """How long the slicer takes between two looks at the clock."""
        self.slicer = Slicer(now_ns=self._look, schedule=self.turns)
        self.fan_out = FanOut(
            self.feed,
            FanOutSettings(**settings),
            self.stats,
            wake=self.bodies.wake,
            ask=self.bodies.ask,
            pump=self._pump,
            slicer=self.slicer,
            later=self._later,
            now_ns=self.clock.monotonic_ns,
        )
        self.header = header()
        self.ended: list[tuple[Viewer, str, bool]] = []
        self.time_ms = 0
        self.count = 0

    def viewer(
        self, transport: FakeTransport | SocketTransport | None = None, **more: object
    ) -> Viewer:
        """A viewer that is not in the fan-out yet."""
        who = session(action=Action.PLAY, protocol=Protocol.RTMP)
        viewer = Viewer(
            transport or FakeTransport(),
            who,
            lambda reason, over: self.ended.append((viewer, reason, over)),
            **more,  # type: ignore[arg-type]  # a test's options
        )
        return viewer

    def append(self, *, keyframe: bool = False, size: int = 0, kind: int = VIDEO) -> bytes:
        """One body, 40 ms after the one before: its number, filled up to a size."""
        data = f"[{self.count}]".encode()
        data += b"." * (size - len(data))
        self.count += 1
        self.time_ms += 40
        body = Body(kind, self.time_ms, data, keyframe, self.header, True)
        self.bodies.append(body, size=len(data), at_ms=self.time_ms, keyframe=keyframe)
        return data

    def new_epoch(self, name: bytes) -> None:
        """Other headers from here on, in the log as a body feed puts them there."""
        self.header = header(name)
        for kind, data in self.header.bodies:
            body = Body(kind, self.time_ms, data, False, self.header, False)
            self.bodies.append(body, size=len(data), at_ms=self.time_ms)

    def settle(self) -> None:
        """Runs the loop until nothing is left to do but wait."""
        self.turns.run_all()

    def pass_ms(self, ms: int) -> None:
        """Lets time pass; due timers run, and a tick every quarter of a second."""
        end_ns = self.clock.now_ns + ms * 1_000_000
        while self.clock.now_ns < end_ns:
            step_ns = min(250_000_000, end_ns - self.clock.now_ns)
            due = [at for at, _ in self.timers if at <= self.clock.now_ns + step_ns]
            if due:
                step_ns = max(0, min(due) - self.clock.now_ns)
            self.clock.now_ns += step_ns
            ready = [f for at, f in self.timers if at <= self.clock.now_ns]
            self.timers = [(at, f) for at, f in self.timers if at > self.clock.now_ns]
            for function in ready:
                function()
            if not due:
                self.fan_out.tick(self.clock.now_ns)
            self.settle()

    def _look(self) -> int:
        self.clock.now_ns += self.look_ns
        return self.clock.now_ns

    def _pump(self) -> None:
        self.feed.pump()
        if self.bodies.closed is not None:
            self.feed.close(self.bodies.closed)

    def _later(self, ms: int, function: Callable[[], None]) -> Callable[[], None]:
        if not ms:
            # As an event loop does: with the next turn.
            called_off: list[bool] = []
            self.turns(lambda: None if called_off else function())
            return lambda: called_off.append(True)
        entry = (self.clock.now_ns + ms * 1_000_000, function)
        self.timers.append(entry)
        return lambda: self.timers.remove(entry) if entry in self.timers else None


def numbers(data: bytes) -> list[int]:
    """The numbers of the bodies in what a viewer got."""
    import re

    return [int(number) for number in re.findall(rb"\[(\d+)\]", data)]


def as_bytes(item: Framed) -> bytes:
    return item.data


__all__ = [
    "AUDIO",
    "BOUNDS",
    "VIDEO",
    "FakeTransport",
    "PlainFormat",
    "SocketTransport",
    "World",
    "as_bytes",
    "header",
    "numbers",
]  # fmt: skip
