from itertools import zip_longest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.errors import LocalProtocolError, RemoteProtocolError
from streamserver.rtmp.chunk import ChunkDecoder
from streamserver.rtmp.chunk_encoder import ChunkEncoder
from streamserver.rtmp.message import (
    ABORT,
    AMF0_COMMAND,
    AMF0_DATA,
    AUDIO,
    SET_CHUNK_SIZE,
    VIDEO,
    Message,
    set_chunk_size,
)
from streamserver.rtmp.message_limits import MessageLimits
from tests.rtmp.helpers_wire import (
    SIZES,
    basic_header,
    chunks,
    decode_chunks,
    header,
    message_bytes,
    split,
    split_at,
)


def body_of(length: int) -> bytes:
    return bytes(i * 7 % 251 for i in range(length))


def times(data: bytes) -> list[int]:
    """Timestamps that a fresh decoder gives, the same at every size of pieces."""
    answers = [[m.timestamp for m in decode_chunks(split(data, size))] for size in SIZES]
    assert all(answer == answers[0] for answer in answers)
    return answers[0]


def bodies(data: bytes) -> list[bytes]:
    """Bodies that a fresh decoder gives, the same at every size of pieces."""
    answers = [[m.body for m in decode_chunks(split(data, size))] for size in SIZES]
    assert all(answer == answers[0] for answer in answers)
    return answers[0]


# ---- 3.1 and 3.2: headers -----------------------------------------------------------------------


@pytest.mark.parametrize("csid", [2, 3, 63, 64, 319, 320, 65599])
def test_every_chunk_stream_id_can_carry_a_message(csid):
    data = message_bytes(body_of(300), csid=csid, time=5)
    assert decode_chunks([data]) == [Message(AUDIO, 5, 1, body_of(300))]


def test_chunk_stream_64_is_the_same_in_both_long_forms():
    body = body_of(200)
    first, second = chunks(body, header(0, 64, 0, 200, AUDIO, 1), 64)
    long_form = bytes((0xC1, 0, 0)) + second[2:]
    assert bodies(first + long_form) == [body]


def test_the_message_stream_id_is_little_endian():
    data = header(0, 4, 0, 1, AUDIO, 0x01020304) + b"x"
    assert data[8:12] == bytes((4, 3, 2, 1))
    assert decode_chunks([data])[0].stream_id == 0x01020304


def test_types_1_and_2_add_their_delta_and_keep_the_rest():
    data = (
        message_bytes(b"one", time=1000)
        + message_bytes(b"four", form=1, time=40, type_id=VIDEO)
        + message_bytes(b"five", form=2, time=23)
    )
    assert decode_chunks(split(data, 1)) == [
        Message(AUDIO, 1000, 1, b"one"),
        Message(VIDEO, 1040, 1, b"four"),
        Message(VIDEO, 1063, 1, b"five"),
    ]


def test_type_3_chunk_starting_a_message_repeats_the_last_delta():
    data = (
        message_bytes(b"aa", time=1000)
        + message_bytes(b"bb", form=2, time=40)
        + message_bytes(b"cc", form=3)
        + message_bytes(b"dd", form=3)
    )
    assert times(data) == [1000, 1040, 1080, 1120]


def test_type_3_chunk_after_a_type_0_takes_its_timestamp_for_the_delta():
    assert times(message_bytes(b"aa", time=40) + message_bytes(b"bb", form=3)) == [40, 80]


def test_type_1_may_begin_a_chunk_stream_as_old_librtmp_does():
    # A ping response of old librtmp.
    data = bytes.fromhex("42000000 000006 04 0006 00000001".replace(" ", ""))
    assert decode_chunks([data]) == [Message(4, 0, 0, bytes.fromhex("000600000001"))]


@pytest.mark.parametrize("form", [2, 3])
def test_types_2_and_3_may_not_begin_a_chunk_stream(form):
    for size in SIZES:
        with pytest.raises(RemoteProtocolError, match=f"begins with a type {form}"):
            decode_chunks(split(header(form, 5) + bytes(20), size))


def test_the_type_may_change_on_one_chunk_stream_as_librtmp_mixes_them():
    data = b"".join(
        message_bytes(b"body", form=1 if i else 0, type_id=type_id)
        for i, type_id in enumerate((AUDIO, VIDEO, AMF0_DATA, AMF0_COMMAND))
    )
    assert [m.type_id for m in decode_chunks([data])] == [AUDIO, VIDEO, AMF0_DATA, AMF0_COMMAND]


def test_empty_messages_have_no_payload_and_are_delivered():
    data = message_bytes(b"", time=10) + message_bytes(b"", form=3) + message_bytes(b"x", form=1)
    assert bodies(data) == [b"", b"", b"x"]


def test_a_type_0_header_inside_a_message_drops_what_came_of_it():
    partial = next(chunks(body_of(300), header(0, 4, 0, 300, AUDIO, 1), 4))
    assert bodies(partial + message_bytes(b"new")) == [b"new"]


@pytest.mark.parametrize("form", [1, 2])
def test_a_type_1_or_2_header_inside_a_message_continues_it(form):
    body = body_of(200)
    first, second = chunks(body, header(0, 4, 0, 200, AUDIO, 1), 4)
    again = header(form, 4, 0, 200, AUDIO) + second[1:]
    assert bodies(first + again) == [body]


def test_a_type_1_header_of_another_length_inside_a_message_begins_a_new_one():
    partial = next(chunks(body_of(300), header(0, 4, 0, 300, AUDIO, 1), 4))
    assert bodies(partial + message_bytes(b"new", form=1)) == [b"new"]


def test_messages_on_two_chunk_streams_may_interleave():
    audio, video = body_of(500), body_of(700)[::-1]
    a = chunks(audio, header(0, 4, 1, 500, AUDIO, 1), 4)
    v = chunks(video, header(0, 6, 2, 700, VIDEO, 1), 6)
    data = b"".join(x + y for x, y in zip_longest(v, a, fillvalue=b""))
    assert bodies(data) == [audio, video]


# ---- 3.3: time ----------------------------------------------------------------------------------


def test_timestamps_wrap_at_32_bits():
    data = message_bytes(b"aa", time=0xFFFFFFF0, extended=0xFFFFFFF0) + message_bytes(
        b"bb", form=1, time=0x20
    )
    assert times(data) == [0xFFFFFFF0, 0x10]


def test_librtmp_sends_late_audio_as_a_negative_extended_delta():
    data = message_bytes(b"v", time=1040) + message_bytes(b"a", form=1, time=0xFFFFFFE7)
    assert times(data) == [1040, 1015]


def test_0xffffff_itself_is_extended():
    assert times(message_bytes(b"x", time=0xFFFFFF)) == [0xFFFFFF]
    assert times(message_bytes(b"x", time=0xFFFFFE)) == [0xFFFFFE]


@pytest.mark.parametrize("form", [0, 1])
@pytest.mark.parametrize("repeated", [True, False], ids=["ffmpeg", "obs 30.0"])
@pytest.mark.parametrize("length", [1, 127, 128, 129, 131, 256, 257, 1000])
def test_the_extended_timestamp_is_taken_off_continuations_only_where_it_is(form, repeated, length):
    body, time = body_of(length), 0x1000AE0
    data = message_bytes(b"", time=0) + message_bytes(
        body, form=form, time=time, extended=time if repeated else None
    )
    data += message_bytes(b"next", form=1, time=5)
    assert bodies(data) == [b"", body, b"next"]
    assert times(data) == [0, time, time + 5]


@pytest.mark.parametrize("repeated", [True, False])
def test_a_new_message_of_type_3_may_repeat_the_extended_timestamp(repeated):
    first = message_bytes(b"aa", time=0x1000000)
    second = message_bytes(b"bb", form=1, time=0x1000000)
    field = (0x1000000).to_bytes(4, "big") if repeated else b""
    data = first + second + header(3, 4) + field + b"cc" + header(3, 4) + field + b"dd"
    assert bodies(data) == [b"aa", b"bb", b"cc", b"dd"]
    assert times(data) == [0x1000000, 0x2000000, 0x3000000, 0x4000000]


def test_a_new_message_of_type_3_may_count_the_extended_timestamp_on():
    data = message_bytes(b"aa", time=0x1000000)
    data += header(3, 4) + (0x2000000).to_bytes(4, "big") + b"bb"
    assert bodies(data) == [b"aa", b"bb"]


def test_payload_that_begins_like_the_extended_timestamp_is_payload():
    time = 0x1000AE0
    field = time.to_bytes(4, "big")
    for same in range(4):
        body = bytes(128) + field[:same] + b"\xee" * (8 - same)
        data = message_bytes(body, time=time) + message_bytes(b"next", form=1)
        assert bodies(data) == [body, b"next"]


def test_a_header_without_extended_timestamp_ends_its_repetition():
    body = body_of(200)
    data = message_bytes(b"a", time=0x1000000) + message_bytes(body, form=1, time=3)
    assert bodies(data) == [b"a", body]


# ---- 3.4 and 3.5: chunk sizes -------------------------------------------------------------------


@pytest.mark.parametrize("chunk_size", [1, 2, 100, 127, 128, 4096, 65536, 0x7FFFFFFF])
@pytest.mark.parametrize("length", [0, 1, 127, 128, 129, 5000, 9000])
def test_every_chunk_size_from_one_byte_on(chunk_size, length):
    body = body_of(length)
    data = message_bytes(
        chunk_size.to_bytes(4, "big"), csid=2, type_id=SET_CHUNK_SIZE, stream_id=0
    ) + message_bytes(body, chunk_size=chunk_size)
    assert bodies(data)[1:] == [body]


@pytest.mark.parametrize("field", [0, 0x80000000, 0xFFFFFFFF])
def test_a_chunk_size_of_0_or_with_the_top_bit_is_an_error(field):
    data = message_bytes(field.to_bytes(4, "big"), csid=2, type_id=SET_CHUNK_SIZE)
    with pytest.raises(RemoteProtocolError, match="chunk size"):
        decode_chunks([data])


def test_a_new_chunk_size_applies_to_the_rest_of_unfinished_messages():
    body = body_of(1000)
    first = next(chunks(body, header(0, 6, 0, 1000, VIDEO, 1), 6))
    bigger = message_bytes((400).to_bytes(4, "big"), csid=2, type_id=SET_CHUNK_SIZE)
    rest = b"".join(basic_header(3, 6) + piece for piece in split(body[128:], 400))
    assert bodies(first + bigger + rest)[1:] == [body]


def test_an_aborted_message_never_comes():
    partial = next(chunks(body_of(300), header(0, 6, 0, 300, VIDEO, 1), 6))
    abort = message_bytes((6).to_bytes(4, "big"), csid=2, type_id=ABORT)
    data = partial + abort + message_bytes(b"new", csid=6, form=1)
    assert bodies(data)[1:] == [b"new"]


def test_an_abort_of_an_unknown_chunk_stream_does_nothing():
    data = message_bytes((9).to_bytes(4, "big"), csid=2, type_id=ABORT) + message_bytes(b"x")
    assert bodies(data)[1:] == [b"x"]


@pytest.mark.parametrize("type_id", [SET_CHUNK_SIZE, ABORT])
def test_a_control_message_that_is_too_short_is_an_error(type_id):
    with pytest.raises(RemoteProtocolError, match="too short"):
        decode_chunks([message_bytes(b"\0\0\0", csid=2, type_id=type_id)])


def test_a_run_that_another_stream_interrupts_is_read_to_the_same_bytes():
    video, audio = body_of(60_000), body_of(50)
    pieces = list(chunks(video, header(0, 6, 0, len(video), VIDEO, 1), 6))
    pieces[100:100] = [message_bytes(audio)]
    pieces[300:300] = [message_bytes(audio), message_bytes(audio, form=3)]
    assert bodies(b"".join(pieces)) == [audio, audio, audio, video]


# ---- bounds -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type_id", "allowed"),
    [
        (VIDEO, 8 << 20),
        (AUDIO, 8 << 20),
        (AMF0_COMMAND, 64 << 10),
        (AMF0_DATA, 1 << 20),
        (99, 1 << 20),
        (4, 1 << 10),
    ],
)
def test_a_message_longer_than_its_type_may_be_is_refused_by_its_header(type_id, allowed):
    decoder = ChunkDecoder()
    decoder.feed(header(0, 4, 0, allowed, type_id, 1) + bytes(128))
    with pytest.raises(RemoteProtocolError, match=f"announces {allowed + 1} bytes"):
        decoder.feed(header(0, 5, 0, allowed + 1, type_id, 1))


def test_a_lie_about_16_mb_is_refused_and_announcing_allocates_nothing():
    with pytest.raises(RemoteProtocolError, match="announces 16777215"):
        decode_chunks([header(0, 4, 0, 0xFFFFFF, VIDEO, 1)])
    decoder = ChunkDecoder()
    for csid in range(3, 60):
        decoder.feed(header(0, csid, 0, 8 << 20, VIDEO, 1) + b"x" * 128)
    assert decoder.held_bytes == 57 * 128


def test_64_chunk_streams_are_enough():
    decoder = ChunkDecoder()
    for csid in range(2, 66):
        decoder.feed(message_bytes(b"x", csid=csid))
    with pytest.raises(RemoteProtocolError, match="more than 64 chunk streams"):
        decoder.feed(message_bytes(b"x", csid=66))


def test_unfinished_messages_together_are_bounded():
    decoder = ChunkDecoder(MessageLimits(partial=1000))
    decoder.feed(message_bytes((600).to_bytes(4, "big"), csid=2, type_id=SET_CHUNK_SIZE))
    decoder.feed(header(0, 4, 0, 2000, VIDEO, 1) + bytes(600))
    assert decoder.held_bytes == 600
    with pytest.raises(RemoteProtocolError, match="hold more than 1000"):
        decoder.feed(header(0, 5, 0, 2000, VIDEO, 1) + bytes(401))


def test_what_is_held_falls_when_messages_end_or_are_dropped():
    decoder = ChunkDecoder()
    body = body_of(300)
    pieces = list(chunks(body, header(0, 4, 0, 300, AUDIO, 1), 4))
    decoder.feed(pieces[0])
    assert decoder.held_bytes == 128
    decoder.feed(b"".join(pieces[1:]))
    assert decoder.held_bytes == 0
    decoder.feed(pieces[0] + pieces[0])
    assert decoder.held_bytes == 128
    decoder.feed(message_bytes((4).to_bytes(4, "big"), csid=2, type_id=ABORT))
    assert decoder.held_bytes == 0


def test_more_headers_than_allowed_in_one_feed_are_refused_and_the_first_messages_stay():
    decoder = ChunkDecoder()
    with pytest.raises(RemoteProtocolError, match="too many chunks"):
        decoder.feed(message_bytes(b"") + header(3, 4) * 99, 50)
    assert len(decoder.messages()) == 50


def test_messages_before_a_fault_stay():
    decoder = ChunkDecoder()
    with pytest.raises(RemoteProtocolError):
        decoder.feed(message_bytes(b"good") + header(3, 9))
    assert [m.body for m in decoder.messages()] == [b"good"]


def test_a_run_of_tiny_chunks_may_be_interrupted_again_and_again():
    decoder = ChunkDecoder()
    decoder.feed(message_bytes((1).to_bytes(4, "big"), csid=2, type_id=SET_CHUNK_SIZE))
    decoder.feed(message_bytes(b"", csid=5))
    unit = b"\xc4x\xc4x\xc4x" + header(3, 5)
    count = 20_000
    data = header(0, 4, 0, 1 + 3 * count, AUDIO, 1) + b"x" + unit * count
    decoder.feed(data)
    messages = decoder.messages()
    assert len(messages) == count + 3
    assert messages[-2].body == b"x" * (1 + 3 * count)


# ---- any split, any interleaving ----------------------------------------------------------------


@st.composite
def conversations(draw: st.DrawFn) -> tuple[bytes, list[tuple[int, int, bytes]]]:
    """Wire bytes of interleaved messages, and ``(csid, timestamp, body)`` in order of their end."""
    chunk_size = draw(st.sampled_from([1, 2, 17, 128, 300]))
    wire = message_bytes(chunk_size.to_bytes(4, "big"), csid=2, type_id=SET_CHUNK_SIZE)
    expected: list[tuple[int, int, bytes]] = []
    clocks: dict[int, int] = {}
    for _ in range(draw(st.integers(1, 4))):
        csids = draw(st.lists(st.sampled_from([3, 4, 63, 64, 320]), min_size=1, unique=True))
        running = []
        for csid in csids:
            body = draw(st.binary(max_size=700))
            step = draw(st.sampled_from([0, 1, 40, 0xFFFFFE, 0xFFFFFF, 0x1000AE0, 0xFFFFFFE7]))
            form = 0 if csid not in clocks else draw(st.sampled_from([0, 1]))
            clocks[csid] = step if form == 0 else (clocks[csid] + step) & 0xFFFFFFFF
            field = step if step >= 0xFFFFFF else None
            first = header(form, csid, step, len(body), AUDIO, 1)
            pieces = list(chunks(body, first, csid, chunk_size, field))
            running.append((csid, clocks[csid], body, pieces))
        while running:
            index = draw(st.integers(0, len(running) - 1))
            csid, clock, body, pieces = running[index]
            wire += pieces.pop(0)
            if not pieces:
                expected.append((csid, clock, body))
                del running[index]
    return wire, expected


@given(conversations(), st.lists(st.integers(0, 10_000), max_size=8))
def test_any_interleaving_at_any_split_gives_the_same_messages(conversation, cuts):
    wire, expected = conversation
    for pieces in ([wire], split_at(wire, cuts), split(wire, 1)):
        found = decode_chunks(pieces)[1:]
        assert [(m.timestamp, m.body) for m in found] == [(t, b) for _, t, b in expected]


class CarefulDecoder(ChunkDecoder):
    """Reads header by header whatever comes."""

    def _take_usual(self, data: bytes, position: int, size: int, most: int) -> tuple[int, int]:
        return position, 0


def media_pieces(draw: st.DrawFn) -> bytes:
    """Some messages of one chunk stream in chunks of 16, each with a shorter header than the one
    before it; sometimes extended, of a type that is no media, too long, or cut."""
    field = draw(st.sampled_from([0, 1, 40, 40, 40, 0xFFFFFE, 0xFFFFFF, 0xFFFFFFE7]))
    extended = draw(st.sampled_from([None, field])) if field >= 0xFFFFFF else None
    csid = draw(st.sampled_from([4, 6, 6, 6, 64]))
    stream_id = draw(st.sampled_from([1, 1, 1, 1, 1, 2]))
    type_id = draw(st.sampled_from([AUDIO, VIDEO, VIDEO, AMF0_DATA]))
    length = draw(st.sampled_from([0, 1, 4, 15, 16, 17, 31, 32, 33, 33, 40]))
    wire = b""
    for form in draw(st.sampled_from([(0,), (1,), (1, 2), (0, 2), (1, 3), (0, 3), (1, 2, 3)])):
        first = header(form, csid, field, length, type_id, stream_id)
        if form == 3 and extended is not None:
            first += field.to_bytes(4, "big")
        wire += b"".join(chunks(bytes(range(1, 1 + length)), first, csid, 16, extended))
    return wire[: -draw(st.integers(1, 30))] if draw(st.integers(0, 19)) == 19 else wire


ODD_PIECES = st.sampled_from(
    [
        header(3, 4),
        header(3, 6) + b"abcdefghijklmnopq",
        message_bytes((6).to_bytes(4, "big"), csid=2, type_id=ABORT),
        message_bytes((17).to_bytes(4, "big"), csid=2, type_id=SET_CHUNK_SIZE),
        b"\x46\x00",
    ]
)


def taken(decoder: ChunkDecoder) -> list[Message]:
    """Its messages, which are what it says of them."""
    media_of, messages = decoder.media_of, decoder.messages()
    if messages:
        is_media = all(message.type_id in (AUDIO, VIDEO) for message in messages)
        streams = {message.stream_id for message in messages}
        assert {max(media_of, -1)} == (streams if is_media and len(streams) == 1 else {-1})
    return messages


PIECES = st.lists(st.one_of([st.composite(media_pieces)()] * 12 + [ODD_PIECES]), max_size=16)


@given(PIECES, st.lists(st.integers(0, 700), max_size=4), st.sampled_from([5, 1000, 1000, 1000]))
def test_the_loop_for_whole_media_reads_what_care_reads(pieces, cuts, most):
    opening = [
        message_bytes(b"", csid=3, type_id=AMF0_COMMAND),
        message_bytes((16).to_bytes(4, "big"), csid=2, type_id=SET_CHUNK_SIZE),
        *(message_bytes(bytes(12), csid=csid, type_id=VIDEO, time=9) for csid in (4, 6, 64)),
    ]
    outcomes: list[list[object]] = []
    for kind in (ChunkDecoder, CarefulDecoder):
        decoder = kind(MessageLimits(media=36, partial=90), at_first=MessageLimits(media=0))
        outcome: list[object] = []
        outcomes.append(outcome)
        try:
            decoder.feed(b"".join(opening))
            for piece in split_at(b"".join(pieces), cuts):
                outcome.append(decoder.feed(piece, most))
                outcome.append((decoder.held_bytes, decoder.chunk_size))
                outcome.append(taken(decoder))
        except RemoteProtocolError as fault:
            outcome.append(str(fault))
        outcome.append(taken(decoder))
    assert outcomes[0] == outcomes[1]


# ---- the encoder --------------------------------------------------------------------------------

MESSAGES = st.builds(
    Message,
    st.sampled_from([AUDIO, VIDEO, AMF0_DATA]),
    st.integers(0, 0xFFFFFFFF),
    st.integers(0, 3),
    st.binary(max_size=600),
)


@given(
    st.lists(st.tuples(MESSAGES, st.sampled_from([3, 4, 63]), st.booleans()), max_size=12),
    st.sampled_from([None, 1, 100, 4096]),
)
def test_what_is_encoded_is_decoded_again(messages, chunk_size):
    encoder = ChunkEncoder()
    wire = b"" if chunk_size is None else encoder.encode(set_chunk_size(chunk_size), 2)
    for message, csid, full in messages:
        wire += encoder.encode(message, csid, full=full)
    found = [m for m in decode_chunks(split(wire, 50)) if m.type_id != SET_CHUNK_SIZE]
    assert found == [message for message, _, _ in messages]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([AUDIO, VIDEO]),
            st.sampled_from([4, 6]),
            st.integers(0, 2**32 - 1) | st.integers(0, 3),
            st.integers(1, 2),
            st.integers(0, 300),
        ),
        max_size=20,
    ),
    st.sampled_from([128, 65536]),
)
def test_what_is_added_in_pieces_is_what_is_encoded(messages, chunk_size):
    one, other = ChunkEncoder(), ChunkEncoder()
    for encoder in (one, other):
        encoder.encode(set_chunk_size(chunk_size), 2)
    pieces: list[bytes] = []
    encoded = b""
    for type_id, csid, time, stream_id, length in messages:
        one.add(pieces, stream_id, {type_id: csid}, [(type_id, time, body_of(length))])
        encoded += other.encode(
            Message(type_id, time, stream_id, body_of(length)), csid, full=False
        )
    assert b"".join(pieces) == encoded


def test_the_encoder_shortens_headers_where_it_may():
    encoder = ChunkEncoder()
    forms = [
        encoder.encode(Message(type_id, time, 1, body), 4, full=False)[0] >> 6
        for type_id, time, body in [
            (AUDIO, 0, b"aa"),
            (AUDIO, 20, b"bb"),
            (AUDIO, 40, b"cc"),
            (VIDEO, 60, b"dd"),
            (VIDEO, 50, b"ee"),
        ]
    ]
    assert forms == [0, 2, 2, 1, 0]


def test_the_encoder_repeats_the_extended_timestamp_on_each_continuation():
    wire = ChunkEncoder().encode(Message(VIDEO, 0x1000000, 1, bytes(300)), 6)
    assert wire.count(b"\xc6\x01\x00\x00\x00") == 2
    assert wire == message_bytes(
        bytes(300), csid=6, time=0x1000000, type_id=VIDEO, extended=0x1000000
    )


@pytest.mark.parametrize("csid", [0, 1, 64, 65599])
def test_the_encoder_uses_one_byte_chunk_stream_ids_only(csid):
    with pytest.raises(LocalProtocolError):
        ChunkEncoder().encode(Message(AUDIO, 0, 1, b""), csid)


def test_a_message_of_16_mb_cannot_be_encoded():
    with pytest.raises(LocalProtocolError):
        ChunkEncoder().encode(Message(VIDEO, 0, 1, bytes(1 << 24)), 6)


# ---- nothing but RemoteProtocolError ------------------------------------------------------------


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_random_bytes_raise_only_a_remote_protocol_error(pieces):
    decoder = ChunkDecoder()
    try:
        for piece in pieces:
            decoder.feed(piece)
    except RemoteProtocolError:
        pass
    assert decoder.held_bytes <= sum(map(len, pieces))
