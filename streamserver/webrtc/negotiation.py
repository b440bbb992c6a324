"""Which section carries what: from the offer of a peer to the lines that both sides use."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from streamserver.errors import RefusedError
from streamserver.media.track import Codec, Kind
from streamserver.rtp.parameters import MediaLine
from streamserver.webrtc.sdp import Description, Format, Section

__all__ = [
    "MID_EXTENSION",
    "PUBLISH_CODECS",
    "TRANSPORT_CC_EXTENSION",
    "Agreement",
    "OfferError",
    "Remote",
    "agree_to_play",
    "agree_to_publish",
    "check_offer_to_play",
    "line_of",
    "offered_codecs",
]

TRANSPORT_CC_EXTENSION: Final = (
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
)
"""Numbers every packet of a transport, for feedback."""

MID_EXTENSION: Final = "urn:ietf:params:rtp-hdrext:sdes:mid"
"""Names the section that a packet belongs to (RFC 8843, section 15)."""

PUBLISH_CODECS: Final = (Codec.H264, Codec.VP8, Codec.VP9, Codec.AV1, Codec.H265)
"""Video that publishers may send, best first: H.264 plays in every output. Who prefers another one
offers that one only."""

_NAMES: Final = {
    Codec.H264: "h264", Codec.H265: "h265", Codec.VP8: "vp8", Codec.VP9: "vp9", Codec.AV1: "av1",
    Codec.OPUS: "opus",
}  # fmt: skip
_FIRST_SSRC: Final = 0x5353_0001
"""The first source that viewers are sent; peers choose theirs at random, or 1 as Chromium does."""

_START_BIT_RATE: Final = "2500"
"""Kilobits per second with which Chromium begins; by itself: 300, with small pictures."""
# RFC 6184 8.1: level 5.2, for a sender that may go beyond the level it offered.
_HIGHEST_LEVEL: Final = "34"
_DEFAULT_PROFILE: Final = "420010"
# RFC 5761 4: these collide with RTCP types once both share a port.
_RTCP_TYPES: Final = range(64, 96)


class OfferError(RefusedError):
    """The offer can be read, but not be answered (RFC 9725, section 4.2)."""

    http_status = 406


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """The transport of the peer, the same for all its sections."""

    ufrag: str
    """ICE user name."""

    password: str
    """ICE password."""

    fingerprints: tuple[tuple[str, str], ...]
    """Digests of its certificate, by algorithm."""

    setup: str
    """``actpass``, ``active`` or ``passive``."""

    candidates: tuple[str, ...]
    """Candidates that came with the description."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What an offer led to."""

    offer: Description
    """The offer."""

    remote: Remote
    """The peer's transport."""

    sending: bool
    """Whether we are who sends."""

    lines: Mapping[int, MediaLine]
    """The sections that carry media, by their index."""

    formats: Mapping[int, Format]
    """The format that was chosen in each of them, or echoed in an inactive one."""

    data: int | None = None
    """The index of the section with data channels."""

    @property
    def media(self) -> tuple[MediaLine, ...]:
        """The lines, in the order of the sections."""
        return tuple(self.lines[index] for index in sorted(self.lines))

    def restarted(self, ufrag: str, password: str) -> "Agreement":
        """The same with the credentials of a restart; the old candidates go (RFC 8839, 4.4.1.1)."""
        remote = replace(self.remote, ufrag=ufrag, password=password, candidates=())
        return replace(self, remote=remote)


def agree_to_publish(offer: Description, codecs: Sequence[Codec] = PUBLISH_CODECS) -> Agreement:
    """Takes one video and one audio of a publisher.

    Raises `OfferError` for an offer that cannot be taken: nothing to send, codecs that nobody here
    knows, more tracks than one of a kind (RFC 9725, section 4.4.1), no ICE or DTLS.
    """
    wanted = [
        (index, section)
        for index, section in _bundled(offer)
        if section.is_rtp and section.direction in ("sendrecv", "sendonly")
    ]
    if not wanted:
        raise OfferError("the offer has no audio or video to send")
    for kind in ("video", "audio"):
        if sum(section.kind == kind for _, section in wanted) > 1:
            raise OfferError(f"the offer has more than one {kind} track; a stream has one of each")
    if any(section.rids for _, section in wanted):
        raise OfferError("the offer is for simulcast, which is not taken: send one encoding")
    lines, formats = {}, {}
    for index, section in wanted:
        choices = codecs if section.kind == "video" else (Codec.OPUS,)
        found = next(filter(None, (_choose(section, codec, None) for codec in choices)), None)
        if found is None:
            names = ", ".join(_NAMES[codec].upper() for codec in choices)
            raise OfferError(f"none of the offered {section.kind} codecs is taken here: {names}")
        codec, form = found
        formats[index] = _as_receiver(codec, form, section)
        lines[index] = line_of(section, codec, formats[index])
    return _agreement(offer, lines, formats, sending=False)


def agree_to_play(
    offer: Description,
    codecs: Sequence[Codec],
    *,
    profile: str = "",
    new_ssrc: Callable[[], int] | None = None,
) -> Agreement:
    """Chooses where a viewer gets the tracks of a stream.

    ``codecs`` are those in which they can be sent; ``profile`` is the stream's H.264
    ``profile-level-id``. Raises `OfferError` for an offer that asks for nothing, and where
    the peer does not know the codec of the video that it asks for.

    Without ``new_ssrc`` all viewers get the same sources, so that what they are sent differs in
    the keys only and is laid out once; each has a session of its own (RFC 3550, section 8), in
    which there are no other sources but its own.
    """
    wanted = check_offer_to_play(offer)
    new_source = new_ssrc or itertools.count(_FIRST_SSRC).__next__
    lines: dict[int, MediaLine] = {}
    formats = {}
    for codec in codecs:
        of_kind = [one for one in wanted if one[1].kind == codec.kind.value]
        for index, section in of_kind:
            found = _choose(section, codec, profile)
            if found is not None:
                formats[index] = form = _as_sender(codec, found[1])
                lines[index] = _sending(line_of(section, codec, form), lines, new_source)
                break
        else:
            if of_kind and codec.kind is Kind.VIDEO:
                raise OfferError(
                    f"the video is {_NAMES.get(codec, codec.value).upper()}, "
                    "which this player does not offer to receive"
                )
    if not lines:
        raise OfferError("the stream has nothing of what this player asks for")
    return _agreement(offer, lines, formats, sending=True)


def check_offer_to_play(offer: Description) -> list[tuple[int, Section]]:
    """The sections in which a viewer wants media. Raises `OfferError` when there are none."""
    wanted = [
        (index, section)
        for index, section in _bundled(offer)
        if section.is_rtp and section.direction in ("sendrecv", "recvonly")
    ]
    if not wanted:
        raise OfferError("the offer does not ask for audio or video")
    _remote(next(_bundled(offer))[1])
    return wanted


def offered_codecs(offer: Description) -> frozenset[Codec]:
    """The codecs that a viewer takes; every video codec where it asks for no video."""
    wanted = check_offer_to_play(offer)
    asks_video = any(section.kind == "video" for _, section in wanted)
    return frozenset(
        codec
        for codec in _NAMES
        if (codec.kind is Kind.VIDEO and not asks_video)
        or any(_choose(section, codec, "") for _, section in wanted)
    )


def line_of(section: Section, codec: Codec, form: Format) -> MediaLine:
    """What a section and its chosen format mean for RTP."""
    rtx = next(
        (
            other.payload_type
            for other in section.formats
            if other.name == "rtx" and other.fmtp.get("apt") == str(form.payload_type)
        ),
        None,
    )
    extensions = {
        uri: number
        for uri, number in section.extensions.items()
        if uri in (MID_EXTENSION, TRANSPORT_CC_EXTENSION)
    }
    transport_cc = "transport-cc" in form.feedback and TRANSPORT_CC_EXTENSION in extensions
    if not transport_cc:
        extensions.pop(TRANSPORT_CC_EXTENSION, None)
    return MediaLine(
        mid=section.mid,
        codec=codec,
        payload_type=form.payload_type,
        clock_rate=form.clock_rate,
        fmtp=form.fmtp,
        # RFC 4588 8.1: without NACK nobody would ask for them.
        rtx_payload_type=rtx if "nack" in form.feedback else None,
        nack="nack" in form.feedback,
        pli="nack pli" in form.feedback,
        transport_cc=transport_cc,
        extensions=extensions,
        remote_ssrcs=section.ssrcs,
    )


def _agreement(
    offer: Description,
    lines: dict[int, MediaLine],
    formats: dict[int, Format],
    *,
    sending: bool,
) -> Agreement:
    first, section = next(_bundled(offer))
    if first not in formats and section.is_rtp and section.formats:
        # The first section of a bundle says where the transport is (RFC 8843 7.3): were it
        # rejected, peers would have to move it. It stays, and carries nothing.
        formats[first] = section.formats[0]
    data = next((index for index, one in _bundled(offer) if one.is_data), None)
    return Agreement(
        offer=offer,
        remote=_remote(section),
        sending=sending,
        lines=lines,
        formats=formats,
        data=data,
    )


def _bundled(offer: Description) -> Iterator[tuple[int, Section]]:
    """The sections that share the one transport, and are not rejected by their writer."""
    alive = [one for one in enumerate(offer.sections) if not one[1].rejected]
    if offer.bundle:
        by_mid = {one[1].mid: one for one in alive if one[1].mid}
        alive = [by_mid[mid] for mid in dict.fromkeys(offer.bundle) if mid in by_mid]
    else:
        # Each section would need a transport of its own: one is answered.
        alive = [one for one in alive if one[1].is_rtp][:1] or alive[:1]
    if not alive:
        raise OfferError("the offer has no section that can be answered")
    return iter(alive)


def _remote(section: Section) -> Remote:
    """RFC 8829 5.2.1: every section has credentials, a fingerprint and RTCP on the same port."""
    if not section.ufrag or not section.password:
        raise OfferError("the offer has no ICE credentials (ice-ufrag and ice-pwd)")
    if not section.fingerprints:
        raise OfferError("the offer has no fingerprint of a certificate: media is encrypted here")
    if not any(algorithm.startswith("sha-") for algorithm, _ in section.fingerprints):
        raise OfferError("the offer has no fingerprint made by SHA")
    if section.is_rtp and not section.rtcp_mux:
        raise OfferError("the offer keeps RTCP on a port of its own; rtcp-mux is needed here")
    if section.setup == "holdconn":
        raise OfferError("the offer holds the connection back (setup:holdconn)")
    return Remote(
        ufrag=section.ufrag,
        password=section.password,
        fingerprints=section.fingerprints,
        # RFC 5763 5: an offer says actpass; what says nothing is taken as active (RFC 4145 4).
        setup=section.setup or "active",
        candidates=section.candidates,
    )


def _choose(section: Section, codec: Codec, profile: str | None) -> tuple[Codec, Format] | None:
    """The format of a codec that suits best, in the order of the offer among equals."""
    name = _NAMES.get(codec)
    fitting = [
        form
        for form in section.formats
        if form.name == name and form.payload_type not in _RTCP_TYPES and _is_known(codec, form)
    ]
    if not fitting:
        return None
    return codec, min(fitting, key=lambda form: _distance(codec, form, profile))


def _is_known(codec: Codec, form: Format) -> bool:
    if codec.kind is Kind.VIDEO and form.clock_rate != 90_000:
        return False
    match codec:
        case Codec.VP9:
            # Profiles above 0 are 4:4:4 or 10 bit.
            return form.fmtp.get("profile-id", "0") == "0"
        case Codec.AV1:
            return form.fmtp.get("profile", "0") == "0"
        case Codec.OPUS:
            return form.clock_rate == 48_000 and form.channels == 2  # RFC 7587 4.1, always
        case _:
            return True


def _distance(codec: Codec, form: Format, profile: str | None) -> tuple[int, int]:
    """How far a format is from what is best; for H.264, from the profile where we send."""
    if codec is not Codec.H264:
        return (0, 0)
    # RFC 6184 5.4: without mode 1 every NAL unit must fit into a packet.
    mode = 0 if form.fmtp.get("packetization-mode") == "1" else 1
    if profile is None:
        return (mode, 0)
    offered = form.fmtp.get("profile-level-id", _DEFAULT_PROFILE).lower()
    wanted = profile.lower()
    if offered[:4] == wanted[:4]:
        return (mode, 0)
    # Decoders take far more than they offer; the nearest is the same profile_idc.
    return (mode, 1 if offered[:2] == wanted[:2] else 2)


def _as_receiver(codec: Codec, form: Format, section: Section) -> Format:
    """The format as we answer it to who sends."""
    fmtp = dict(form.fmtp)
    match codec:
        case Codec.H264:
            level = fmtp.get("profile-level-id", "")
            if fmtp.get("level-asymmetry-allowed") == "1" and len(level) == 6:
                fmtp["profile-level-id"] = level[:4] + _HIGHEST_LEVEL
        case Codec.OPUS:
            # RFC 7587 6.1: stereo says what we like to receive; a mono source stays mono.
            fmtp |= {"stereo": "1", "useinbandfec": "1"}
    if codec.kind is Kind.VIDEO and line_of(section, codec, form).transport_cc:
        fmtp["x-google-start-bitrate"] = _START_BIT_RATE
    kept = {one for one in form.feedback if one in ("nack", "nack pli", "transport-cc", "ccm fir")}
    if TRANSPORT_CC_EXTENSION not in section.extensions:
        kept.discard("transport-cc")
    if codec is Codec.OPUS:
        kept.discard("nack")
    return replace(form, fmtp=fmtp, feedback=frozenset(kept))


def _as_sender(codec: Codec, form: Format) -> Format:
    """The format as we answer it to who receives."""
    fmtp = dict(form.fmtp)
    if codec is Codec.OPUS:
        fmtp |= {"stereo": "1", "sprop-stereo": "1"}
    kept = {one for one in form.feedback if one in ("nack", "nack pli", "ccm fir")}
    return replace(form, fmtp=fmtp, feedback=frozenset(kept))


def _sending(
    line: MediaLine, others: Mapping[int, MediaLine], new_ssrc: Callable[[], int]
) -> MediaLine:
    """The line with sources of ours, none of them twice."""
    taken = {0} | {ssrc for one in others.values() for ssrc in (one.ssrc, one.rtx_ssrc)}
    ssrcs: list[int] = []
    while len(ssrcs) < 2:
        ssrc = new_ssrc()
        if ssrc not in taken:
            taken.add(ssrc)
            ssrcs.append(ssrc)
    rtx_ssrc = ssrcs[1] if line.rtx_payload_type is not None else 0
    # Sources stand in the description, so packets need no extension.
    return replace(line, ssrc=ssrcs[0], rtx_ssrc=rtx_ssrc, extensions={}, transport_cc=False)
