"""The connect command: what the far side says in it (7.2.1.1, and enhanced RTMP)."""

from collections.abc import Mapping
from typing import Final

from streamserver.rtmp.amf import AmfValue, as_int
from streamserver.rtmp.command import Command
from streamserver.rtmp.events import ConnectReceived
from streamserver.rtmp.url import TcUrl

__all__ = [
    "AUDIO_FOUR_CCS",
    "VIDEO_FOUR_CCS",
    "offered_four_ccs",
    "read_connect",
    "speaks_enhanced",
]

_MOST_FOUR_CCS: Final = 64
_TAKES: Final = 1 | 4
AUDIO_FOUR_CCS: Final = frozenset({"mp4a", "Opus", ".mp3", "fLaC", "ac-3", "ec-3"})
"""Audio codecs of enhanced RTMP, in the spelling of the specification."""

VIDEO_FOUR_CCS: Final = frozenset({"avc1", "hvc1", "av01", "vp09", "vp08", "vvc1"})
"""Video codecs of enhanced RTMP; vvc1 appears in the field."""

_SPELLING: Final = {code.lower(): code for code in AUDIO_FOUR_CCS | VIDEO_FOUR_CCS}


def read_connect(command: Command) -> ConnectReceived:
    """Reads the command object. Whatever is missing or of another type counts as empty."""
    values = command.mapping(0)
    tc_url = _text(values, "tcUrl") or _text(values, "tcurl")
    url = TcUrl.parse(tc_url)
    return ConnectReceived(
        app=_text(values, "app"),
        tc_url=tc_url,
        host=url.host,
        user=url.user,
        password=url.password,
        flash_ver=_text(values, "flashVer"),
        swf_url=_text(values, "swfUrl"),
        page_url=_text(values, "pageUrl"),
        object_encoding=as_int(values.get("objectEncoding"), 0),
        four_ccs=_four_cc_list(values.get("fourCcList")),
        video_four_ccs=_four_cc_map(values.get("videoFourCcInfoMap")),
        audio_four_ccs=_four_cc_map(values.get("audioFourCcInfoMap")),
        caps_ex=as_int(values.get("capsEx"), 0),
        video_function=as_int(values.get("videoFunction"), 0),
        will_publish=_text(values, "type") == "nonprivate",
    )


def speaks_enhanced(connect: ConnectReceived) -> bool:
    """Whether it announced anything of enhanced RTMP."""
    return bool(
        connect.four_ccs or connect.video_four_ccs or connect.audio_four_ccs or connect.caps_ex
    )


def offered_four_ccs(values: Mapping[str, AmfValue]) -> frozenset[str]:
    """The codecs that a server's answer to connect offers to take; ``*`` means any.

    Enhanced RTMP v2: the maps tell decoding (1) and forwarding (4) from encoding (2) only.
    """
    mapped = _four_cc_map(values.get("videoFourCcInfoMap"))
    mapped |= _four_cc_map(values.get("audioFourCcInfoMap"))
    taken = frozenset(code for code, mask in mapped.items() if mask & _TAKES)
    return taken.union(_four_cc_list(values.get("fourCcList")))


def _text(values: Mapping[str, AmfValue], key: str) -> str:
    value = values.get(key)
    return value if isinstance(value, str) else ""


def _four_cc_list(value: AmfValue) -> tuple[str, ...]:
    codes = value[:_MOST_FOUR_CCS] if isinstance(value, list) else []
    return tuple(_four_cc(code) for code in codes if isinstance(code, str))


def _four_cc(code: str) -> str:
    # Examples in the specification have the wrong case.
    return _SPELLING.get(code.lower(), code)


def _four_cc_map(value: AmfValue) -> dict[str, int]:
    if not isinstance(value, dict):
        return {}
    pairs = list(value.items())[:_MOST_FOUR_CCS]
    return {_four_cc(code): as_int(mask, 0) for code, mask in pairs}
