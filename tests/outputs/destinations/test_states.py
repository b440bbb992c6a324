import pytest

from streamserver.errors import LocalProtocolError
from streamserver.outputs.destinations.states import DestinationState, check_step

S = DestinationState


def test_the_states_are_those_of_the_interface():
    assert list(S) == ["idle", "connecting", "live", "stalled", "backoff", "failed", "disabled"]


@pytest.mark.parametrize(
    ("before", "after"),
    [(S.IDLE, S.CONNECTING), (S.CONNECTING, S.LIVE), (S.LIVE, S.STALLED), (S.STALLED, S.LIVE),
     (S.LIVE, S.BACKOFF), (S.BACKOFF, S.CONNECTING), (S.CONNECTING, S.FAILED),
     (S.FAILED, S.CONNECTING), (S.DISABLED, S.IDLE)],
)  # fmt: skip
def test_what_happens_is_allowed(before, after):
    check_step(before, after)


@pytest.mark.parametrize("before", [state for state in S if state is not S.DISABLED])
def test_pausing_is_possible_from_everywhere(before):
    check_step(before, S.DISABLED)


@pytest.mark.parametrize(
    ("before", "after"),
    [(S.IDLE, S.LIVE), (S.BACKOFF, S.LIVE), (S.FAILED, S.LIVE), (S.DISABLED, S.CONNECTING)],
)
def test_nothing_is_live_without_connecting(before, after):
    with pytest.raises(LocalProtocolError):
        check_step(before, after)
