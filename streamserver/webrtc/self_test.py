"""Whether the libraries below still are what `private` takes them for: a handshake in memory."""

from typing import Final

from streamserver.errors import StreamServerError, UnavailableError
from streamserver.webrtc.dtls import DtlsLink
from streamserver.webrtc.private import Certificate
from streamserver.webrtc.srtp import Arena, SrtpIn, SrtpOut

__all__ = ["self_test"]

_RTP: Final = bytes((0x80, 96, 0, 1)) + bytes(8) + b"a payload"
_RTCP: Final = bytes((0x80, 201, 0, 1, 0, 0, 0, 1))
_ARENA_BYTES: Final = 256


def self_test() -> None:
    """Two links shake hands in memory; each sends the other a packet of media and one of RTCP.

    Takes some 10 ms, not on the loop. Raises `UnavailableError` with a sentence for people.
    """
    try:
        _check()
    except StreamServerError as error:
        raise UnavailableError(_explain(error)) from error
    except Exception as error:  # a private name that is gone can show in any way
        raise UnavailableError(_explain(error)) from error


def _check() -> None:
    ours, theirs = Certificate(), Certificate()
    server = DtlsLink(ours, server=True, fingerprints=[("sha-256", theirs.fingerprint)])
    client = DtlsLink(theirs, server=False, fingerprints=[("sha-256", ours.fingerprint)])
    datagrams = client.start()
    here, there = server, client
    while datagrams:
        answers: list[bytes] = []
        for datagram in datagrams:
            answers += here.receive(datagram)
        datagrams, here, there = answers, there, here
    _exchange(server, client)
    _exchange(client, server)
    for datagram in client.close():
        server.receive(datagram)
    if not server.closed:
        raise UnavailableError("the end of a connection was not understood")


def _exchange(sender: DtlsLink, receiver: DtlsLink) -> None:
    if sender.keys is None or receiver.keys is None:
        raise UnavailableError("the handshake did not end")
    protector, opener, arena = SrtpOut(sender.keys), SrtpIn(receiver.keys), Arena(_ARENA_BYTES)
    arena.data[: len(_RTP)] = _RTP
    size = protector.protect(arena, 0, len(_RTP))
    if size != len(_RTP) + protector.overhead or opener.unprotect(arena, size) != _RTP:
        raise UnavailableError("a media packet did not come through protection as it was")
    arena.data[: len(_RTCP)] = _RTCP
    size = protector.protect_rtcp(arena, len(_RTCP))
    if opener.unprotect_rtcp(arena, size) != _RTCP:
        raise UnavailableError("a control packet did not come through protection as it was")


def _explain(error: Exception) -> str:
    return (
        f"WebRTC cannot work with the installed libraries ({error!r}): install the versions of "
        "aiortc, pylibsrtp and pyOpenSSL that streamserver asks for, or switch it off"
    )
