import pytest

from streamserver.errors import RemoteProtocolError
from streamserver.rtmp.handshake import (
    HANDSHAKE_BYTES,
    ClientHandshake,
    ServerHandshake,
    WrongProtocolError,
)
from tests.rtmp.helpers_wire import SIZES, split

C1 = bytes(range(256)) * 6
C2 = b"\xcc" * HANDSHAKE_BYTES


@pytest.mark.parametrize("size", SIZES)
def test_the_server_answers_as_soon_as_c1_is_there(size):
    handshake = ServerHandshake(nonce=b"n" * 1528)
    answers = [handshake.receive(piece)[0] for piece in split(b"\x03" + C1 + C2, size)]
    full = b"\x03" + bytes(8) + b"n" * 1528 + C1
    assert [answer for answer in answers if answer] == [full]
    assert answers.index(full) == (1537 - 1) // size


def test_what_follows_c2_in_the_same_read_is_kept():
    answer, behind = ServerHandshake().receive(b"\x03" + C1 + C2 + b"chunks")
    assert len(answer) == 1 + 2 * HANDSHAKE_BYTES
    assert behind == b"chunks"


def test_s1_claims_no_version_or_ffmpeg_as_a_player_would_ask_for_a_digest():
    answer, _ = ServerHandshake().receive(b"\x03" + C1)
    assert answer[1:9] == bytes(8)


def test_c2_is_never_compared():
    handshake = ServerHandshake()
    handshake.receive(b"\x03" + C1)
    assert handshake.receive(bytes(HANDSHAKE_BYTES)) == (b"", b"")


def test_random_bytes_of_s1_differ():
    first, _ = ServerHandshake().receive(b"\x03" + C1)
    second, _ = ServerHandshake().receive(b"\x03" + C1)
    assert first[9:1537] != second[9:1537]


@pytest.mark.parametrize("version", [6, 8, 9])
def test_rtmpe_is_refused_at_its_first_byte(version):
    with pytest.raises(RemoteProtocolError, match="RTMPE"):
        ServerHandshake().receive(bytes((version,)))


@pytest.mark.parametrize("version", [0, 1, 0x0D, 0xF3, 0xFF])
def test_an_unknown_first_byte_is_refused(version):
    with pytest.raises(RemoteProtocolError, match=f"0x{version:02x}") as caught:
        ServerHandshake().receive(bytes((version,)))
    assert not isinstance(caught.value, WrongProtocolError)


@pytest.mark.parametrize("text", [b"GET / HTTP/1.1", b"P", b"OPTIONS *", b"HELP"])
def test_http_on_our_port_is_recognised_by_its_first_byte(text):
    with pytest.raises(WrongProtocolError) as caught:
        ServerHandshake().receive(text)
    assert "HTTP" in caught.value.protocol


def test_tls_on_our_port_is_recognised_by_its_first_byte():
    with pytest.raises(WrongProtocolError) as caught:
        ServerHandshake().receive(b"\x16\x03\x01")
    assert caught.value.protocol == "TLS"


@pytest.mark.parametrize("size", SIZES)
def test_client_and_server_understand_each_other(size):
    client, server = ClientHandshake(), ServerHandshake()
    to_client, to_server = b"", b""
    for piece in split(client.bytes_to_send(), size):
        to_client += server.receive(piece)[0]
    ends: list[bytes | None] = []
    for piece in split(to_client, size):
        answer, behind = client.receive(piece)
        to_server += answer
        ends.append(behind)
    assert ends[-1] == b""
    assert to_server == to_client[1:1537]
    ends += [server.receive(piece)[1] for piece in split(to_server, size)]
    assert ends[-1] == b""


def test_the_client_accepts_a_server_that_sends_c1_back_as_s1():
    client = ClientHandshake()
    c1 = client.bytes_to_send()[1:]
    answer, behind = client.receive(b"\x03" + c1 + c1 + b"more")
    assert (answer, behind) == (c1, b"more")


def test_the_client_refuses_a_server_of_another_version():
    with pytest.raises(RemoteProtocolError):
        ClientHandshake().receive(b"\x06")


def test_nothing_is_a_valid_piece():
    handshake = ServerHandshake()
    assert handshake.receive(b"") == (b"", None)
    assert handshake.receive(b"\x03") == (b"", None)
