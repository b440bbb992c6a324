"""The load generators do what they claim, or their figures mean nothing."""

import os

import pytest

from benchmarks.hls_viewers import HttpClient, edge
from benchmarks.procfs import usage
from benchmarks.publish import chunks, commands
from benchmarks.results import Row, as_json, as_table
from benchmarks.whep_viewers import lateness
from streamserver.rtmp.chunk import ChunkDecoder
from streamserver.rtmp.command import parse_command
from streamserver.rtmp.message import AMF0_COMMAND, SET_CHUNK_SIZE, VIDEO

PLAYLIST = b"""#EXTM3U
#EXT-X-MEDIA-SEQUENCE:100
#EXTINF:2.0,
../../t/100.m4s
#EXT-X-PART:DURATION=1.0,URI="../../t/101.0.m4s"
#EXT-X-PART:DURATION=1.0,URI="../../t/101.1.m4s"
#EXTINF:2.0,
../../t/101.m4s
#EXT-X-PART:DURATION=1.0,URI="../../t/102.0.m4s"
#EXT-X-PRELOAD-HINT:TYPE=PART,URI="../../t/102.1.m4s"
"""


def test_the_edge_of_a_playlist_is_the_part_that_comes_next():
    msn, part, uris = edge(PLAYLIST)
    assert (msn, part) == (102, 1)
    assert uris == [b"../../t/101.0.m4s", b"../../t/101.1.m4s", b"../../t/102.0.m4s"]


def test_the_edge_after_a_finished_segment_is_the_first_part_of_the_next():
    finished = PLAYLIST[: PLAYLIST.index(b'#EXT-X-PART:DURATION=1.0,URI="../../t/102')]
    assert edge(finished)[:2] == (102, 0)


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_an_answer_in_any_portions_is_one_answer(step):
    answers: list[tuple[int, bytes]] = []
    client = HttpClient()
    wire = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + bytes(1000)
    for _ in range(2):
        client._done = lambda status, body: answers.append((status, body))
        for at in range(0, len(wire), step):
            client.data_received(wire[at : at + step])
    assert answers == [(200, bytes(1000))] * 2
    assert client.received == 2 * len(wire)


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_a_client_that_keeps_little_takes_the_whole_answer_and_hands_on_its_beginning(step):
    answers: list[tuple[int, bytes]] = []
    client = HttpClient(keep=8)
    wire = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n0123moof" + bytes(992)
    for _ in range(2):
        client._done = lambda status, body: answers.append((status, body))
        for at in range(0, len(wire), step):
            client.data_received(wire[at : at + step])
    assert [(status, body[:8]) for status, body in answers] == [(200, b"0123moof")] * 2
    assert client.received == 2 * len(wire)


def test_a_connection_that_is_lost_fails_its_request():
    answers: list[int] = []
    client = HttpClient()
    client._done = lambda status, body: answers.append(status)
    client.connection_lost(None)
    assert answers == [0]


@pytest.mark.parametrize("size", [128, 4096])
def test_published_bytes_are_the_messages_that_they_stand_for(size):
    decoder = ChunkDecoder()
    body = bytes(range(256)) * 40
    set_size, *calls = commands("rtmp://x/live", "live", "bench0", size)
    decoder.feed(set_size + b"".join(calls) + bytes(chunks(6, 9, 4_000_000, 1, body, size)))
    first, *messages, media = decoder.messages()
    assert (first.type_id, decoder.chunk_size) == (SET_CHUNK_SIZE, size)
    assert all(message.type_id == AMF0_COMMAND for message in messages)
    names = [parse_command(message).name for message in messages]
    assert names == ["connect", "createStream", "publish"]
    assert media == (VIDEO, 4_000_000, 1, body)


def test_the_cpu_time_of_a_process_grows_with_its_work():
    before = usage(os.getpid())
    sum(number * number for number in range(500_000))
    after = usage(os.getpid())
    assert after.cpu_ms > before.cpu_ms > 0
    assert after.rss_kb > 1000


def test_a_ratio_is_the_median_over_rounds_and_each_round_is_compared_with_itself():
    row = Row("ingest", "load", "ms", "nginx", 0.8, ours=[1.0, 8.0, 3.0], theirs=[2.0, 8.0, 4.0])
    assert row.ratios == [0.5, 1.0, 0.75]
    assert row.ratio == 0.75
    assert row.verdict == "met"
    row.budget = 0.7
    assert row.verdict == "MISSED"


def test_a_peer_that_is_missing_is_a_line_in_the_table():
    row = Row("http", "part", "us", "nginx", 1.0, ours=[7.0], missing="wrk not installed")
    assert row.verdict == "-"
    assert "wrk not installed" in as_table([row])
    assert as_json([row])["rows"][0]["ratio"] is None


def test_how_late_pictures_are_is_counted_from_the_fastest_one():
    came = [(0xFFFF_FF00 + at * 3000 & 0xFFFF_FFFF, 500 + at * 100 / 3) for at in range(100)]
    came[7] = (came[7][0], came[7][1] + 12)
    late = lateness(came)
    assert late["p50"] == pytest.approx(0, abs=0.01)
    assert late["most"] == pytest.approx(12, abs=0.01)
    assert lateness([]) == {}
