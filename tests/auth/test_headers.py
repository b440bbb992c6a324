from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.auth import HttpCredentials, parse_authorization


def basic(text: str) -> str:
    return "Basic " + b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("Bearer abc", HttpCredentials(token="abc")),
        ("bearer   abc ", HttpCredentials(token="abc")),
        (basic("user:pass:word"), HttpCredentials(user="user", password="pass:word")),
        (basic(":ä"), HttpCredentials(user="", password="ä")),
        (basic("no colon"), HttpCredentials()),
        ("Basic %%%", HttpCredentials()),
        ("Basic /w==", HttpCredentials()),
        ("Digest x=1", HttpCredentials()),
        ("Bearer", HttpCredentials()),
        ("", HttpCredentials()),
        (None, HttpCredentials()),
    ],
)
def test_the_credentials_of_a_header(header: str | None, found: HttpCredentials) -> None:
    assert parse_authorization(header) == found


@given(st.text())
def test_no_header_can_make_it_fail(text: str) -> None:
    parse_authorization(text)
    parse_authorization(f"Basic {text}")


def test_the_repr_shows_no_credential() -> None:
    assert "hidden" not in repr(parse_authorization(basic("u:hidden")))
    assert "hidden" not in repr(parse_authorization("Bearer hidden"))
