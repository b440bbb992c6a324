"""Descriptions, written: our answer to an offer, and an offer of ours (RFC 8829, section 5)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from streamserver.errors import RemoteProtocolError
from streamserver.media.track import Codec
from streamserver.rtp.parameters import MediaLine
from streamserver.webrtc.negotiation import Agreement, OfferError, Remote, line_of
from streamserver.webrtc.sdp import Description, Format, Section

__all__ = ["SDP_TYPE", "Local", "OfferedLine", "accept_answer", "write_answer", "write_offer"]

SDP_TYPE: Final = "application/sdp"
"""The media type of a description."""

_SCTP_PORT: Final = 5000
_MAX_MESSAGE_BYTES: Final = 65536
_CNAME: Final = "streamserver"
_WRITTEN: Final = {
    "h264": "H264", "h265": "H265", "vp8": "VP8", "vp9": "VP9", "av1": "AV1", "opus": "opus",
}  # fmt: skip
_MEDIA: Final = "UDP/TLS/RTP/SAVPF"


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """Our side of the transport."""

    ufrag: str
    """ICE user name."""

    password: str = field(repr=False)
    """ICE password."""

    fingerprint: str
    """SHA-256 digest of our certificate, hex with colons."""

    candidates: Sequence[str]
    """Values of ``a=candidate``."""

    setup: str
    """``passive`` or ``active`` in an answer, ``actpass`` in an offer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedLine:
    """A section of an offer of ours: one line for each codec that may be chosen."""

    lines: tuple[MediaLine, ...]
    """The same section in each codec, best first; ``mid`` and ``ssrc`` are the same in all."""

    sending: bool
    """Whether we send on it."""


def write_answer(agreement: Agreement, local: Local, *, session_id: int) -> str:
    """The answer: as many sections as the offer has, in its order (RFC 3264, section 6)."""
    offer, alive = agreement.offer, _alive(agreement)
    mids = {offer.sections[index].mid for index in alive}
    # RFC 8843 7.3: in the order of the offer.
    bundle = [mid for mid in dict.fromkeys(offer.bundle) if mid in mids]
    text = _session_lines(session_id, bundle)
    for index, section in enumerate(offer.sections):
        if index not in alive:
            text += [f"m={section.kind} 0 {section.protocol} {section.raw_formats}", _NOWHERE]
            text += [f"a=mid:{section.mid}"] if section.mid else []
            # RFC 8829 5.3.1: a rejected section says inactive, so that no parser asks for more.
            text += ["a=inactive"] if section.is_rtp else []
        elif index == agreement.data:
            text += _data_section(section) + _transport(local)
        else:
            text += _media_section(section, agreement, index)
            text += _transport(local)
    return "\r\n".join((*text, ""))


def write_offer(
    sections: Sequence[OfferedLine], local: Local, *, session_id: int, data: bool = False
) -> str:
    """An offer of ours, for signalling in which the server begins."""
    mids = [section.lines[0].mid for section in sections]
    data_mid = _free_mid(mids)
    text = _session_lines(session_id, [*mids, data_mid] if data else mids)
    for index, section in enumerate(sections):
        formats = [form for line in section.lines for form in _formats(line)]
        first = section.lines[0]
        text += [f"m={first.kind.value} 9 {_MEDIA} {_numbers(formats)}", _NOWHERE, _RTCP]
        text += [f"a=mid:{first.mid}", "a=sendonly" if section.sending else "a=recvonly"]
        text += ["a=rtcp-mux", *_extensions(first.extensions)]
        for form in formats:
            text += _format_lines(form)
        text += _sources(first) if section.sending else []
        text += _transport(local, with_candidates=index == 0)
    if data:
        section_lines = _data_section(replace(_DATA, mid=data_mid))
        text += section_lines + _transport(local, with_candidates=not sections)
    return "\r\n".join((*text, ""))


def accept_answer(
    sections: Sequence[OfferedLine], answer: Description
) -> tuple[Remote, tuple[MediaLine, ...]]:
    """What the peer answered to `write_offer`: its transport, and the lines that carry media.

    Raises `RemoteProtocolError` for an answer to another offer, and `OfferError` for one that
    takes nothing.
    """
    if len(answer.sections) < len(sections):
        raise RemoteProtocolError("the answer has fewer m-lines than the offer")
    lines = []
    remote = None
    for offered, section in zip(sections, answer.sections, strict=False):
        if section.mid and section.mid != offered.lines[0].mid:
            raise RemoteProtocolError(f"the answer names a section {section.mid[:40]!a}")
        unused = ("inactive", "sendonly" if offered.sending else "recvonly")
        if section.rejected or section.direction in unused:
            continue
        found = _answered(offered, section)
        if found is not None:
            lines.append(found)
            remote = remote or _answering(section)
    if remote is None:
        raise OfferError("the peer takes nothing of what was offered")
    return remote, tuple(lines)


_NOWHERE: Final = "c=IN IP4 0.0.0.0"
_RTCP: Final = "a=rtcp:9 IN IP4 0.0.0.0"
_DATA: Final = Section(
    kind="application", port=9, protocol="UDP/DTLS/SCTP", raw_formats="webrtc-datachannel"
)


def _alive(agreement: Agreement) -> list[int]:
    found = set(agreement.formats)
    if agreement.data is not None:
        found.add(agreement.data)
    return sorted(found)


def _session_lines(session_id: int, bundle: Sequence[str]) -> list[str]:
    lines = ["v=0", f"o=- {session_id} 1 IN IP4 0.0.0.0", "s=-", "t=0 0"]
    if bundle:
        lines.append(f"a=group:BUNDLE {' '.join(bundle)}")
    # RFC 8839 5.3: we answer checks and send none.
    return [*lines, "a=ice-lite", "a=msid-semantic: WMS *"]


def _media_section(section: Section, agreement: Agreement, index: int) -> list[str]:
    form, line = agreement.formats[index], agreement.lines.get(index)
    formats = _formats(line, form) if line is not None else [form]
    text = [f"m={section.kind} 9 {section.protocol} {_numbers(formats)}", _NOWHERE, _RTCP]
    if section.mid:
        text.append(f"a=mid:{section.mid}")
    if line is None:
        text.append("a=inactive")
    else:
        text.append("a=sendonly" if agreement.sending else "a=recvonly")
    text.append("a=rtcp-mux")
    if line is not None:
        text += _extensions(line.extensions)
    for one in formats:
        text += _format_lines(one)
    if line is not None and agreement.sending:
        text += _sources(line)
    return text


def _data_section(section: Section) -> list[str]:
    text = [f"m=application 9 {section.protocol} {section.raw_formats}", _NOWHERE]
    if section.mid:
        text.append(f"a=mid:{section.mid}")
    return [*text, f"a=sctp-port:{_SCTP_PORT}", f"a=max-message-size:{_MAX_MESSAGE_BYTES}"]


def _transport(local: Local, *, with_candidates: bool = True) -> list[str]:
    lines = [
        f"a=ice-ufrag:{local.ufrag}",
        f"a=ice-pwd:{local.password}",
        "a=ice-options:trickle ice2",
        f"a=fingerprint:sha-256 {local.fingerprint}",
        f"a=setup:{local.setup}",
    ]
    if with_candidates:
        # RFC 8843 7.4 has them once in an offer, where the transport is taken from. In an answer
        # every section has them: some clients read those of the last one only.
        lines += [f"a=candidate:{candidate}" for candidate in local.candidates]
        lines.append("a=end-of-candidates")
    return lines


def _formats(line: MediaLine, form: Format | None = None) -> list[Format]:
    """The formats of a line: its codec, and the retransmissions of it."""
    feedback = {"nack"} if line.nack else set()
    feedback |= {"nack pli"} if line.pli else set()
    feedback |= {"transport-cc"} if line.transport_cc else set()
    formats = [
        form
        or Format(
            payload_type=line.payload_type,
            name=line.codec.value,
            clock_rate=line.clock_rate,
            channels=2 if line.codec is Codec.OPUS else 1,
            fmtp=line.fmtp,
            feedback=frozenset(feedback),
        )
    ]
    if line.rtx_payload_type is not None:
        apt = {"apt": str(line.payload_type)}
        rtx = Format(
            payload_type=line.rtx_payload_type, name="rtx", clock_rate=line.clock_rate, fmtp=apt
        )
        formats.append(rtx)
    return formats


def _numbers(formats: Sequence[Format]) -> str:
    return " ".join(str(form.payload_type) for form in formats)


def _format_lines(form: Format) -> list[str]:
    number, name = form.payload_type, _WRITTEN.get(form.name, form.name)
    channels = f"/{form.channels}" if form.channels > 1 else ""
    lines = [f"a=rtpmap:{number} {name}/{form.clock_rate}{channels}"]
    lines += [f"a=rtcp-fb:{number} {feedback}" for feedback in sorted(form.feedback)]
    if form.fmtp:
        pairs = (f"{key}={value}" if value else key for key, value in form.fmtp.items())
        lines.append(f"a=fmtp:{number} {';'.join(pairs)}")
    return lines


def _extensions(extensions: Mapping[str, int]) -> list[str]:
    return [f"a=extmap:{number} {uri}" for uri, number in extensions.items()]


def _sources(line: MediaLine) -> list[str]:
    """What we send with: one stream with a track of each kind, which players keep in step."""
    track = f"{_CNAME} {line.kind.value}"
    text = [f"a=msid:{track}"]
    ssrcs = [line.ssrc]
    if line.rtx_ssrc:
        ssrcs.append(line.rtx_ssrc)
        text.append(f"a=ssrc-group:FID {line.ssrc} {line.rtx_ssrc}")
    for ssrc in ssrcs:
        text += [f"a=ssrc:{ssrc} cname:{_CNAME}", f"a=ssrc:{ssrc} msid:{track}"]
    return text


def _free_mid(mids: Sequence[str]) -> str:
    return next(str(number) for number in range(len(mids) + 1) if str(number) not in mids)


def _answered(offered: OfferedLine, section: Section) -> MediaLine | None:
    """The first offered codec that the answer took, with what it says of it."""
    for line in offered.lines:
        for form in section.formats:
            if form.payload_type == line.payload_type and form.name == line.codec.value:
                taken = line_of(section, line.codec, form)
                if not offered.sending:
                    return taken
                rtx_ssrc = line.rtx_ssrc if taken.rtx_payload_type is not None else 0
                return replace(taken, ssrc=line.ssrc, rtx_ssrc=rtx_ssrc)
    return None


def _answering(section: Section) -> Remote:
    if not (section.ufrag and section.password and section.fingerprints):
        raise RemoteProtocolError("the answer lacks ICE credentials or a fingerprint")
    if section.setup not in ("active", "passive"):
        raise RemoteProtocolError("the answer does not say who begins with DTLS")
    return Remote(
        ufrag=section.ufrag,
        password=section.password,
        fingerprints=section.fingerprints,
        setup=section.setup,
        candidates=section.candidates,
    )
