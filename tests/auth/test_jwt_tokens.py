"""Tokens of other issuers. Keys are made once: RSA takes its time."""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
from functools import cache
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from streamserver.auth import Decision
from streamserver.auth.jwks import JwksKeys, read_keys
from streamserver.auth.jwt_tokens import JwtDecider, JwtSettings, load_public_key
from streamserver.auth.tags import credential_tag
from tests.auth.helpers_auth import play, publish
from tests.fakes import FakeClock

SECRET = b"a shared secret of 32 characters"
NOW_S = FakeClock().wall // 10**9
CLAIMS = {"exp": NOW_S + 60, "stream": "live/*", "actions": ["play"], "jti": "t1"}


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def public_pem(key: Any) -> bytes:
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert isinstance(pem, bytes)
    return pem


def private_pem(key: Any) -> bytes:
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert isinstance(pem, bytes)
    return pem


def jwk(key: Any, key_id: str) -> dict[str, Any]:
    algorithm = jwt.algorithms.RSAAlgorithm if key is rsa_key() else jwt.algorithms.ECAlgorithm
    found = json.loads(algorithm.to_jwk(key.public_key()))
    assert isinstance(found, dict)
    return {**found, "kid": key_id, "use": "sig"}


def token(key: Any = SECRET, algorithm: str = "HS256", **changes: Any) -> str:
    claims = {name: text for name, text in {**CLAIMS, **changes}.items() if text is not None}
    signer = key if isinstance(key, bytes) else private_pem(key)
    return jwt.encode(claims, signer, algorithm=algorithm)


async def ask(text: str, **settings: Any) -> Decision:
    settings = settings or {"secret": SECRET}
    decider = JwtDecider(JwtSettings(**settings), FakeClock().wall_ns)
    decision = await decider.decide(play(text))
    assert decision is not None
    return decision


async def test_a_good_token_opens_its_streams_until_its_end() -> None:
    decision = await ask(token())
    assert decision.allowed
    assert decision.expires_s == NOW_S + 65
    assert decision.credential == credential_tag("jwt", "t1")


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_every_hash_of_the_secret_is_taken(algorithm: str) -> None:
    secret = SECRET * 2
    assert (await ask(token(secret, algorithm), secret=secret)).allowed


async def test_rsa_and_elliptic_curves_are_taken_by_their_public_keys() -> None:
    for key, algorithms in ((rsa_key(), ["RS256", "RS512", "PS256"]), (ec_key(), ["ES256"])):
        public = load_public_key(public_pem(key))
        for algorithm in algorithms:
            assert (await ask(token(key, algorithm), public_key=public)).allowed


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exp": None}, "the token has no 'exp'"),
        ({"exp": NOW_S - 6}, "the token has expired"),
        ({"exp": "soon"}, "a time in the token is no number"),
        ({"exp": True}, "a time in the token is no number"),
        ({"exp": 10**400}, "a time in the token is no number"),
        ({"nbf": NOW_S + 60}, "the token is not valid yet"),
        ({"stream": "other/*"}, "the token is for another stream"),
        ({"stream": None}, "the token is for another stream"),
        ({"stream": [1, None]}, "the token is for another stream"),
        ({"stream": "../../etc"}, "the token's 'stream' cannot be read"),
        ({"stream": "live/' OR 1=1"}, "the token's 'stream' cannot be read"),
        ({"actions": ["publish"]}, "the token does not allow this (play)"),
        ({"actions": None}, "the token does not allow this (play)"),
        ({"actions": {"play": 1}}, "the token does not allow this (play)"),
    ],
)
async def test_a_token_that_says_too_little_opens_nothing(
    changes: dict[str, Any], reason: str
) -> None:
    decision = await ask(token(**changes))
    assert not decision.allowed
    assert decision.reason.startswith(reason)


async def test_audience_and_issuer_must_be_ours_where_they_are_configured() -> None:
    wanted = {"secret": SECRET, "audience": "tv", "issuer": "shop"}
    assert (await ask(token(aud=["tv", "x"], iss="shop"), **wanted)).allowed
    for changes, reason in (
        ({"aud": "radio", "iss": "shop"}, "the token is for another audience"),
        ({"iss": "shop"}, "the token has no 'aud'"),
        ({"aud": "tv", "iss": "thief"}, "the token is of another issuer"),
    ):
        assert (await ask(token(**changes), **wanted)).reason == reason
    assert (await ask(token(aud="whoever"))).allowed


def unsigned(header: dict[str, Any], signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(CLAIMS).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", None, 7, ["HS256"]])
async def test_an_unsigned_token_opens_nothing(algorithm: object) -> None:
    text = unsigned({"typ": "JWT", "alg": algorithm})
    public = load_public_key(public_pem(rsa_key()))
    assert not (await ask(text, secret=SECRET, public_key=public)).allowed


async def test_a_public_key_is_never_taken_for_a_secret() -> None:
    pem = public_pem(rsa_key())
    head = unsigned({"typ": "JWT", "alg": "HS256"}).rpartition(".")[0]
    mac = hmac.digest(pem, head.encode(), hashlib.sha256)
    text = f"{head}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    assert not (await ask(text, public_key=load_public_key(pem))).allowed
    assert not (await ask(text, public_key=load_public_key(pem), secret=SECRET)).allowed


async def test_a_key_of_another_kind_checks_nothing() -> None:
    public = load_public_key(public_pem(rsa_key()))
    decision = await ask(token(ec_key(), "ES256"), public_key=public)
    assert decision.reason == "no key fits the algorithm of the token"
    assert (await ask(token())).allowed
    assert not (await ask(token(), public_key=public)).allowed


async def test_a_wrong_signature_is_a_try_and_an_expired_token_is_none() -> None:
    assert not (await ask(token(b"another secret of 32 characters!"))).innocent
    assert (await ask(token(exp=NOW_S - 60))).innocent


async def test_words_between_spaces_are_a_list_too() -> None:
    assert (await ask(token(actions="publish play", stream="a/b live/demo"))).allowed


async def test_what_is_no_token_is_for_others_to_judge() -> None:
    decider = JwtDecider(JwtSettings(secret=SECRET), FakeClock().wall_ns)
    assert await decider.decide(publish("a-plain-key")) is None
    assert await decider.decide(publish()) is None


@given(st.text(max_size=200), st.text(max_size=200), st.text(max_size=200))
def test_whatever_comes_is_refused_and_nothing_raises(one: str, two: str, three: str) -> None:
    decider = JwtDecider(JwtSettings(secret=SECRET), FakeClock().wall_ns)

    async def decide() -> Decision | None:
        return await decider.decide(play(f"eyJ{one}.{two}.{three}"))

    decision = asyncio.run(decide())
    assert decision is None or not decision.allowed


class Jwks:
    """A document that can be away."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.keys = list(keys)
        self.fetched = 0
        self.is_away = False
        self.gate: asyncio.Event | None = None

    async def __call__(self) -> bytes:
        self.fetched += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.is_away:
            raise OSError("away")
        return json.dumps({"keys": self.keys}).encode()


def with_jwks(document: Jwks, clock: FakeClock) -> tuple[JwtDecider, JwksKeys]:
    keys = JwksKeys(document, clock.monotonic_ns, cache_ns=600 * 10**9)
    return JwtDecider(JwtSettings(), clock.wall_ns, jwks=keys), keys


def signed(key: Any, algorithm: str, key_id: str) -> str:
    return jwt.encode(
        CLAIMS | {"exp": NOW_S + 10**6}, private_pem(key), algorithm, headers={"kid": key_id}
    )


async def allowed(decider: JwtDecider, text: str) -> bool:
    decision = await decider.decide(play(text))
    assert decision is not None
    return decision.allowed


async def test_keys_are_fetched_once_and_kept() -> None:
    document = Jwks(jwk(rsa_key(), "r"), jwk(ec_key(), "e"))
    decider, _ = with_jwks(document, FakeClock())
    assert await allowed(decider, signed(rsa_key(), "RS256", "r"))
    assert await allowed(decider, signed(ec_key(), "ES256", "e"))
    assert document.fetched == 1


async def test_old_keys_stay_when_they_cannot_be_fetched_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    document, clock = Jwks(jwk(ec_key(), "e")), FakeClock()
    decider, keys = with_jwks(document, clock)
    assert await allowed(decider, signed(ec_key(), "ES256", "e"))
    document.is_away = True
    clock.advance(s=601)
    assert await allowed(decider, signed(ec_key(), "ES256", "e"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert keys.failures == 1
    assert await allowed(decider, signed(ec_key(), "ES256", "e"))
    assert "cannot be fetched" in caplog.text


async def test_nobody_with_a_known_key_waits_for_a_fetch_that_hangs() -> None:
    document, clock = Jwks(jwk(ec_key(), "e")), FakeClock()
    decider, keys = with_jwks(document, clock)
    assert await allowed(decider, signed(ec_key(), "ES256", "e"))
    document.gate = asyncio.Event()
    clock.advance(s=601)
    assert await allowed(decider, signed(ec_key(), "ES256", "e"))
    await keys.close()


async def test_an_unknown_key_asks_again_and_strangers_cannot_make_us_ask_all_the_time() -> None:
    document, clock = Jwks(jwk(ec_key(), "e")), FakeClock()
    decider, _ = with_jwks(document, clock)
    for _ in range(100):
        assert not await allowed(decider, signed(rsa_key(), "RS256", "new"))
    assert document.fetched == 1
    document.keys.append(jwk(rsa_key(), "new"))
    clock.advance(s=10)
    assert await allowed(decider, signed(rsa_key(), "RS256", "new"))
    assert document.fetched == 2


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"no JSON",
        b"[]",
        b'{"keys": 7}',
        b'{"keys": []}',
        b'{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}',
        b'{"keys": [{"kty": "RSA"}]}',
        b'{"keys": [{"kty": "EC", "crv": "P-256", "x": "!", "y": "!"}]}',
    ],
)
def test_a_document_without_a_public_key_is_none(document: bytes) -> None:
    with pytest.raises(ValueError, match=r"it (is|holds) no"):
        read_keys(document)


@pytest.mark.parametrize(
    "pem", [b"", b"x", b"-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----\n"]
)
def test_what_is_no_public_key_is_said_so(pem: bytes) -> None:
    with pytest.raises(ValueError, match="is no public key"):
        load_public_key(pem)
