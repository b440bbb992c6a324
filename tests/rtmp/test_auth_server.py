"""Our server's side of authmod=adobe against our client's."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.rtmp.auth_schemes import answer_challenge, introduce, read_challenge
from streamserver.rtmp.auth_server import (
    AdobeAuth,
    AuthFailed,
    AuthNeeded,
    Proven,
    connect_parameters,
    wants_auth,
)

SECRET = b"s" * 32
PASSWORDS = ("first-password", "geheim/+=&?#")
NOW_S = 1_800_000_000


def parameters(query: str) -> Mapping[str, str]:
    return connect_parameters(f"live?{query}", "")


def log_in(user: str, password: str, *, later_s: int = 0) -> AuthNeeded | AuthFailed | Proven:
    """All three connections of a client."""
    auth = AdobeAuth(SECRET)
    first = auth.judge({}, PASSWORDS, NOW_S)
    assert isinstance(first, AuthNeeded)
    scheme = read_challenge(first.description)
    assert scheme is not None
    second = auth.judge(parameters(introduce(scheme, user)), PASSWORDS, NOW_S)
    if not isinstance(second, AuthNeeded):
        return second
    challenge = read_challenge(second.description)
    assert challenge is not None
    assert challenge.reason == "needauth"
    answer = answer_challenge(challenge, user, password, "live", "0123abcd")
    # Another process with the same secret can be the one that checks.
    return AdobeAuth(SECRET).judge(parameters(answer), PASSWORDS, NOW_S + later_s)


@pytest.mark.parametrize("password", PASSWORDS)
def test_who_knows_a_password_proves_it_without_saying_it(password: str) -> None:
    outcome = log_in("anna", password)
    assert outcome == Proven("anna", password)
    assert password not in repr(outcome)


def test_a_wrong_password_is_a_guess() -> None:
    outcome = log_in("anna", "wrong")
    assert isinstance(outcome, AuthFailed)
    assert outcome.is_guess
    found = read_challenge(outcome.description)
    assert found is not None
    assert found.refused


def test_a_challenge_is_good_for_a_minute() -> None:
    assert isinstance(log_in("anna", PASSWORDS[0], later_s=60), Proven)
    for later_s in (61, -1, 10**6):
        outcome = log_in("anna", PASSWORDS[0], later_s=later_s)
        assert isinstance(outcome, AuthFailed)
        assert not outcome.is_guess


@pytest.mark.parametrize("user", ["", "a b", "x" * 129, "a&opaque=1", "é", "' OR 1=1"])
def test_a_user_that_is_no_name_is_unknown(user: str) -> None:
    outcome = AdobeAuth(SECRET).judge({"authmod": "adobe", "user": user}, PASSWORDS, NOW_S)
    assert isinstance(outcome, AuthFailed)
    assert "nosuchuser" in outcome.description


TEXT = st.text(max_size=80)


@given(st.dictionaries(st.sampled_from(["user", "challenge", "response", "opaque"]), TEXT))
def test_nothing_that_a_stranger_says_proves_a_password(params: dict[str, str]) -> None:
    outcome = AdobeAuth(SECRET).judge({"authmod": "adobe", **params}, PASSWORDS, NOW_S)
    assert not isinstance(outcome, Proven)


@pytest.mark.parametrize(
    ("flash_ver", "params", "asked"),
    [
        ("FMLE/3.0 (compatible; FMSc/1.0)", {}, True),
        ("FMLE/3.0 (compatible; Lavf60)", {"key": "x"}, False),
        ("FMLE/3.0", {"token": "x"}, False),
        ("LNX 9,0,124,2", {}, False),
        ("", {}, False),
        ("", {"authmod": "adobe"}, True),
    ],
)
def test_encoders_without_a_key_are_asked_and_players_are_not(
    flash_ver: str, params: dict[str, str], asked: bool
) -> None:
    assert wants_auth(flash_ver, False, params) is asked


def test_who_says_that_it_publishes_is_asked() -> None:
    assert wants_auth("LNX 10,0,32,18", True, {})
    assert not wants_auth("LNX 10,0,32,18", True, {"key": "x"})
