import io
import time
from pathlib import Path

import av
import pytest
from av.error import FFmpegError

from streamserver.ffmpeg import pull
from streamserver.ffmpeg.command import CommandError
from streamserver.ffmpeg.pull_request import PullRequest
from streamserver.media.flv_reader import AUDIO_TAG, VIDEO_TAG, FlvReader
from streamserver.media.track import Kind
from tests import media_factory
from tests.ffmpeg.helpers_hls import make_hls

FILES = {"protocol_whitelist": "file,crypto"}


def fetched(path: Path, *, pace: bool = False) -> list[int]:
    """The kinds of the media tags that come of a source."""
    output = io.BytesIO()
    pull.copy(PullRequest(str(path), FILES, pace=pace), output)
    kinds = [tag.kind for tag in FlvReader().feed(output.getvalue())]
    return [kind for kind in kinds if kind in (AUDIO_TAG, VIDEO_TAG)]


def test_hls_becomes_the_messages_that_rtmp_carries(tmp_path: Path) -> None:
    kinds = fetched(make_hls(tmp_path, media_factory.h264_aac().flv))
    # Sixty frames, and a sequence header for each time that FFmpeg learns more of it.
    assert 61 <= kinds.count(VIDEO_TAG) <= 62
    assert kinds.count(AUDIO_TAG) >= len(media_factory.h264_aac().of(Kind.AUDIO))


@pytest.mark.parametrize("clip", [media_factory.hevc_aac, media_factory.vp9_opus])
def test_newer_codecs_come_in_the_enhanced_form(tmp_path: Path, clip) -> None:
    path = tmp_path / "clip.flv"
    path.write_bytes(clip().flv)
    output = io.BytesIO()
    pull.copy(PullRequest(str(path), FILES, pace=False), output)
    got = media_factory.read_flv(output.getvalue())
    assert [track.codec for track in got.tracks] == [track.codec for track in clip().tracks]


def test_packets_are_written_no_earlier_than_their_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, slept = [100.0], [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds
        slept[0] += seconds

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    path = tmp_path / "clip.flv"
    path.write_bytes(media_factory.h264_aac().flv)
    assert fetched(path, pace=True)
    assert 1.9 <= slept[0] <= 2.1


def test_a_protocol_that_is_not_listed_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "clip.flv"
    path.write_bytes(media_factory.h264_aac().flv)
    with pytest.raises(FFmpegError):
        pull.copy(PullRequest(str(path), {"protocol_whitelist": "http,tcp"}), io.BytesIO())


def test_a_source_without_media_that_is_served_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "subtitles.srt"
    path.write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n")
    with pytest.raises(ValueError, match="neither video nor audio"):
        fetched(path)


def test_a_request_survives_its_line_and_hides_its_url() -> None:
    request = PullRequest("http://user:secret@host/a.m3u8", FILES, pace=False)
    assert PullRequest.from_line(request.to_line()) == request
    assert "secret" not in repr(request)


def test_a_command_that_is_not_there_or_fails_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    request = PullRequest(
        "srt://127.0.0.1:1?passphrase=too-short",
        {"protocol_whitelist": "pipe,srt,udp"},
        command=True,
    )
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(CommandError, match="apt install ffmpeg"):
        pull.copy(request, io.BytesIO())
    monkeypatch.setattr("shutil.which", lambda name: "/bin/false")
    with pytest.raises((CommandError, FFmpegError)):
        pull.copy(request, io.BytesIO())


def test_what_a_command_hands_on_becomes_the_messages_that_rtmp_carries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = tmp_path / "clip.flv"
    clip.write_bytes(media_factory.h264_aac().flv)
    with av.open(str(clip)) as source, av.open(str(tmp_path / "clip.ts"), "w") as target:
        streams = {one.index: target.add_stream_from_template(one) for one in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    stand_in = tmp_path / "ffmpeg"
    stand_in.write_text(f"#!/bin/sh\ncat > {tmp_path}/script\ncat {tmp_path}/clip.ts\n")
    stand_in.chmod(0o755)
    monkeypatch.setattr("shutil.which", lambda name: str(stand_in))
    output = io.BytesIO()
    url = "srt://far.test:9000?streamid=it's"
    pull.copy(PullRequest(url, {"protocol_whitelist": "srt"}, pace=False, command=True), output)
    kinds = [tag.kind for tag in FlvReader().feed(output.getvalue())]
    assert 60 <= kinds.count(VIDEO_TAG) <= 62
    script = (tmp_path / "script").read_text()
    assert script == "ffconcat version 1.0\nfile 'srt://far.test:9000?streamid=it'\\''s'\n"
