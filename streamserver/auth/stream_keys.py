"""The keys of registered streams: each opens its own stream, and alone tells which one."""

import re
from typing import Final, Protocol

from streamserver.auth.hashes import hash_secret
from streamserver.auth.request import AccessRequest, Action, Decision
from streamserver.auth.tags import credential_tag
from streamserver.names import DEFAULT_NAME, StreamKey

__all__ = ["StreamKeyDecider", "StreamKeys", "looks_like_secret", "stream_key_tag"]

_SECRET: Final = re.compile(r"[a-z2-7]{32}\Z")
"""The form of `make_secret`: no stream may have a name of this form, since it would be shown."""


class StreamKeys(Protocol):
    """What is asked of the storage; see `streamserver.storage.StreamKeys`."""

    async def stream_key_hash(self, stream: StreamKey) -> str | None:
        """The hash of a stream's key, or None."""

    async def stream_of_key(self, hashed: str) -> StreamKey | None:
        """The stream whose key has this hash, or None."""


def looks_like_secret(text: str) -> bool:
    """Whether a text has the form of the secrets that this server makes."""
    return _SECRET.match(text) is not None


def stream_key_tag(hashed: str) -> str:
    """The tag of a stream's key, from its hash; see `credential_tag`."""
    return credential_tag("stream_key", hashed)


class StreamKeyDecider:
    """Lets a publisher with a stream's own key publish that stream.

    Looked up by hash: a table of 160-bit secrets tells nothing by the time it takes.
    """

    name = "stream_keys"

    def __init__(self, keys: StreamKeys) -> None:
        self._keys = keys

    async def decide(self, request: AccessRequest) -> Decision | None:
        """See `Decider`."""
        if request.action is not Action.PUBLISH or request.stream is None:
            return None
        for credential in request.credentials():
            hashed = hash_secret(credential)
            if await self._keys.stream_of_key(hashed) == request.stream:
                return Decision(
                    True, "the stream's key opens it", self.name, credential=stream_key_tag(hashed)
                )
        return None

    async def needs_key(self, stream: StreamKey) -> bool:
        """Whether a stream has a key of its own, so that nobody publishes it without any."""
        return await self._keys.stream_key_hash(stream) is not None

    async def resolve(self, app: str, name: str) -> tuple[StreamKey, str] | None:
        """The stream and its key, where the key alone was given in the place of a name.

        ``rtmp://host/live`` with the key as stream key, or ``rtmp://host/{key}``. None when
        neither part is the key of a stream of that app.
        """
        if looks_like_secret(name):
            stream = await self._keys.stream_of_key(hash_secret(name))
            return (stream, name) if stream is not None and stream.app == app else None
        if name == DEFAULT_NAME and looks_like_secret(app):
            stream = await self._keys.stream_of_key(hash_secret(app))
            return None if stream is None else (stream, app)
        return None
