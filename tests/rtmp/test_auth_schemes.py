"""The steps of authentication, against answers computed apart from our code."""

import base64
import hashlib

from streamserver.rtmp.auth_schemes import (
    Challenge,
    answer_challenge,
    introduce,
    read_challenge,
)

NEED = "[ AccessManager.Reject ] : [ code=403 need auth; authmod=adobe ] : "
CHALLENGE = (
    "[ AccessManager.Reject ] : [ authmod=adobe ] : "
    "?reason=needauth&user=me&salt=SaLt==&challenge=ChAl&opaque=OpAq=="
)


def b64md5(text: str) -> str:
    return base64.b64encode(hashlib.md5(text.encode()).digest()).decode()


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def test_a_refusal_without_a_scheme_is_no_challenge():
    assert read_challenge("Connection rejected.") is None
    assert read_challenge("authmod=adobe but nothing is asked") is None


def test_the_first_refusal_asks_who_we_are():
    challenge = read_challenge(NEED)
    assert challenge == Challenge("adobe", "", {})
    assert introduce(challenge, "me") == "authmod=adobe&user=me"
    assert challenge.known
    assert not challenge.refused


def test_the_second_refusal_holds_a_challenge():
    challenge = read_challenge(CHALLENGE)
    assert challenge is not None
    assert challenge.reason == "needauth"
    assert challenge.params["salt"] == "SaLt=="
    assert challenge.params["opaque"] == "OpAq=="
    assert "SaLt" not in repr(challenge)


def test_adobe_hashes_the_password_with_the_salt_and_that_with_the_opaque_text():
    challenge = read_challenge(CHALLENGE)
    assert challenge is not None
    response = b64md5(b64md5("meSaLt==pw") + "OpAq==" + "0123abcd")
    assert answer_challenge(challenge, "me", "pw", "live", "0123abcd") == (
        f"authmod=adobe&user=me&challenge=0123abcd&response={response}&opaque=OpAq=="
    )


def test_adobe_without_an_opaque_text_takes_the_challenge():
    challenge = Challenge("adobe", "needauth", {"salt": "s", "challenge": "c"})
    response = b64md5(b64md5("mespw") + "c" + "0123abcd")
    assert answer_challenge(challenge, "me", "pw", "live", "0123abcd") == (
        f"authmod=adobe&user=me&challenge=0123abcd&response={response}"
    )


def test_llnw_is_a_digest_over_application_and_instance():
    challenge = read_challenge("authmod=llnw : ?reason=needauth&user=me&nonce=NoN")
    assert challenge is not None
    for app, path in (("live", "live/_definst_"), ("live/x", "live/x")):
        who, what = md5("me:live:pw"), md5(f"publish:/{path}")
        response = md5(f"{who}:NoN:00000001:0123abcd:auth:{what}")
        assert answer_challenge(challenge, "me", "pw", app, "0123abcd") == (
            f"authmod=llnw&user=me&nonce=NoN&cnonce=0123abcd&nc=00000001&response={response}"
        )


def test_a_wrong_password_or_user_is_told():
    for reason in ("authfailed", "nosuchuser"):
        challenge = read_challenge(f"[ authmod=adobe ] : ?reason={reason}&opaque=x ]")
        assert challenge is not None
        assert challenge.refused


def test_an_unknown_scheme_is_known_to_be_unknown():
    challenge = read_challenge("[ code=403 need auth; authmod=kerberos ]")
    assert challenge is not None
    assert not challenge.known
