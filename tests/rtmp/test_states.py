import pytest

from streamserver.errors import RemoteProtocolError
from streamserver.rtmp.states import (
    CONNECTION_TRANSITIONS,
    STREAM_TRANSITIONS,
    ConnectionState,
    Step,
    StreamState,
    next_state,
)


@pytest.mark.parametrize("state", list(ConnectionState))
@pytest.mark.parametrize("step", list(Step))
def test_a_connection_goes_only_where_its_table_says(state, step):
    following = CONNECTION_TRANSITIONS.get((state, step))
    if following is None:
        with pytest.raises(RemoteProtocolError):
            next_state(CONNECTION_TRANSITIONS, state, step)
    else:
        assert next_state(CONNECTION_TRANSITIONS, state, step) is following


def test_every_connection_can_end_and_nothing_leads_out_of_the_end():
    for state in ConnectionState:
        assert CONNECTION_TRANSITIONS[state, Step.END] is ConnectionState.CLOSED
    leaving = [to for (state, _), to in CONNECTION_TRANSITIONS.items() if state.name == "CLOSED"]
    assert leaving == [ConnectionState.CLOSED]


def test_every_stream_can_stop():
    for state in StreamState:
        assert STREAM_TRANSITIONS[state, Step.STOP] is StreamState.CREATED


def test_a_fault_names_what_came_and_when():
    with pytest.raises(RemoteProtocolError, match="a command came before connect"):
        next_state(CONNECTION_TRANSITIONS, ConnectionState.CONNECTING, Step.COMMAND)
    with pytest.raises(RemoteProtocolError, match="connect came after connect"):
        next_state(CONNECTION_TRANSITIONS, ConnectionState.CONNECTED, Step.CONNECT)


def test_only_accept_leads_to_publishing_and_playing():
    for (_, step), to in STREAM_TRANSITIONS.items():
        if to in (StreamState.PUBLISHING, StreamState.PLAYING):
            assert step is Step.ACCEPT
