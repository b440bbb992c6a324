"""What publishing and playing over WebRTC have in common: a connection as a resource of HTTP."""

import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from streamserver.errors import LimitError, LocalProtocolError, RemoteProtocolError
from streamserver.hub.sessions import Link
from streamserver.outputs.webrtc.peers import SendingPeer
from streamserver.webrtc.describe import Local, write_answer
from streamserver.webrtc.fragment import Fragment, write_fragment
from streamserver.webrtc.negotiation import Agreement
from streamserver.webrtc.peer import Pair, PeerHandler

__all__ = ["LinkTotals", "OpensPeers", "RtcPeer", "RtcResource", "RtcResources", "link_of"]

_MAX_RESTARTS: Final = 100
"""Restarts of ICE in the life of one connection: each costs names in the listener's table."""

_KEPT_NAMES: Final = 1000
"""Connections that are over and still known by name: a client's DELETE follows within seconds."""


class RtcPeer(SendingPeer, Protocol):
    """What is asked of ``webrtc.peer.Peer`` here."""

    setup: str
    """Our side of the handshake, once described."""

    @property
    def ufrag(self) -> str:
        """Our ICE user name."""

    @property
    def password(self) -> str:
        """Our ICE password."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 digest of our certificate."""

    @property
    def candidates(self) -> list[str]:
        """Values of ``a=candidate``."""

    @property
    def pair(self) -> Pair | None:
        """The addresses in use."""

    def describe(
        self, *, ufrag: str, password: str, fingerprints: tuple[tuple[str, str], ...], setup: str
    ) -> None:
        """Takes the peer's description."""

    def add_candidate(self, value: str) -> None:
        """Takes a candidate of the peer."""

    def restart(self) -> None:
        """New credentials of ours."""


OpensPeers = Callable[[PeerHandler], RtcPeer]
"""``Mux.open``."""


class RtcResources:
    """Every connection over WebRTC, by its secret name."""

    def __init__(self, *, max_resources: int, max_per_address: int) -> None:
        self._max = max_resources
        self.max_per_address = max_per_address
        """Of one address; may be changed while running."""
        self._by_id: dict[str, RtcResource] = {}
        self._over: dict[str, None] = {}
        """Names of what ended without its client, the oldest first; the oldest are forgotten."""
        self._addresses: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, resource_id: str) -> "RtcResource | None":
        """The connection of a name; None when there is none, or it has ended."""
        return self._by_id.get(resource_id)

    def check_room(self, remote_ip: str) -> None:
        """Raises `LimitError` when one more is too many."""
        if len(self._by_id) >= self._max:
            raise LimitError(f"{self._max} WebRTC connections are open already (webrtc.max_peers)")
        if self._addresses[remote_ip] >= self.max_per_address:
            raise LimitError(
                f"{self.max_per_address} WebRTC connections of this address are open already "
                "(limits.connections_per_address)"
            )

    def add(self, resource: "RtcResource") -> None:
        """Enters a connection. Raises `LimitError`, see `check_room`."""
        self.check_room(resource.remote_ip)
        self._by_id[resource.id] = resource
        self._addresses[resource.remote_ip] += 1

    def end(self, resource_id: str, reason: str) -> bool:
        """Ends the connection of a name for its client, once; False when there is none to end.

        A client closes its transport in the same breath, and that may come first: what has just
        ended otherwise counts too.
        """
        resource = self._by_id.get(resource_id)
        if resource is not None:
            resource.close(reason)
        known = resource_id in self._over
        self._over.pop(resource_id, None)
        return known

    def remove(self, resource: "RtcResource") -> None:
        """Takes a connection out; a second call does nothing."""
        if self._by_id.pop(resource.id, None) is None:
            return
        self._over[resource.id] = None
        if len(self._over) > _KEPT_NAMES:
            del self._over[next(iter(self._over))]
        self._addresses[resource.remote_ip] -= 1
        if not self._addresses[resource.remote_ip]:
            del self._addresses[resource.remote_ip]

    def close(self, reason: str) -> None:
        """Ends all of them."""
        for resource in list(self._by_id.values()):
            resource.close(reason)


class RtcResource:
    """One connection, from its answer to its end; also the handler of its peer.

    It exists before the peer does, since the session that it belongs to must be able to end it.
    """

    __slots__ = (
        "_agreement", "_closed", "_handler", "_peer", "_resources", "_restarts", "answer", "id",
        "on_end", "remote_ip", "rtcp", "rtp",
    )  # fmt: skip

    def __init__(self, resources: RtcResources, remote_ip: str) -> None:
        self.id = secrets.token_urlsafe(24)
        """Its name in URLs: whoever knows it may change and end the connection."""
        self.remote_ip = remote_ip
        self.answer = ""
        """Our description, once `open` has returned."""
        self.on_end: Callable[[str], None] = _ignore
        """Told once, when the connection is over."""
        self.rtp: Callable[[bytes, int], None] = _ignore_packet
        self.rtcp: Callable[[bytes, int], None] = _ignore_packet
        self._resources = resources
        self._agreement: Agreement | None = None
        self._peer: RtcPeer | None = None
        self._handler: PeerHandler | None = None
        self._restarts = 0
        self._closed = False

    @property
    def etag(self) -> str:
        """Names the ICE session, quoted (RFC 9725, section 4.3.1)."""
        return f'"{self._live().ufrag}"'

    @property
    def is_closed(self) -> bool:
        """Whether the connection is over."""
        return self._closed

    @property
    def pair(self) -> Pair | None:
        """The addresses in use; None before there are any."""
        return None if self._peer is None else self._peer.pair

    # ---- life

    def open(
        self, opens: OpensPeers, agreement: Agreement, handler: Callable[[RtcPeer], PeerHandler]
    ) -> None:
        """Opens the peer, gives it its handler, and writes the answer.

        Raises `LimitError` and `RemoteProtocolError`; nothing stays open then.
        """
        if self._closed:
            raise LimitError("the connection was ended while it began")
        self._resources.add(self)
        try:
            peer = self._peer = opens(self)
            self._agreement = agreement
            self._handler = target = handler(peer)
            # The peer calls these for every packet: straight to who takes them.
            self.rtp, self.rtcp = target.rtp, target.rtcp
            remote = agreement.remote
            peer.describe(
                ufrag=remote.ufrag,
                password=remote.password,
                fingerprints=remote.fingerprints,
                setup=remote.setup,
            )
            for candidate in remote.candidates:
                peer.add_candidate(candidate)
            self.answer = write_answer(
                agreement, _local(peer), session_id=secrets.randbelow(1 << 62) + 1
            )
        except BaseException:
            self.close("it could not be opened")
            raise

    def close(self, reason: str) -> None:
        """Ends the connection. A second call does nothing."""
        if self._closed:
            return
        if self._peer is None:
            self._end(reason)
        else:
            self._peer.close(reason)  # which calls `closed`

    # ---- changes of ICE

    def is_restart(self, fragment: Fragment) -> bool:
        """Whether a fragment asks for a restart: it brings other credentials."""
        agreement = self._described()
        return bool(fragment.ufrag) and fragment.ufrag != agreement.remote.ufrag

    def trickle(self, fragment: Fragment) -> None:
        """Takes more candidates."""
        for candidate in fragment.candidates:
            self._live().add_candidate(candidate)

    def restart(self, fragment: Fragment) -> str:
        """Restarts ICE, and answers our new credentials as a fragment (RFC 9725, section 4.3.3).

        Raises `RemoteProtocolError` without credentials, `LimitError` after too many restarts; the
        connection goes on as it was then.
        """
        agreement, peer = self._described(), self._live()
        if not fragment.ufrag or not fragment.password:
            raise RemoteProtocolError("a restart of ICE needs both ice-ufrag and ice-pwd")
        if self._restarts >= _MAX_RESTARTS:
            raise LimitError("ICE was restarted too often on this connection")
        self._restarts += 1
        remote = agreement.remote
        peer.describe(
            ufrag=fragment.ufrag,
            password=fragment.password,
            fingerprints=remote.fingerprints,
            setup=remote.setup,
        )
        peer.restart()
        self._agreement = agreement.restarted(fragment.ufrag, fragment.password)
        self.trickle(fragment)
        return write_fragment(peer.ufrag, peer.password, peer.candidates)

    # ---- the peer's handler; `rtp` and `rtcp` are attributes

    def connected(self) -> None:
        """Media may flow."""
        if self._handler is not None:
            self._handler.connected()

    def closed(self, reason: str) -> None:
        """The peer is over."""
        handler, self._handler = self._handler, None
        try:
            if handler is not None:
                handler.closed(reason)
        finally:
            self._end(reason)

    def _end(self, reason: str) -> None:
        if self._closed:
            return
        self._closed = True
        self._resources.remove(self)
        self.rtp = self.rtcp = _ignore_packet
        on_end, self.on_end = self.on_end, _ignore
        on_end(reason)

    def _live(self) -> RtcPeer:
        if self._peer is None:
            raise LocalProtocolError("the connection has no peer yet")
        return self._peer

    def _described(self) -> Agreement:
        if self._agreement is None:
            raise LocalProtocolError("the connection is not described yet")
        return self._agreement


class _Counted(Protocol):
    """What both receivers and viewers count."""

    @property
    def packets(self) -> int:
        """Packets of media."""

    @property
    def lost(self) -> int:
        """Of them, those that did not arrive at the first try."""

    @property
    def nacks(self) -> int:
        """Packets asked for again."""

    @property
    def plis(self) -> int:
        """Keyframes asked for."""


@dataclass(slots=True)
class LinkTotals:
    """Sums over connections."""

    packets: int = 0
    """Packets of media."""

    lost: int = 0
    """Of them, those that did not arrive at the first try."""

    recovered: int = 0
    """Packets that were sent again."""

    nacks: int = 0
    """Packets that were asked for again."""

    plis: int = 0
    """Keyframes that were asked for."""

    def add(self, stats: _Counted, recovered: int) -> None:
        """Adds the counts of one connection."""
        self.packets += stats.packets
        self.lost += stats.lost
        self.recovered += recovered
        self.nacks += stats.nacks
        self.plis += stats.plis


def link_of(
    pair: Pair | None,
    *,
    rtt_ms: float | None,
    jitter_ms: float,
    packets: int,
    lost: int,
    recovered: int,
    nacks: int,
    plis: int,
) -> Link:
    """The facts of a connection, as the API shows them."""
    return Link(
        protocol=pair.protocol if pair else "",
        local=_address(pair.local) if pair else "",
        remote=_address(pair.remote) if pair else "",
        rtt_ms=rtt_ms if rtt_ms is not None or pair is None else pair.rtt_ms,
        jitter_ms=jitter_ms,
        packets=packets,
        lost=lost,
        recovered=recovered,
        nacks=nacks,
        plis=plis,
    )


def _address(address: tuple[str, int]) -> str:
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _local(peer: RtcPeer) -> Local:
    return Local(
        ufrag=peer.ufrag,
        password=peer.password,
        fingerprint=peer.fingerprint,
        candidates=peer.candidates,
        setup=peer.setup,
    )


def _ignore(reason: str) -> None:
    """Nobody is told."""


def _ignore_packet(packet: bytes, now_ns: int) -> None:
    """Nobody takes it."""
