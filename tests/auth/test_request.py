from streamserver.auth import Action
from tests.auth.helpers_auth import request


def test_every_way_to_bring_a_key_is_seen_once() -> None:
    asked = request(
        Action.PUBLISH,
        token="a",
        password="b",
        query={"key": "a", "token": "c", "other": "d", "user": "e"},
    )
    assert asked.credentials() == ("a", "b", "c")


def test_an_empty_credential_is_none() -> None:
    assert request(Action.PLAY, token="", password="", query={"key": ""}).credentials() == ()


def test_the_api_takes_no_credential_from_a_url() -> None:
    for action in (Action.API, Action.METRICS):
        asked = request(action, token="a", password="b", query={"key": "x", "token": "y"})
        assert asked.credentials() == ("a", "b")


def test_the_repr_of_a_request_shows_no_credential() -> None:
    asked = request(
        Action.PUBLISH,
        user="u",
        token="hidden1",
        password="hidden2",
        query={"key": "hidden3"},
        headers={"Authorization": "Bearer hidden4"},
    )
    assert "hidden" not in repr(asked)
