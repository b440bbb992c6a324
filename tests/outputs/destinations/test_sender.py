from hypothesis import given
from hypothesis import strategies as st

from streamserver.feeds.body import Body, Header
from streamserver.log import Log
from streamserver.outputs.destinations.runs import SharedRuns
from streamserver.outputs.destinations.sender import Sender
from streamserver.rtmp.chunk_encoder import ChunkEncoder
from streamserver.rtmp.client import MEDIA_CSIDS
from streamserver.rtmp.client_settings import CLIENT_BOUNDS
from tests.fakes import Turns, audio_track, video_track

VIDEO, AUDIO, DATA = 9, 8, 18
SMALL = 100


def header(tag: bytes = b"1") -> Header:
    bodies = ((DATA, b"meta" + tag), (VIDEO, b"vh" + tag), (AUDIO, b"ah" + tag))
    return Header((video_track(), audio_track()), bodies)


class Session:
    """Remembers what it was given."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, int, bytes]] = []
        self.encoder = ChunkEncoder(CLIENT_BOUNDS.chunk_size)
        self.shared = 0

    def send_run(self, items):
        items = list(items)
        self.encoder.add([], 1, MEDIA_CSIDS, items)
        kinds = {VIDEO: "video", AUDIO: "audio"}
        self.sent += [(kinds[kind], time_ms, body) for kind, time_ms, body in items]
        return True

    def send_shared(self, run, origin_ms):
        out: list[bytes] = []
        if not self.encoder.follow(out, 1, MEDIA_CSIDS, run, origin_ms):
            return False
        assert out[0] is run.data
        self.shared += 1
        return True

    def send_metadata(self, values):
        assert values["width"] == 640
        self.sent.append(("meta", 0, b""))
        return True


def make(max_lag_ms: int = 5_000) -> tuple[Log[Body], Session, Sender]:
    log: Log[Body] = Log(max_ms=60_000, max_bytes=1 << 20, schedule=Turns())
    session = Session()
    return log, session, Sender(log, session, max_lag_ms=max_lag_ms)


def append(
    log: Log[Body], of: Header, ms: int, kind: int = VIDEO, *, key: bool = False, size: int = 0
) -> None:
    body = Body(kind, ms, (b"%d@%d" % (kind, ms)).ljust(size), key, of, True)
    log.append(body, size=max(SMALL, size), at_ms=ms, keyframe=key)


def test_it_begins_at_a_keyframe_with_metadata_and_headers_at_time_zero():
    log, session, sender = make()
    first = header()
    append(log, first, 70_000)
    append(log, first, 70_040, key=True)
    append(log, first, 70_030, AUDIO)
    append(log, first, 70_080)
    assert sender.pump(10_000)
    assert session.sent == [
        ("meta", 0, b""), ("video", 0, b"vh1"), ("audio", 0, b"ah1"),
        ("video", 0, b"9@70040"), ("audio", 0, b"8@70030"), ("video", 40, b"9@70080"),
    ]  # fmt: skip
    assert sender.dropped == 0


def test_a_new_header_is_sent_in_band_and_an_equal_one_is_not():
    log, session, sender = make()
    append(log, header(), 0, key=True)
    append(log, header(), 40, key=True)
    append(log, header(b"2"), 80, key=True)
    sender.pump(10_000)
    assert [body for _, _, body in session.sent if body[1:2] == b"h"] == [
        b"vh1", b"ah1", b"vh2", b"ah2",
    ]  # fmt: skip
    assert ("video", 80, b"vh2") in session.sent


def test_what_lags_is_passed_over_up_to_the_newest_keyframe_and_counted():
    log, session, sender = make(max_lag_ms=2_000)
    one = header()
    append(log, one, 0, key=True)
    sender.pump(10_000)
    for ms in range(40, 4_000, 40):
        append(log, one, ms, key=ms % 1000 == 0)
    sender.pump(0)
    sender.pump(100_000)
    assert sender.resets == 1
    assert sender.dropped == 3_000 // 40 - 1
    assert ("video", 3_000, b"9@3000") in session.sent
    assert session.sent[4][1] == 3_000


def test_it_is_done_when_the_log_is_over_and_sent():
    log, _, sender = make()
    append(log, header(), 0, key=True)
    log.close("over")
    assert not sender.done
    sender.pump(10_000)
    assert sender.done


def test_it_is_done_when_no_keyframe_will_come():
    log, _, sender = make()
    append(log, header(), 0)
    log.close("over")
    sender.pump(10_000)
    assert sender.done


def test_destinations_that_are_level_send_the_same_bytes_and_the_others_fall_in():
    log: Log[Body] = Log(max_ms=60_000, max_bytes=1 << 20, schedule=Turns())
    runs, one = SharedRuns(log), header()

    def sender() -> tuple[Session, Sender]:
        session = Session()
        return session, Sender(log, session, max_lag_ms=5_000, runs=runs)

    early = late = sender()
    append(log, one, 0, key=True)
    append(log, one, 10, AUDIO)
    assert early[1].pump(10_000)
    for ms in range(40, 400, 40):
        append(log, one, ms, key=ms == 200)
        append(log, one, ms + 5, AUDIO)
        assert early[1].pump(10_000)
        if ms == 200:
            late = sender()
        if ms >= 200:
            assert late[1].pump(10_000)
    # Its first run has full headers; and who begins later cuts until he has sent both kinds.
    assert early[0].shared == 8
    assert late[0].shared == 4
    assert late[0].sent[-2:] == [("video", 0, b"9@200"), ("audio", 5, b"8@205")]
    assert early[1].sent_ms == late[1].sent_ms == 365
    append(log, header(b"2"), 400, key=True)
    assert early[1].pump(10_000)
    assert early[0].shared == 8
    assert early[0].sent[-1] == ("video", 400, b"9@400")


def test_a_run_for_which_there_is_no_room_goes_out_piece_by_piece():
    log, session, _ = make()
    one = header()
    runs = SharedRuns(log)
    sender = Sender(log, session, max_lag_ms=5_000, runs=runs)
    for ms in (0, 40):
        append(log, one, ms, key=not ms)
        assert sender.pump(10_000)
    append(log, one, 80)
    append(log, one, 120)
    assert sender.pump(SMALL // 20)
    assert sender.behind
    assert session.sent[-1] == ("video", 80, b"9@80")
    assert sender.pump(10_000)
    assert session.sent[-1] == ("video", 120, b"9@120")


def test_what_is_too_much_for_one_write_is_shared_in_several_runs():
    log: Log[Body] = Log(max_ms=60_000, max_bytes=1 << 22, schedule=Turns())
    runs, one = SharedRuns(log), header()
    session = Session()
    sender = Sender(log, session, max_lag_ms=5_000, runs=runs)
    for ms in (0, 40):
        append(log, one, ms, key=not ms)
        assert sender.pump(128 * 1024)
    for ms, size in ((80, 50_000), (120, 50_000), (160, 50_000), (200, 300_000), (240, 10)):
        append(log, one, ms, size=size)
    reached = []
    while sender.behind:
        assert not sender.pump(0)
        assert sender.pump(128 * 1024)
        reached.append(sender.sent_ms)
    # The large one goes alone: it crosses the bound, as one message may.
    assert reached == [120, 160, 200, 240]
    assert session.shared == 4


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 900), st.integers(0, 400)), max_size=60))
def test_everything_is_sent_once_or_counted(steps):
    log, session, sender = make(max_lag_ms=1_500)
    one = header()
    ms = 0
    begun = 0
    for key, step, room in steps:
        ms += step
        append(log, one, ms, key=key)
        begun += bool(key or begun)
        sender.pump(room)
    sender.pump(1 << 20)
    # A last keyframe ends any gap.
    append(log, one, ms + 1, key=True)
    sender.pump(1 << 20)
    media = [entry for entry in session.sent if b"@" in entry[2]]
    times = [time for _, time, _ in media]
    assert times == sorted(set(times))
    assert len(media) + sender.dropped <= begun + 1
    assert media[-1][2] == b"9@%d" % (ms + 1)
