import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.errors import LocalProtocolError, RemoteProtocolError
from streamserver.ffmpeg.testsource_frames import (
    MAX_PAYLOAD,
    PREAMBLE,
    Record,
    RecordDecoder,
    RecordKind,
    encode_record,
)

ticks = st.integers(-(2**63), 2**63 - 1)
records = st.lists(
    st.builds(
        Record, st.sampled_from(RecordKind), st.binary(max_size=40), ticks, ticks, st.booleans()
    ),
    max_size=8,
)


@given(records, st.data())
def test_records_come_back_the_same_from_any_split(written, data):
    wire = PREAMBLE + b"".join(map(encode_record, written))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=12)))
    decoder = RecordDecoder()
    read = []
    for begin, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        read += decoder.feed(wire[begin:end])
    assert read == written
    assert decoder.pending == 0


@given(st.binary(max_size=200))
def test_any_other_bytes_raise_only_a_protocol_error(data):
    decoder = RecordDecoder()
    try:
        decoder.feed(data)
        decoder.feed(PREAMBLE + data)
    except RemoteProtocolError:
        assert decoder.pending == 0


def test_another_version_is_refused():
    with pytest.raises(RemoteProtocolError, match="version"):
        RecordDecoder().feed(b"SSTS\x02\x00\x00\x00")


def test_a_length_beyond_the_bound_is_refused_before_its_payload_comes():
    header = (MAX_PAYLOAD + 1).to_bytes(4, "big") + b"\x02\x00" + bytes(16)
    with pytest.raises(RemoteProtocolError, match="over"):
        RecordDecoder().feed(PREAMBLE + header)


def test_an_unknown_kind_is_refused_and_the_decoder_stays_in_error():
    decoder = RecordDecoder()
    with pytest.raises(RemoteProtocolError, match="kind 9"):
        decoder.feed(PREAMBLE + bytes(4) + b"\x09\x00" + bytes(16))
    with pytest.raises(RemoteProtocolError, match="kind 9"):
        decoder.feed(encode_record(Record(RecordKind.VIDEO, b"x")))


def test_a_payload_beyond_the_bound_is_a_fault_of_the_writer():
    with pytest.raises(LocalProtocolError):
        encode_record(Record(RecordKind.VIDEO, bytes(MAX_PAYLOAD + 1)))
