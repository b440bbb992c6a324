"""Sending over UDP where the kernel does not play along."""

import errno

import pytest

from streamserver.webrtc.paths import MuxStats, UdpPath

REMOTE = ("192.0.2.1", 5000)


class Kernel:
    """A socket that keeps what it is given, or fails."""

    def __init__(self, *, split: int = 0, every: int = 0, after: int = 1 << 30) -> None:
        self.sent: list[bytes] = []
        self.sizes: list[int] = []
        self._split, self._every, self._after = split, every, after

    def sendmsg(self, buffers, ancillary, flags, address) -> int:
        assert address == REMOTE
        is_split = any(kind == 103 for _, kind, _ in ancillary)
        if is_split and self._split:
            raise OSError(self._split, "cannot split")
        if self._every or len(self.sent) >= self._after:
            raise OSError(self._every or errno.EAGAIN, "cannot send")
        data = b"".join(buffers)
        self.sizes.append(len(data))
        self.sent.append(data)
        return len(data)


def path(kernel: Kernel, stats: MuxStats) -> UdpPath:
    return UdpPath(kernel, REMOTE, ("192.0.2.2", 8189), [], stats, segmented=True)  # type: ignore[arg-type]


DATA = memoryview(bytes(range(250)))


@pytest.mark.parametrize("code", [errno.EIO, errno.EINVAL, errno.EMSGSIZE, errno.ENOPROTOOPT])
def test_packets_are_sent_one_by_one_where_the_kernel_does_not_split(code):
    kernel, stats = Kernel(split=code), MuxStats()
    way = path(kernel, stats)
    for _ in range(2):
        assert way.send_segments(DATA, 100)
    assert kernel.sizes == [100, 100, 50] * 2
    assert b"".join(kernel.sent[:3]) == DATA
    assert stats.unsegmented == 1
    assert stats.overflow == stats.send_failed == 0


def test_one_message_holds_64_packets_and_less_than_64_kib():
    kernel = Kernel()
    assert path(kernel, MuxStats()).send_segments(memoryview(bytes(100 * 150)), 100)
    assert kernel.sizes == [6400, 6400, 2200]
    kernel = Kernel()
    assert path(kernel, MuxStats()).send_segments(memoryview(bytes(1200 * 60)), 1200)
    assert kernel.sizes == [54 * 1200, 6 * 1200]


def test_a_full_buffer_is_an_overflow_of_what_was_left():
    stats = MuxStats()
    way = path(Kernel(split=errno.EIO, after=1), stats)
    assert not way.send_segments(DATA, 100)
    assert stats.overflow == 2
    stats = MuxStats()
    assert not path(Kernel(after=0), stats).send_segments(DATA, 100)
    assert stats.overflow == 3


def test_an_address_without_a_way_is_counted_apart():
    stats = MuxStats()
    way = path(Kernel(every=errno.EHOSTUNREACH), stats)
    assert not way.send(b"x")
    assert not way.send_segments(DATA, 100)
    assert (stats.overflow, stats.send_failed) == (0, 4)
    assert stats.as_dict()["send_failed"] == 4
