import itertools

from streamserver.rtmp import message as m
from streamserver.rtmp.channel import CSID_CONTROL, Channel, RateLimit
from streamserver.rtmp.chunk import ChunkDecoder
from streamserver.rtmp.events import BufferLengthSet, PeerAcked
from streamserver.rtmp.handshake import HANDSHAKE_BYTES, ClientHandshake, ServerHandshake
from streamserver.rtmp.message import Message
from streamserver.rtmp.settings import SessionSettings
from tests.rtmp.helpers_wire import CLIENT_HANDSHAKE, Peer

SECOND = 1_000_000_000


class Wire:
    """A server's channel after the handshake, and a decoder for what it sends."""

    def __init__(self) -> None:
        self.channel = Channel(ServerHandshake(), SessionSettings())
        self.channel.receive(CLIENT_HANDSHAKE, 0)
        self.channel.bytes_to_send()
        self.decoder = ChunkDecoder()

    def sent(self) -> list[tuple[int, bytes]]:
        self.decoder.feed(self.channel.bytes_to_send())
        return [(message.type_id, message.body) for message in self.decoder.messages()]

    def obey(self, message: Message, now_ns: int = 0) -> object:
        return self.channel.obey(message, now_ns)


def u32(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(4, "big") for number in numbers)


def test_a_ping_is_answered_with_the_same_four_bytes():
    wire = Wire()
    assert wire.obey(m.user_control(m.PING_REQUEST, 0xDEADBEEF)) is None
    assert wire.sent() == [(m.USER_CONTROL, bytes.fromhex("0007 deadbeef"))]


def test_a_flood_of_pings_is_answered_twenty_times_a_second():
    wire = Wire()
    for _ in range(1000):
        wire.obey(m.user_control(m.PING_REQUEST, 1), now_ns=5)
    assert len(wire.sent()) == 20
    assert wire.channel.replies_withheld == 980
    wire.obey(m.user_control(m.PING_REQUEST, 1), now_ns=5 + SECOND)
    assert len(wire.sent()) == 1


def test_the_buffer_length_of_a_player_is_told():
    assert Wire().obey(m.user_control(m.BUFFER_LENGTH, 1, 3000)) == BufferLengthSet(1, 3000)


def test_user_control_of_unknown_events_and_odd_lengths_is_ignored():
    wire = Wire()
    for body in ("", "00", "0000", "0006", "0006 0000", "0003 00000001", "001a 01", "001f 00000001",
                 "0007 00000001", "ffff"):  # fmt: skip
        assert wire.obey(Message(m.USER_CONTROL, 0, 0, bytes.fromhex(body))) is None
    assert wire.sent() == []


def test_set_peer_bandwidth_is_answered_with_a_window_where_that_is_new():
    wire = Wire()
    wire.channel.send(m.window_ack_size(2_500_000), CSID_CONTROL)
    wire.sent()
    wire.obey(m.set_peer_bandwidth(2_500_000))
    assert wire.sent() == []
    wire.obey(m.set_peer_bandwidth(1_000_000))
    wire.obey(m.set_peer_bandwidth(1_000_000))
    assert wire.sent() == [(m.WINDOW_ACK_SIZE, u32(1_000_000))]


def test_a_flood_of_bandwidths_is_bounded_too():
    wire = Wire()
    for size in range(1000):
        wire.obey(m.set_peer_bandwidth(size))
    assert len(wire.sent()) == 20


def test_acknowledgements_are_told():
    assert Wire().obey(m.acknowledgement(12345)) == PeerAcked(12345)


def acknowledged(wire: Wire, count: int, size: int = 1000) -> list[int]:
    """Feeds ``count`` messages of ``size`` bytes; answers what was acknowledged."""
    peer = Peer(handshake=False)
    peer.send(m.set_chunk_size(65536))
    for _ in range(count):
        wire.channel.receive(peer.media(body=bytes(size - 12)).take(), 0)
    return [int.from_bytes(body, "big") for kind, body in wire.sent() if kind == m.ACKNOWLEDGEMENT]


def test_nobody_is_acknowledged_who_did_not_ask():
    assert acknowledged(Wire(), 100, 60_000) == []


def test_half_a_window_is_acknowledged_so_that_the_far_side_never_waits():
    wire = Wire()
    wire.obey(m.window_ack_size(1_000_000))
    numbers = acknowledged(wire, 50, 50_000)
    assert [round(number, -5) for number in numbers] == [500_000 * i for i in range(1, 6)]


def test_a_window_of_0_or_1_makes_no_storm_of_acknowledgements():
    for window in (0, 1):
        wire = Wire()
        wire.obey(m.window_ack_size(window))
        numbers = acknowledged(wire, 200, 1000)
        assert len(numbers) == 3
        assert all(b - a >= 65536 for a, b in itertools.pairwise(numbers))


def test_publishers_are_acknowledged_every_2_5_mb_unasked():
    wire = Wire()
    wire.channel.acknowledge_always()
    numbers = acknowledged(wire, 110, 50_000)
    assert [number // 100_000 for number in numbers] == [25, 50]


def test_a_huge_window_does_not_stop_the_acknowledgements_of_publishers():
    wire = Wire()
    wire.channel.acknowledge_always()
    wire.obey(m.window_ack_size(0xFFFFFFFF))
    assert len(acknowledged(wire, 110, 50_000)) == 2


def test_bytes_are_counted_both_ways_with_the_handshake():
    channel = Channel(ServerHandshake(), SessionSettings())
    channel.receive(CLIENT_HANDSHAKE, 0)
    assert channel.bytes_received == 1 + 2 * HANDSHAKE_BYTES
    assert channel.bytes_sent == 0
    assert channel.bytes_to_send() != b""
    assert channel.bytes_sent == 1 + 2 * HANDSHAKE_BYTES
    assert channel.bytes_to_send() == b""


def test_what_is_sent_too_early_waits_for_the_end_of_the_handshake():
    server = Channel(ServerHandshake(), SessionSettings())
    client = Channel(ClientHandshake(), SessionSettings())
    message = Message(m.AUDIO, 5, 1, b"early")
    client.send(message, 4)
    for _ in range(3):
        server.receive(client.bytes_to_send(), 0)
        client.receive(server.bytes_to_send(), 0)
    assert not client.in_handshake
    assert not server.in_handshake
    assert server.messages() == [message]


def test_a_rate_limit_counts_in_seconds_from_the_first():
    limit = RateLimit(2)
    times = (0, 1, 2, SECOND - 1, SECOND, SECOND + 1, SECOND + 2)
    assert [limit.allows(t) for t in times] == [True, True, False, False, True, True, False]


def test_times_may_be_sent_as_distances():
    client = Channel(ClientHandshake(), SessionSettings())
    client.receive(b"\x03" + bytes(2 * HANDSHAKE_BYTES), 0)
    client.bytes_to_send()
    for time in (1000, 1040):
        client.send(Message(m.AUDIO, time, 1, b"x"), 4, full=False)
    assert client.bytes_to_send() == (b"\x04\0\x03\xe8\0\0\1\x08\1\0\0\0x" + b"\x84\0\0\x28x")
