"""Session descriptions, read (RFC 8866, and the attributes that WebRTC uses: RFC 8829).

A reader of our own, not aiortc's: that one drops ``rid`` and ``simulcast``, stops at legal lines
(extension attributes of RFC 8285, ``fmtp`` of static types), and says so with any exception.
Whatever a peer writes, this one raises `RemoteProtocolError` and nothing else. Attributes that
nobody here needs are skipped, so that new ones do no harm.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from streamserver.errors import RemoteProtocolError

__all__ = [
    "MAX_TEXT", "Description", "Format", "Section", "attributes", "read_credentials",
    "read_description", "split_lines",
]  # fmt: skip

MAX_TEXT: Final = 64 * 1024
"""Characters of a description. A browser with every codec and a hundred candidates needs 20 KB."""

_MAX_SECTIONS: Final = 32
_MAX_LINE: Final = 2048
_MAX_FORMATS: Final = 128
_MAX_FINGERPRINTS: Final = 8
_MAX_CANDIDATES: Final = 128
_MAX_SSRCS: Final = 64
_MAX_FMTP: Final = 64

_DIRECTIONS: Final = ("sendrecv", "sendonly", "recvonly", "inactive")
_SETUPS: Final = ("actpass", "active", "passive", "holdconn")
_MEDIA: Final = re.compile(
    r"m=([A-Za-z0-9-]{1,32}) (\d{1,5})(?:/\d{1,5})? ([A-Za-z0-9/]{1,64}) ([!-~ ]+)\Z"
)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# RFC 5888 4, a token of RFC 8866 9.
_MID: Final = re.compile(r"[!#$%&'*+.^_`{|}~A-Za-z0-9-]{1,64}\Z")
# RFC 8839 5.4: 4 to 256, and 22 to 256 of these.
_UFRAG: Final = re.compile(r"[A-Za-z0-9+/]{4,256}\Z")
_PASSWORD: Final = re.compile(r"[A-Za-z0-9+/]{22,256}\Z")
_FINGERPRINT: Final = re.compile(
    r"([A-Za-z0-9-]{1,16}) ((?:[0-9A-Fa-f]{2}:){15,63}[0-9A-Fa-f]{2})\Z"
)
_RTPMAP: Final = re.compile(r"(\d{1,3}) ([A-Za-z0-9._+-]{1,64})/(\d{1,8})(?:/(\d{1,3}))?\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One payload type of a section."""

    payload_type: int
    """Its number in RTP headers."""

    name: str
    """The encoding name in lower case: ``h264``, ``rtx`` …"""

    clock_rate: int
    """Ticks per second."""

    channels: int = 1
    """Audio channels; 1 where nothing is said."""

    fmtp: Mapping[str, str] = field(default_factory=dict)
    """Its parameters, names in lower case."""

    feedback: frozenset[str] = frozenset()
    """What feedback it takes: ``nack``, ``nack pli``, ``transport-cc`` …"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One ``m=`` line with what stands under it; session-level values are filled in."""

    kind: str
    """``audio``, ``video``, ``application`` or something that we do not know."""

    port: int
    """0 where it is rejected, or bundled only."""

    protocol: str
    """The transport: ``UDP/TLS/RTP/SAVPF``, ``UDP/DTLS/SCTP`` …"""

    raw_formats: str
    """The formats as they stand in the line: a rejected section repeats them."""

    formats: tuple[Format, ...] = ()
    """Payload types with a codec, in the order of preference."""

    mid: str = ""
    """Its name in bundles; empty without one."""

    direction: str = "sendrecv"
    """From the view of who wrote it."""

    bundle_only: bool = False
    """Whether the port 0 means nothing (RFC 8843, section 6)."""

    rtcp_mux: bool = False
    """Whether RTCP comes over the same port (RFC 5761)."""

    ufrag: str = ""
    """ICE user name."""

    password: str = field(default="", repr=False)
    """ICE password."""

    fingerprints: tuple[tuple[str, str], ...] = ()
    """Digests of the certificate: algorithm in lower case, hex with colons in upper case."""

    setup: str = ""
    """Who begins with DTLS: ``actpass``, ``active``, ``passive``; empty where nothing is said."""

    candidates: tuple[str, ...] = ()
    """Values of ``a=candidate``, unread."""

    extensions: Mapping[str, int] = field(default_factory=dict)
    """Header extensions: URI to number."""

    ssrcs: tuple[int, ...] = ()
    """Sources that it announces, without those of retransmissions."""

    rids: tuple[str, ...] = ()
    """Names of simulcast layers (RFC 8851)."""

    sctp_port: int = 0
    """The port of data channels; 0 without one."""

    @property
    def rejected(self) -> bool:
        """Whether its writer refused it."""
        return self.port == 0 and not self.bundle_only

    @property
    def is_rtp(self) -> bool:
        """Whether it is audio or video over DTLS and SRTP (RFC 8829, section 5.1.2)."""
        return self.kind in ("audio", "video") and self.protocol in (
            "UDP/TLS/RTP/SAVPF",
            "TCP/DTLS/RTP/SAVPF",
            "RTP/SAVPF",
        )

    @property
    def is_data(self) -> bool:
        """Whether it carries data channels (RFC 8841)."""
        return self.kind == "application" and self.protocol.endswith("DTLS/SCTP")


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """An offer or an answer."""

    sections: tuple[Section, ...]
    """Its sections, in their order."""

    bundle: tuple[str, ...] = ()
    """Names of the sections that share one transport; the first says which."""

    ice_lite: bool = False
    """Whether its writer only answers checks."""


def read_description(text: str) -> Description:
    """Reads an offer or an answer. Raises `RemoteProtocolError`."""
    if len(text) > MAX_TEXT:
        raise RemoteProtocolError(f"the description is longer than {MAX_TEXT} characters")
    lines = split_lines(text)
    if not lines or lines[0] != "v=0":
        raise RemoteProtocolError("this is no session description: it does not begin with v=0")
    blocks: list[list[str]] = [[]]
    for line in lines:
        if line.startswith("m="):
            blocks.append([])
            if len(blocks) > _MAX_SECTIONS + 1:
                raise RemoteProtocolError(f"there are more than {_MAX_SECTIONS} m-lines")
        blocks[-1].append(line)
    session = _Reader(blocks[0])
    sections = tuple(_Reader(block).section(session) for block in blocks[1:])
    mids = [section.mid for section in sections if section.mid]
    if len(set(mids)) != len(mids):
        raise RemoteProtocolError("two m-lines have the same mid")
    return Description(sections=sections, bundle=session.bundle, ice_lite=session.ice_lite)


def split_lines(text: str) -> list[str]:
    """The lines of a description or fragment; either line end (RFC 8866, section 5)."""
    lines = [line.removesuffix("\r") for line in text.rstrip("\r\n").split("\n")]
    for line in lines:
        if len(line) > _MAX_LINE:
            raise RemoteProtocolError(f"a line is longer than {_MAX_LINE} characters")
        if _CONTROL.search(line):
            raise RemoteProtocolError(f"a line holds control characters: {line[:40]!a}")
    return lines


def attributes(lines: list[str]) -> Iterator[tuple[str, str]]:
    """The ``a=`` lines as name and value; the value is empty for a flag."""
    for line in lines:
        if line.startswith("a="):
            name, _, value = line[2:].partition(":")
            yield name, value.strip()


def read_credentials(found: Iterable[tuple[str, str]]) -> tuple[str, str]:
    """User name and password of ICE among attributes; empty where they say nothing."""
    ufrag = password = ""
    for name, value in found:
        if name == "ice-ufrag":
            ufrag = _matching(_UFRAG, value, name)
        elif name == "ice-pwd":
            password = _matching(_PASSWORD, value, name)
    return ufrag, password


class _Reader:
    """Reads the lines of one level: the session's, or one section's."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.bundle: tuple[str, ...] = ()
        self.mid = self.direction = self.setup = ""
        self.bundle_only = self.rtcp_mux = self.ice_lite = False
        self.sctp_port = 0
        self.fingerprints: list[tuple[str, str]] = []
        self.candidates: list[str] = []
        self.extensions: dict[str, int] = {}
        self.ssrcs: dict[int, None] = {}
        self.repairs: set[int] = set()
        self.rids: list[str] = []
        self.maps: dict[int, tuple[str, int, int]] = {}
        self.fmtps: dict[int, dict[str, str]] = {}
        self.feedback: dict[str, set[str]] = {}
        found = list(attributes(lines))
        self.ufrag, self.password = read_credentials(found)
        for name, value in found:
            self._take(name, value)

    def section(self, session: "_Reader") -> Section:
        """The section that the lines describe, completed with what the session says for all."""
        found = _MEDIA.match(self.lines[0])
        if found is None or int(found[2]) > 65535:
            raise RemoteProtocolError(f"not an m-line: {self.lines[0][:80]!a}")
        kind, port, protocol, formats = found.groups()
        return Section(
            kind=kind,
            port=int(port),
            protocol=protocol,
            raw_formats=formats.strip(),
            formats=self._formats(formats) if kind in ("audio", "video") else (),
            mid=self.mid,
            # RFC 8866 6.7: sendrecv where neither level says anything.
            direction=self.direction or session.direction or "sendrecv",
            bundle_only=self.bundle_only,
            rtcp_mux=self.rtcp_mux or session.rtcp_mux,
            ufrag=self.ufrag or session.ufrag,
            password=self.password or session.password,
            fingerprints=tuple(self.fingerprints or session.fingerprints),
            setup=self.setup or session.setup,
            candidates=tuple(self.candidates),
            extensions={**session.extensions, **self.extensions},
            ssrcs=tuple(one for one in self.ssrcs if one not in self.repairs),
            rids=tuple(self.rids),
            sctp_port=self.sctp_port,
        )

    def _formats(self, text: str) -> tuple[Format, ...]:
        numbers = [_number(one, 127, "payload type") for one in text.split()]
        if len(numbers) > _MAX_FORMATS:
            raise RemoteProtocolError("an m-line lists more payload types than there are")
        return tuple(
            Format(
                payload_type=number,
                name=name,
                clock_rate=rate,
                channels=channels,
                fmtp=self.fmtps.get(number, {}),
                feedback=frozenset(
                    self.feedback.get("*", set()) | self.feedback.get(str(number), set())
                ),
            )
            for number, (name, rate, channels) in (
                (number, self.maps[number])
                for number in dict.fromkeys(numbers)
                if number in self.maps
            )
        )

    def _take(self, name: str, value: str) -> None:
        match name:
            case "group":
                words = value.split()
                # RFC 8843 7.2: only the first bundle counts here, ours is the only transport.
                if words[:1] == ["BUNDLE"] and not self.bundle:
                    self.bundle = tuple(words[1 : _MAX_SECTIONS + 1])
            case "mid":
                self.mid = _matching(_MID, value, "mid")
            case "fingerprint":
                self._fingerprint(value)
            case "setup":
                if value not in _SETUPS:
                    raise RemoteProtocolError(f"setup is {value[:40]!a}")
                self.setup = value
            case "candidate":
                # Those beyond the bound are of no use to a side that only answers checks.
                if len(self.candidates) < _MAX_CANDIDATES:
                    self.candidates.append(value)
            case "bundle-only":
                self.bundle_only = True
            case "rtcp-mux":
                self.rtcp_mux = True
            case "ice-lite":
                self.ice_lite = True
            case "sctp-port":
                self.sctp_port = _number(value, 65535, "sctp-port")
            case _ if name in _DIRECTIONS:
                self.direction = name
            case _:
                self._take_rtp(name, value)

    def _take_rtp(self, name: str, value: str) -> None:
        match name:
            case "rtpmap":
                found = _RTPMAP.match(value)
                if found is None or int(found[1]) > 127 or not int(found[3]):
                    raise RemoteProtocolError(f"not an rtpmap: {value[:80]!a}")
                self.maps[int(found[1])] = (found[2].lower(), int(found[3]), int(found[4] or 1))
            case "fmtp":
                number, _, text = value.partition(" ")
                if number.isdecimal() and len(self.fmtps) < _MAX_FORMATS:
                    self.fmtps[_number(number, 127, "payload type")] = _parameters(text)
            case "rtcp-fb":
                number, _, text = value.partition(" ")
                if len(self.feedback) <= _MAX_FORMATS:
                    self.feedback.setdefault(number, set()).add(text.strip().lower())
            case "extmap":
                self._extension(value)
            case "ssrc":
                source = value.partition(" ")[0]
                if len(self.ssrcs) < _MAX_SSRCS:
                    self.ssrcs[_number(source, 0xFFFFFFFF, "ssrc")] = None
            case "ssrc-group":
                words = value.split()
                # RFC 5576 4.2: of FID the first is the media, the rest repairs it.
                if words[:1] in (["FID"], ["FEC-FR"]) and len(self.repairs) < _MAX_SSRCS:
                    self.repairs.update(_number(one, 0xFFFFFFFF, "ssrc") for one in words[2:])
            case "rid":
                if len(self.rids) < _MAX_SECTIONS:
                    self.rids.append(value.partition(" ")[0])

    def _fingerprint(self, value: str) -> None:
        found = _FINGERPRINT.match(value)
        if found is None:
            raise RemoteProtocolError("a fingerprint is not written as RFC 8122 asks")
        if len(self.fingerprints) >= _MAX_FINGERPRINTS:
            raise RemoteProtocolError(f"there are more than {_MAX_FINGERPRINTS} fingerprints")
        self.fingerprints.append((found[1].lower(), found[2].upper()))

    def _extension(self, value: str) -> None:
        # RFC 8285 8: number, perhaps a direction, URI, perhaps attributes.
        words = value.split()
        number = words[0].partition("/")[0] if words else ""
        # 256 and more stand for "number to be chosen", which no browser writes.
        if len(words) >= 2 and number.isdecimal() and len(number) < 4 and 1 <= int(number) <= 255:
            self.extensions.setdefault(words[1], int(number))


def _matching(pattern: re.Pattern[str], value: str, name: str) -> str:
    if pattern.match(value) is None:
        raise RemoteProtocolError(f"{name} is not what it must be: {value[:40]!a}")
    return value


def _number(text: str, most: int, name: str) -> int:
    # isdecimal() alone takes the digits of every script.
    if not (text.isascii() and text.isdecimal() and len(text) <= 10) or int(text) > most:
        raise RemoteProtocolError(f"{name} is no number up to {most}: {text[:40]!a}")
    return int(text)


def _parameters(text: str) -> dict[str, str]:
    """``name=value;name=value``; a word without ``=`` is a name with an empty value."""
    found: dict[str, str] = {}
    for one in text.split(";")[:_MAX_FMTP]:
        name, _, value = one.strip().partition("=")
        if name:
            found[name.strip().lower()] = value.strip()
    return found
