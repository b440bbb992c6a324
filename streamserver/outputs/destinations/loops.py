"""Whether a destination would bring a stream back to itself."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from streamserver.errors import InvalidNameError
from streamserver.names import StreamKey
from streamserver.net.addresses import is_loopback, parse_ip
from streamserver.rtmp.target import PublishTarget
from streamserver.rtmp.url import resolve

__all__ = ["OwnDoors", "leads_back"]

_LOCAL_NAMES: Final = frozenset({"localhost", "localhost."})


@dataclass(frozen=True, slots=True)
class OwnDoors:
    """Where this server takes RTMP."""

    ports: Callable[[], frozenset[int]]
    """The ports that are open now."""

    names: frozenset[str] = frozenset()
    """Names and addresses under which it is known, lower case."""

    def stream_named(self, target: PublishTarget) -> StreamKey | None:
        """The stream of ours that a target names, as far as its text tells."""
        host = target.host
        mine = host in self.names or host in _LOCAL_NAMES or is_loopback(host)
        return _stream(target) if mine and target.port in self.ports() else None

    def stream_behind(self, target: PublishTarget, local_ip: str, peer_ip: str) -> StreamKey | None:
        """The stream of ours at the other end of a connection that was made.

        Both ends have one address where a host talks to itself, whatever name led there.
        """
        here = parse_ip(local_ip) == parse_ip(peer_ip) or is_loopback(peer_ip)
        return _stream(target) if here and target.port in self.ports() else None


def leads_back(
    start: StreamKey, first: StreamKey, onward: Mapping[StreamKey, Iterable[StreamKey]]
) -> bool:
    """Whether ``start``, sent on to ``first``, comes back to itself.

    ``onward`` are the streams of ours to which each stream is sent on already.
    """
    seen: set[StreamKey] = set()
    ahead = [first]
    while ahead:
        key = ahead.pop()
        if key == start:
            return True
        if key not in seen:
            seen.add(key)
            ahead.extend(onward.get(key, ()))
    return False


def _stream(target: PublishTarget) -> StreamKey | None:
    try:
        found = resolve(target.app, target.key)
        return StreamKey(found.app, found.name)
    except InvalidNameError:
        return None
