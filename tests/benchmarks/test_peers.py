"""Who is compared with, and what is said of those who are not here."""

from pathlib import Path

import pytest

from benchmarks import peers
from benchmarks.__main__ import CASES
from benchmarks.mixed import growth
from benchmarks.peers import antmedia, mediamtx, srs
from benchmarks.peers.base import given_binary
from benchmarks.plot import curves
from benchmarks.results import Row, as_json, as_table


@pytest.mark.parametrize("adapter", [mediamtx, srs, antmedia])
def test_a_program_that_is_given_by_path_is_missing_until_it_is_given(adapter, monkeypatch):
    monkeypatch.delenv(adapter.VARIABLE, raising=False)
    assert adapter.VARIABLE in adapter.PEER.why_missing()
    monkeypatch.setenv(adapter.VARIABLE, "/nowhere/at/all")
    assert "no program" in adapter.PEER.why_missing()
    monkeypatch.setenv(adapter.VARIABLE, "/bin/sh")
    assert not adapter.PEER.why_missing()
    assert given_binary(adapter.VARIABLE)[0] == Path("/bin/sh")


def test_configurations_have_the_ports_that_were_free():
    text = mediamtx.configuration(rtmp=1, hls=2, webrtc=3, udp=4)
    assert "rtmpAddress: 127.0.0.1:1\n" in text
    assert "webrtcLocalUDPAddress: 127.0.0.1:4\n" in text
    text = srs.configuration(Path("/d"), rtmp=1, http=2, api=3, udp=4)
    assert "listen 1;" in text
    assert "rtc_server { enabled on; listen 4;" in text
    assert antmedia.ports("rtmp.port = 1945\n# x\nhttp.port=5081\n") == (1945, 5081)
    assert antmedia.ports("") == (1935, 5080)


def test_peers_have_names_of_their_own():
    names = [peer.name for peer in peers.ALL]
    assert len(set(names)) == len(names)


def test_a_peer_that_is_not_here_has_one_line_for_all_cases():
    rows = [
        Row("join", "over RTMP", "ms", "SRS", None, ours=[3.0], missing="no path"),
        Row("join", "over RTMP", "ms", "nginx-rtmp", None, ours=[3.0], theirs=[900.0]),
        Row("memory", "a stream", "KB", "SRS", None, ours=[9.0], missing="no path"),
    ]
    lines = as_table(rows).splitlines()
    assert lines[-1] == "not compared with SRS: no path (join, memory)"
    assert sum("join: over RTMP" in line for line in lines) == 1
    assert sum("memory: a stream" in line for line in lines) == 1
    assert len(as_json(rows)["rows"]) == 3


def test_a_peer_whose_round_did_not_count_keeps_its_line():
    row = Row("join", "over RTMP", "ms", "SRS", None, missing="a round was useless: busy")
    assert "SRS: a round was useless: busy" in as_table([row])


def test_the_short_form_of_all_cases_is_planned_for_less_than_a_quarter_of_an_hour():
    assert sum(case.minutes for case in CASES.values() if not case.long_only) < 15


def test_the_plot_has_a_curve_for_each_protocol_and_each_reference():
    rows = [
        Row("fanout", "200 RTMP viewers", "ms", "a bare loop", 1.5, [0.2, 0.1], [0.1], viewers=200),
        Row("fanout", "50 RTMP viewers", "ms", "a bare loop", 1.5, [0.4], [0.2], viewers=50),
        Row("startup", "until ready", "ms", "nginx-rtmp", None, [800.0], [30.0]),
    ]
    found = curves(as_json(rows))
    assert set(found) == {"RTMP, ours", "RTMP, a bare loop"}
    assert found["RTMP, ours"] == [
        (50, 20.0, 20.0, 20.0),
        (200, pytest.approx(30), 20.0, 40.0),
    ]


def test_growth_is_the_slope_after_the_warm_up():
    warm = [(0.0, 0.0), (10.0, 500.0)]
    assert growth(warm + [(10.0 * n, 500.0 + 2 * n) for n in range(2, 20)]) == pytest.approx(0.2)
    assert growth([]) == 0
