import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.auth.hashes import (
    ScryptHash,
    hash_password,
    hash_secret,
    make_secret,
    verify_secret,
)
from streamserver.config import load


def test_a_made_secret_has_160_bits_and_no_two_are_equal() -> None:
    made = {make_secret() for _ in range(20)}
    assert len(made) == 20
    assert all(re.fullmatch(r"[a-z2-7]{32}", secret) for secret in made)


@given(st.text(), st.text())
def test_a_hash_fits_its_secret_and_no_other(secret: str, other: str) -> None:
    hashed = hash_secret(secret)
    assert verify_secret(secret, hashed)
    assert verify_secret(other, hashed) is (secret == other)


def test_the_hash_is_what_sha256sum_prints() -> None:
    expected = "sha256:fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9"
    assert hash_secret("bar") == expected
    assert verify_secret("bar", expected)
    assert verify_secret("bar", expected.upper().replace("SHA256", "sha256"))


@pytest.mark.parametrize("hashed", ["", "sha256:", "md5:x", "sha256:é", "bar"])
def test_what_is_no_hash_fits_nothing(hashed: str) -> None:
    assert not verify_secret("bar", hashed)


def test_a_slow_hash_fits_its_password_and_passes_the_configuration() -> None:
    hashed = hash_password("correct horse", log2_n=4)
    assert ScryptHash.parse(hashed).verify("correct horse")
    assert not ScryptHash.parse(hashed).verify("correct horsf")
    load(overrides=[f'auth.keys=[{{key="{hashed}"}}]', "http.port=0"])


def test_the_default_cost_passes_the_configuration_and_is_salted() -> None:
    first, second = hash_password("x"), hash_password("x")
    assert first != second
    load(overrides=[f'auth.keys=[{{key="{first}"}}]', "http.port=0"])
