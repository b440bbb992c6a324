import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.errors import RemoteProtocolError
from streamserver.webrtc.fragment import read_fragment, write_fragment
from streamserver.webrtc.sdp import read_description
from tests.webrtc.offers import CHROMIUM_PUBLISH, FFMPEG_PUBLISH, without


def test_an_offer_of_chromium_is_read_with_all_that_matters():
    offer = read_description(CHROMIUM_PUBLISH)
    assert offer.bundle == ("0", "1", "2")
    audio, video, data = offer.sections
    assert (audio.kind, audio.mid, audio.direction) == ("audio", "0", "sendonly")
    assert audio.setup == "actpass"
    assert (audio.formats[0].name, audio.formats[0].channels) == ("opus", 2)
    assert audio.formats[0].fmtp == {"minptime": "10", "useinbandfec": "1"}
    assert audio.ssrcs == (4294683430,)
    h264 = next(form for form in video.formats if form.payload_type == 102)
    assert (h264.name, h264.clock_rate) == ("h264", 90_000)
    assert h264.fmtp["profile-level-id"] == "42001f"
    assert h264.feedback == {"nack", "nack pli", "transport-cc", "goog-remb", "ccm fir"}
    assert video.extensions["urn:ietf:params:rtp-hdrext:sdes:mid"] == 4
    assert video.fingerprints[0][0] == "sha-256"
    assert video.rtcp_mux
    assert (data.is_data, data.sctp_port) == (True, 5000)


def test_sources_of_retransmissions_are_no_sources_of_media():
    assert read_description(FFMPEG_PUBLISH).sections[1].ssrcs == (1905158757,)


def test_what_the_session_says_holds_for_every_section():
    lines = without(FFMPEG_PUBLISH, "a=ice-", "a=fingerprint", "a=setup").split("\r\n")
    session = ["a=ice-ufrag:abcd", "a=ice-pwd:" + "p" * 22, "a=setup:active"]
    offer = read_description("\r\n".join([*lines[:4], *session, *lines[4:]]))
    assert {(one.ufrag, one.password, one.setup) for one in offer.sections} == {
        ("abcd", "p" * 22, "active")
    }


def test_legal_lines_that_other_readers_stop_at_are_read():
    more = [
        "a=extmap:9/sendonly urn:example:ext with attributes",
        "a=fmtp:0 annexb=no",
        "a=ssrc:7 label-without-colon",
        "a=rid:h send",
        "a=simulcast:send h",
        "a=msid:Kamera\u00a0Peter x",
    ]
    video = read_description("\r\n".join([FFMPEG_PUBLISH.rstrip(), *more])).sections[1]
    assert video.extensions == {"urn:example:ext": 9}
    assert video.rids == ("h",)
    assert 7 in video.ssrcs


def test_line_feeds_alone_end_lines_too():
    assert read_description(FFMPEG_PUBLISH.replace("\r\n", "\n")) == read_description(
        FFMPEG_PUBLISH
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        '{"type": "offer"}',
        "v=0\r\nm=video",
        "v=0\r\nm=video 99999 UDP/TLS/RTP/SAVPF 96",
        "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF ninety",
        "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 4000",
        "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 VP8",
        "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 VP8/0",
        "v=0\r\na=fingerprint:sha-256 nothing",
        "v=0\r\na=ice-ufrag:a b",
        "v=0\r\na=ice-pwd:short",
        "v=0\r\na=setup:whenever",
        "v=0\r\nm=audio 9 RTP/AVP 0\r\na=mid:a\r\nm=audio 9 RTP/AVP 0\r\na=mid:a",
        "v=0\r\ns=\x00",
        "v=0\r\nm=audio 9 RTP/AVP \u0661",
    ],
)
def test_what_is_no_description_is_the_peers_fault(text: str):
    with pytest.raises(RemoteProtocolError):
        read_description(text)


def test_a_description_of_a_megabyte_is_not_read():
    with pytest.raises(RemoteProtocolError, match="longer than 65536"):
        read_description("v=0\r\n" + "a=x\r\n" * 200_000)


def test_five_hundred_m_lines_are_not_read():
    with pytest.raises(RemoteProtocolError, match="more than 32 m-lines"):
        read_description("v=0\r\n" + "m=audio 9 RTP/AVP 0\r\n" * 500)


def test_a_line_without_end_is_not_read():
    with pytest.raises(RemoteProtocolError, match="a line is longer"):
        read_description("v=0\r\na=" + "x" * 60_000)


def test_repeated_lines_do_not_grow_without_bound():
    many = "".join(f"a=ssrc:{n} cname:x\r\na=candidate:{n}\r\na=rid:{n}\r\n" for n in range(1_000))
    (section,) = read_description(f"v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n{many}").sections
    assert len(section.ssrcs) <= 64
    assert len(section.candidates) <= 128
    assert len(section.rids) <= 32


_LINES = CHROMIUM_PUBLISH.split("\r\n")


@given(st.lists(st.one_of(st.sampled_from(_LINES), st.text(max_size=40)), max_size=40))
def test_whatever_a_peer_writes_is_read_or_its_fault(lines: list[str]):
    with contextlib.suppress(RemoteProtocolError):
        read_description("\r\n".join(["v=0", *lines]))


@given(st.integers(0, len(CHROMIUM_PUBLISH) - 1), st.text(max_size=6))
def test_a_damaged_offer_is_read_or_its_writers_fault(at: int, text: str):
    with contextlib.suppress(RemoteProtocolError):
        read_description(CHROMIUM_PUBLISH[:at] + text + CHROMIUM_PUBLISH[at + len(text) :])


def test_a_fragment_brings_candidates_and_whose_they_are():
    fragment = read_fragment(
        "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 RTP/AVP 0\r\n"
        "a=mid:0\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\na=end-of-candidates\r\n"
    )
    assert fragment.ufrag == "EsAw"
    assert fragment.candidates == ("1 1 udp 1 192.0.2.1 9 typ host",)
    assert fragment.complete


@pytest.mark.parametrize(
    "text",
    ["", "hello", "a=ice-ufrag:x", "a=candidate:1\r\n" * 65, "a=" + "x" * 20_000, "a=mid:\x07"],
)
def test_what_is_no_fragment_is_the_peers_fault(text: str):
    with pytest.raises(RemoteProtocolError):
        read_fragment(text)


def test_our_fragment_can_be_read_back():
    text = write_fragment("ufrag", "p" * 24, ["1 1 udp 1 192.0.2.1 9 typ host"])
    fragment = read_fragment(text)
    assert (fragment.ufrag, fragment.password) == ("ufrag", "p" * 24)
    assert fragment.candidates == ("1 1 udp 1 192.0.2.1 9 typ host",)
