"""How credentials are kept and compared: as hashes, in constant time.

Two forms. ``sha256:<hex>`` is for keys that are random and long: nobody can search 160 bits, so
a slow hash would protect nothing and cost each publisher its time. ``scrypt:…`` is for words that
people thought up, which can be guessed when the file is stolen.
"""

import hashlib
import secrets
from base64 import b32encode
from dataclasses import dataclass
from hmac import compare_digest
from typing import Final

__all__ = ["ScryptHash", "digest", "hash_password", "hash_secret", "make_secret", "verify_secret"]

_SHA256: Final = "sha256:"
_SCRYPT: Final = "scrypt:"
_SCRYPT_MEMORY: Final = 128 * 1024 * 1024


def make_secret() -> str:
    """A new random secret: 160 bits as 32 lower-case letters and digits, easy to mark and type."""
    return b32encode(secrets.token_bytes(20)).decode().lower()


def digest(secret: str) -> bytes:
    """SHA-256 of a credential: comparing these tells nothing about its length or beginning."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def hash_secret(secret: str) -> str:
    """The hash of a long random secret."""
    return _SHA256 + digest(secret).hex()


def verify_secret(secret: str, hashed: str) -> bool:
    """Whether a credential is the one behind a ``sha256:`` hash, in constant time."""
    kind, expected = hashed[: len(_SHA256)], hashed[len(_SHA256) :]
    matches = compare_digest(digest(secret).hex().encode(), expected.lower().encode())
    return matches and kind == _SHA256


def hash_password(password: str, *, log2_n: int = 14, r: int = 8, p: int = 1) -> str:
    """The slow hash (RFC 7914) of a word that could be guessed; takes some 50 ms.

    The form is ``scrypt:log2(n):r:p:salt:hash``, the last two in hexadecimal.
    """
    scrypt = ScryptHash(log2_n, r, p, secrets.token_bytes(16), b"")
    numbers = f"{log2_n}:{r}:{p}"
    return f"{_SCRYPT}{numbers}:{scrypt.salt.hex()}:{scrypt.derive(password).hex()}"


@dataclass(frozen=True, slots=True)
class ScryptHash:
    """A ``scrypt:`` hash, taken apart."""

    log2_n: int
    """Cost: the logarithm of the number of blocks."""

    r: int
    """Block size."""

    p: int
    """Parallelization."""

    salt: bytes
    """Random bytes, different for each hash."""

    expected: bytes = b""
    """The hash itself, 32 bytes."""

    @classmethod
    def parse(cls, text: str) -> "ScryptHash":
        """Reads what `hash_password` wrote; the configuration has checked its form and bounds."""
        log2_n, r, p, salt, expected = text.removeprefix(_SCRYPT).split(":")
        return cls(int(log2_n), int(r), int(p), bytes.fromhex(salt), bytes.fromhex(expected))

    def derive(self, password: str) -> bytes:
        """The hash of a credential with these parameters. Slow: run it off the loop."""
        return hashlib.scrypt(
            password.encode("utf-8", "surrogatepass"),
            salt=self.salt,
            n=1 << self.log2_n,
            r=self.r,
            p=self.p,
            maxmem=_SCRYPT_MEMORY,
            dklen=32,
        )

    def verify(self, password: str) -> bool:
        """Whether a credential is the one behind the hash. Slow: run it off the loop."""
        return compare_digest(self.derive(password), self.expected)
