"""Addresses that failed too often: counted, and kept out for a while."""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network
from typing import Final

from streamserver.net.addresses import parse_ip

__all__ = ["Ban", "BanSettings", "BanTable"]

_SECOND: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BanSettings:
    """When an address is banned, and for how long."""

    after: int = 30
    """Failed tries within the window; 0: never."""

    window_ns: int = 60 * _SECOND
    """The time within which they count."""

    ban_ns: int = 300 * _SECOND
    """How long the ban lasts; a try while banned does not make it longer."""

    max_addresses: int = 10_000
    """Addresses remembered; those that failed longest ago are forgotten first."""


@dataclass(frozen=True, slots=True)
class Ban:
    """One address that is kept out."""

    address: str
    """An IPv4 address, or an IPv6 network of 64 bits: what one household or host has."""

    failures: int
    """Failed tries that led to it."""

    until_ns: int
    """When it ends, monotonic."""


@dataclass(slots=True)
class _Record:
    tries: deque[int] = field(default_factory=deque)
    ban: Ban | None = None


class BanTable:
    """Counts failed tries by address.

    Loopback and whatever ``exempt`` names (trusted proxies) are never banned: the world would be
    locked out with them, or the operator.
    """

    def __init__(
        self,
        settings: BanSettings,
        now_ns: Callable[[], int],
        *,
        exempt: Callable[[str], bool] = lambda ip: False,
    ) -> None:
        self.failures = 0
        """Failed tries since the start."""
        self.banned = 0
        """Bans since the start."""
        self.refused = 0
        """Requests and connections of banned addresses that were refused."""
        self.settings = settings
        """When and for how long; may be exchanged while running. Bans in force stay."""
        self._now_ns = now_ns
        self._exempt = exempt
        self._records: OrderedDict[str, _Record] = OrderedDict()
        self._bans: dict[str, Ban] = {}

    def failed(self, ip: str) -> Ban | None:
        """Counts a failed try; answers the ban that it leads to, if it does now."""
        self.failures += 1
        address = self._address(ip)
        if address is None or not self.settings.after:
            return None
        now_ns = self._now_ns()
        record = self._records.setdefault(address, _Record())
        self._records.move_to_end(address)
        while len(self._records) > self.settings.max_addresses:
            forgotten, _ = self._records.popitem(last=False)
            self._bans.pop(forgotten, None)
        if self._active(address) is not None:
            return None
        record.tries.append(now_ns)
        while record.tries[0] <= now_ns - self.settings.window_ns:
            record.tries.popleft()
        if len(record.tries) < self.settings.after:
            return None
        ban = Ban(address, len(record.tries), now_ns + self.settings.ban_ns)
        record.tries.clear()
        self._bans[address] = ban
        self.banned += 1
        return ban

    def is_banned(self, ip: str) -> bool:
        """Whether an address is kept out now; counts the refusal. Cheap while nobody is banned."""
        if not self._bans:
            return False
        address = self._address(ip)
        if address is None or self._active(address) is None:
            return False
        self.refused += 1
        return True

    def bans(self) -> list[Ban]:
        """All bans in force, the oldest first."""
        return [ban for address in list(self._bans) if (ban := self._active(address))]

    def lift(self, ip: str | None = None) -> int:
        """Ends the ban of an address (or its network), or all; answers how many ended."""
        if ip is None:
            ended = len(self.bans())
            self._bans.clear()
            self._records.clear()
            return ended
        address = _network(ip) or ip
        was = self._active(address)
        self._records.pop(address, None)
        self._bans.pop(address, None)
        return int(was is not None)

    def _active(self, address: str) -> Ban | None:
        ban = self._bans.get(address)
        if ban is not None and ban.until_ns <= self._now_ns():
            del self._bans[address]
            return None
        return ban

    def _address(self, ip: str) -> str | None:
        address = _network(ip)
        if address is None or self._exempt(ip):
            return None
        parsed = parse_ip(ip)
        return None if parsed is None or parsed.is_loopback else address


def _network(ip: str) -> str | None:
    """The address as it is counted: RFC 6177 gives a household 64 bits of IPv6 or more."""
    text, slash, bits = ip.partition("/")
    parsed = parse_ip(text)
    if parsed is None or (slash and bits != "64"):
        return None
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((int(parsed) >> 64 << 64, 64)))
    return str(parsed)
