"""The operations on tokens, stream keys and bans."""

from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from streamserver.auth import Access
from streamserver.auth.hashes import hash_secret, make_secret
from streamserver.auth.rights import Right, StreamPattern
from streamserver.auth.stream_keys import stream_key_tag
from streamserver.clock import Clock
from streamserver.control.credential_models import BanInfo, BanPage, NewToken, Token
from streamserver.control.session_ends import SessionEnds
from streamserver.errors import InvalidNameError, NotFoundError
from streamserver.names import StreamKey
from streamserver.storage import StreamKeys, TokenRevocations
from streamserver.times import unix_ns_to_rfc3339

__all__ = ["CredentialControl"]

_TAKEN_BACK: Final = "the credential of this connection was taken back"


class _Store(StreamKeys, TokenRevocations, Protocol):
    pass


class CredentialControl:
    """Gives credentials, takes them back, and ends what they had let in."""

    def __init__(
        self,
        access: Access,
        store: _Store,
        ends: SessionEnds,
        clock: Clock,
    ) -> None:
        self._access = access
        self._store = store
        self._ends = ends
        self._clock = clock

    async def create_token(self, new: NewToken) -> Token:
        """Signs a token. It is kept nowhere. Raises `InvalidNameError` for a bad pattern."""
        try:
            pattern = StreamPattern.parse(new.stream)
        except ValueError as error:
            raise InvalidNameError(str(error)) from None
        rights = list(dict.fromkeys(Right(one.value) for one in new.actions))
        issued = self._access.tokens.issue([pattern], rights, new.expires_in_s)
        return Token(
            id=issued.id,
            token=issued.token,
            stream=str(pattern),
            actions=new.actions,
            expires_at=unix_ns_to_rfc3339(issued.expires_s * 1_000_000_000),
        )

    async def revoke_token(self, token_id: str) -> None:
        """Takes a token back, and ends every session that came with it.

        At once, even where a `StorageError` says that a restart would forget it: call again then.
        Raises `NotFoundError` for an id that is none, or of a token that has ended by itself.
        """
        found = self._access.tokens.revoke(token_id)
        if found is None:
            raise NotFoundError("there is no such token, or it has expired")
        tag, expires_s = found
        self.end_sessions_of(tag)
        await self._store.revoke_token(token_id, expires_s)

    async def new_stream_key(self, stream: StreamKey) -> str:
        """A new publish key for a stream; the old one stops working, and so does who used it."""
        old = await self._store.stream_key_hash(stream)
        secret = make_secret()
        await self._store.set_stream_key(stream, hash_secret(secret))
        if old is not None:
            self.end_sessions_of(stream_key_tag(old))
        return secret

    async def remove_stream_key(
        self, stream: StreamKey, *, forget: Callable[[StreamKey], Awaitable[None]] | None = None
    ) -> None:
        """Takes a stream's key away, and ends who publishes with it.

        ``forget`` does so together with the rest of what is kept about the stream.
        """
        old = await self._store.stream_key_hash(stream)
        await (forget or self._store.delete_stream_key)(stream)
        if old is not None:
            self.end_sessions_of(stream_key_tag(old))

    def end_sessions_of(self, tag: str) -> int:
        """Ends all sessions of a credential that was taken back; answers how many."""
        self._access.revoke(tag)
        return self._ends.revoke(tag, _TAKEN_BACK)

    async def bans(self) -> BanPage:
        """The addresses that are kept out now."""
        wall_ns, now_ns = self._clock.wall_ns(), self._clock.monotonic_ns()
        items = [
            BanInfo(
                address=ban.address,
                failures=ban.failures,
                until=unix_ns_to_rfc3339(wall_ns + ban.until_ns - now_ns),
            )
            for ban in self._access.bans.bans()
        ]
        return BanPage(items=items, total=len(items))

    async def lift_bans(self, address: str | None = None) -> None:
        """Ends the ban of one address, or all; one that is not banned is no error."""
        self._access.bans.lift(address)
