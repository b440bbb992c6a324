"""Signatures, against the worked example of the specification and of its libraries."""

import base64
import hashlib
import hmac

import pytest

from streamserver.webhooks import signing


def test_a_signature_is_that_of_standard_webhooks() -> None:
    # The worked example that the specification's libraries test themselves with.
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'
    signature = signing.sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_any_other_text_is_the_key_itself() -> None:
    expected = hmac.digest(b"a-secret-of-mine-", b"1-2.77.{}", hashlib.sha256)
    signature = signing.sign("a-secret-of-mine-", "1-2", 77, b"{}")
    assert signature == "v1," + base64.b64encode(expected).decode()


def test_without_a_secret_nothing_is_signed() -> None:
    fields = signing.headers("", "1-2", "stream.started", 77, b"{}")
    assert "Webhook-Signature" not in fields
    assert fields["Webhook-Id"] == "1-2"
    assert fields["Webhook-Timestamp"] == "77"
    assert fields["Webhook-Event"] == "stream.started"


def test_new_secrets_are_good_ones() -> None:
    assert signing.new_secret() != signing.new_secret()
    signing.check_secret(signing.new_secret())


@pytest.mark.parametrize("wrong", ["", "short", "whsec_!!!!!!!!!!!!!!!!!!", "x" * 257])
def test_a_secret_that_cannot_be_is_refused_without_quoting_it(wrong: str) -> None:
    with pytest.raises(signing.InvalidSecretError) as error:
        signing.check_secret(wrong)
    assert not wrong or wrong not in str(error.value)
