import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.names import StreamKey
from streamserver.outputs.hls.tokens import SessionIds, new_media_token

KEY = StreamKey("live", "cam")
NOW = 1_800_000_000


@pytest.fixture
def ids() -> SessionIds:
    return SessionIds(b"secret", lifetime_s=3600)


def test_an_issued_session_is_valid_until_it_expires(ids):
    sid = ids.issue(KEY, NOW)
    verified = ids.verify(KEY, sid, NOW + 3599)
    assert verified is not None
    assert verified.expires_s == NOW + 3600
    assert ids.verify(KEY, sid, NOW + 3600) is None


def test_any_node_with_the_secret_checks_it_without_state(ids):
    sid = ids.issue(KEY, NOW)
    assert SessionIds(b"secret", lifetime_s=1).verify(KEY, sid, NOW) is not None
    assert SessionIds(b"other", lifetime_s=1).verify(KEY, sid, NOW) is None


def test_a_session_of_another_stream_is_refused(ids):
    assert ids.verify(StreamKey("live", "cam2"), ids.issue(KEY, NOW), NOW) is None


def test_the_viewer_id_does_not_give_the_session_away(ids):
    sid = ids.issue(KEY, NOW)
    verified = ids.verify(KEY, sid, NOW)
    assert verified is not None
    assert len(verified.id) < len(sid) // 2


def test_sessions_and_tokens_are_unique_and_fit_into_a_url(ids):
    allowed = set(string.ascii_letters + string.digits + "-_")
    names = {ids.issue(KEY, NOW) for _ in range(100)} | {new_media_token() for _ in range(100)}
    assert len(names) == 200
    assert all(set(name) <= allowed for name in names)


@given(st.integers(0, 31), st.sampled_from(string.ascii_letters + string.digits + "-_=+/ .é"))
def test_a_session_with_one_character_changed_is_refused(at, character):
    ids = SessionIds(b"secret", lifetime_s=3600)
    sid = ids.issue(KEY, NOW)
    changed = sid[:at] + character + sid[at + 1 :]
    assert (ids.verify(KEY, changed, NOW) is not None) == (changed == sid)


@given(st.text(max_size=40))
def test_any_text_is_refused_and_never_an_error(text):
    assert SessionIds(b"secret", lifetime_s=3600).verify(KEY, text, NOW) is None
