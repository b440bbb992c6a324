import itertools

import pytest

from streamserver.media.track import Codec
from streamserver.webrtc.describe import Local, write_answer
from streamserver.webrtc.negotiation import (
    MID_EXTENSION,
    TRANSPORT_CC_EXTENSION,
    Agreement,
    OfferError,
    agree_to_play,
    agree_to_publish,
)
from streamserver.webrtc.sdp import Description, read_description
from tests.webrtc.offers import CHROMIUM_PLAY, CHROMIUM_PUBLISH, FFMPEG_PUBLISH, without

LOCAL = Local(
    ufrag="ourufrag",
    password="p" * 32,
    fingerprint=":".join(["AB"] * 32),
    candidates=("1 1 udp 2130706431 192.0.2.1 8189 typ host",),
    setup="passive",
)
DATA_ONLY = (
    "v=0\r\na=group:BUNDLE 0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:0\r\n"
)


def publish(text: str) -> Agreement:
    return agree_to_publish(read_description(text))


def play(text: str, *codecs: Codec, profile: str = "") -> Agreement:
    numbers = itertools.count(100)
    offer = read_description(text)
    return agree_to_play(offer, codecs, profile=profile, new_ssrc=lambda: next(numbers))


def answer(agreement: Agreement) -> Description:
    return read_description(write_answer(agreement, LOCAL, session_id=1))


def only(codec: str, text: str = CHROMIUM_PUBLISH) -> str:
    """The offer with the video formats of one codec, as ``setCodecPreferences`` makes it."""
    for name in {"VP8", "VP9", "H264", "AV1"} - {codec}:
        text = text.replace(f" {name}/", " unknown/")
    return text


def test_a_browser_publishes_h264_in_mode_1_and_opus():
    agreement = publish(CHROMIUM_PUBLISH)
    audio, video = agreement.media
    assert (audio.mid, audio.codec, audio.payload_type) == ("0", Codec.OPUS, 111)
    assert (video.mid, video.codec, video.payload_type) == ("1", Codec.H264, 102)
    assert (audio.clock_rate, video.clock_rate) == (48_000, 90_000)
    assert video.fmtp["packetization-mode"] == "1"
    assert video.rtx_payload_type == 103
    assert (video.nack, video.pli, video.transport_cc) == (True, True, True)
    assert video.extensions == {MID_EXTENSION: 4, TRANSPORT_CC_EXTENSION: 3}
    assert video.remote_ssrcs == (985275492,)
    assert not audio.nack
    assert agreement.data == 2
    assert (agreement.remote.setup, agreement.remote.ufrag) == ("actpass", "/YRb")


def test_the_answer_to_a_publisher_says_what_makes_it_begin_well():
    text = write_answer(publish(CHROMIUM_PUBLISH), LOCAL, session_id=7)
    assert "a=ice-lite\r\n" in text
    assert "a=group:BUNDLE 0 1 2\r\n" in text
    assert "profile-level-id=420034" in text
    assert "x-google-start-bitrate=2500" in text
    assert "stereo=1" in text
    assert text.count("a=candidate:") == text.count("a=end-of-candidates") == 3
    audio, video, data = read_description(text).sections
    assert {one.direction for one in (audio, video)} == {"recvonly"}
    assert [form.payload_type for form in video.formats] == [102, 103]
    assert video.formats[0].feedback == {"nack", "nack pli", "transport-cc", "ccm fir"}
    assert (data.sctp_port, data.setup, data.rejected) == (5000, "passive", False)


@pytest.mark.parametrize(
    ("name", "codec", "payload_type"),
    [("VP8", Codec.VP8, 96), ("VP9", Codec.VP9, 98), ("AV1", Codec.AV1, 45)],
)
def test_who_prefers_another_codec_offers_that_one_only(name: str, codec: Codec, payload_type: int):
    _, video = publish(only(name)).media
    assert (video.codec, video.payload_type) == (codec, payload_type)


def test_vp9_with_more_than_8_bits_is_not_taken():
    with pytest.raises(OfferError, match="video codecs"):
        publish(only("VP9").replace("a=rtpmap:98 VP9/90000\r\n", ""))


def test_ffmpeg_which_waits_for_our_hello_is_answered():
    agreement = publish(FFMPEG_PUBLISH)
    assert agreement.remote.setup == "passive"
    _, video = agreement.media
    assert (video.payload_type, video.rtx_payload_type, video.pli) == (106, 105, False)
    assert not video.transport_cc
    assert "x-google" not in write_answer(agreement, LOCAL, session_id=1)


def test_payload_types_that_collide_with_rtcp_are_never_chosen():
    with pytest.raises(OfferError):
        publish(FFMPEG_PUBLISH.replace("106", "72"))


def test_retransmissions_need_nack():
    _, video = publish(without(FFMPEG_PUBLISH, "a=rtcp-fb")).media
    assert video.rtx_payload_type is None


@pytest.mark.parametrize(
    ("offer", "says"),
    [
        (without(CHROMIUM_PUBLISH, "a=ice-"), "no ICE credentials"),
        (without(CHROMIUM_PUBLISH, "a=fingerprint"), "no fingerprint"),
        (without(CHROMIUM_PUBLISH, "a=rtcp-mux"), "rtcp-mux"),
        (CHROMIUM_PUBLISH.replace("setup:actpass", "setup:holdconn"), "holdconn"),
        (CHROMIUM_PLAY, "no audio or video to send"),
        ("v=0\r\n", "no section"),
        (DATA_ONLY, "no audio or video to send"),
        (CHROMIUM_PUBLISH.replace("/90000", "/1000"), "video codecs"),
        (CHROMIUM_PUBLISH.replace("opus/48000/2", "speex/16000"), "audio codecs"),
        (CHROMIUM_PUBLISH.replace("SAVPF", "AVP"), "no audio or video to send"),
        (CHROMIUM_PUBLISH.replace("o 9 ", "o 0 "), "no audio or video to send"),
    ],
)
def test_an_offer_that_cannot_be_taken_is_refused_with_a_sentence(offer: str, says: str):
    with pytest.raises(OfferError, match=says):
        publish(offer)


def test_two_videos_are_refused_and_so_is_simulcast():
    video = CHROMIUM_PUBLISH[CHROMIUM_PUBLISH.index("m=video") : CHROMIUM_PUBLISH.index("m=appl")]
    second = video.replace("a=mid:1", "a=mid:7")
    bundled = CHROMIUM_PUBLISH.replace("BUNDLE 0 1 2", "BUNDLE 0 1 2 7")
    with pytest.raises(OfferError, match="more than one video"):
        publish(bundled + second)
    with pytest.raises(OfferError, match="simulcast"):
        publish(CHROMIUM_PUBLISH.replace("a=mid:1\r\n", "a=mid:1\r\na=rid:h send\r\n"))


def test_sections_outside_the_bundle_are_rejected_in_their_place():
    agreement = publish(CHROMIUM_PUBLISH.replace("BUNDLE 0 1 2", "BUNDLE 1"))
    assert [line.mid for line in agreement.media] == ["1"]
    sections = answer(agreement).sections
    assert [one.kind for one in sections] == ["audio", "video", "application"]
    assert [one.rejected for one in sections] == [True, False, True]
    assert answer(agreement).bundle == ("1",)
    assert sections[1].ufrag == "ourufrag"


def test_without_a_bundle_one_section_is_answered():
    agreement = publish(without(CHROMIUM_PUBLISH, "a=group"))
    assert [line.mid for line in agreement.media] == ["0"]
    assert [one.rejected for one in answer(agreement).sections] == [False, True, True]


def test_a_player_gets_h264_and_opus_with_sources_of_ours():
    agreement = play(CHROMIUM_PLAY, Codec.H264, Codec.OPUS, profile="42c01f")
    audio, video = agreement.media
    assert (video.codec, video.payload_type) == (Codec.H264, 102)
    assert (video.ssrc, video.rtx_ssrc, audio.ssrc, audio.rtx_ssrc) == (100, 101, 102, 0)
    assert (video.extensions, video.transport_cc) == ({}, False)
    text = write_answer(agreement, LOCAL, session_id=7)
    assert "a=ssrc-group:FID 100 101\r\n" in text
    assert "a=ssrc:100 cname:streamserver\r\n" in text
    assert "a=ssrc:102 msid:streamserver audio\r\n" in text
    assert "sprop-stereo=1" in text
    assert {one.direction for one in answer(agreement).sections} == {"sendonly"}


@pytest.mark.parametrize(
    ("profile", "payload_type"),
    [("42e01f", 108), ("4d0028", 116), ("640028", 102), ("42c028", 102), ("", 102)],
)
def test_the_nearest_profile_is_answered_and_always_mode_1(profile: str, payload_type: int):
    video = play(CHROMIUM_PLAY, Codec.H264, profile=profile).media[0]
    assert video.payload_type == payload_type
    assert video.fmtp["packetization-mode"] == "1"


def test_what_a_stream_has_not_is_inactive_or_rejected():
    audio, video = answer(play(CHROMIUM_PLAY, Codec.VP8)).sections
    # The first of the bundle says where the transport is, so it stays.
    assert (audio.direction, audio.rejected) == ("inactive", False)
    assert (video.direction, video.rejected) == ("sendonly", False)
    only_sound = answer(play(CHROMIUM_PLAY, Codec.OPUS))
    assert [one.rejected for one in only_sound.sections] == [False, True]
    assert only_sound.bundle == ("0",)


def test_a_player_that_wants_sound_only_gets_sound_of_a_stream_with_video():
    audio_only = CHROMIUM_PLAY[: CHROMIUM_PLAY.index("m=video")].replace("BUNDLE 0 1", "BUNDLE 0")
    (audio,) = play(audio_only, Codec.H264, Codec.OPUS).media
    assert audio.codec is Codec.OPUS


def test_video_that_a_player_does_not_know_is_refused():
    with pytest.raises(OfferError, match="H265"):
        play(CHROMIUM_PLAY, Codec.H265, Codec.OPUS)
    with pytest.raises(OfferError, match="nothing"):
        play(CHROMIUM_PLAY.replace("opus", "speex"), Codec.OPUS)
    with pytest.raises(OfferError, match="does not ask"):
        play(CHROMIUM_PUBLISH, Codec.H264)
    assert OfferError.http_status == 406
