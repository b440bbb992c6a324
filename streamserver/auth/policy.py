"""What holds where no decider has spoken: the last voice of the chain."""

from collections.abc import Awaitable, Callable, Set

from streamserver.auth.hashes import verify_secret
from streamserver.auth.request import AccessRequest, Action, Decision
from streamserver.auth.tags import credential_tag
from streamserver.names import StreamKey

__all__ = ["DefaultPolicy"]


class DefaultPolicy:
    """The defaults of the public interface, chapter "Access".

    Watching is open. Publishing from this machine is open and needs the generated key from
    elsewhere. Reading the API and the metrics from this machine is open; every write, and every
    read from elsewhere, needs the token. A credential that nobody knows is refused from anywhere,
    where there is one that it could have been.
    """

    name = "default"

    def __init__(
        self,
        *,
        api_hash: str,
        publish_hash: str | None = None,
        anonymous_publish: bool = False,
        open_play: bool = True,
        decided: Set[Action] = frozenset(),
        needs_key: Callable[[StreamKey], Awaitable[bool]] | None = None,
    ) -> None:
        """``decided`` are the actions that another decider of the chain hands out keys for.

        ``needs_key`` tells whether a stream has a key of its own.

        ``publish_hash`` is that of the generated key; None when keys are configured.
        """
        self.api_tag = credential_tag("api_token", api_hash)
        """The tag of the API's token."""
        self._api_hash = api_hash
        self._publish_hash = publish_hash
        self._anonymous_publish = anonymous_publish
        self._open_play = open_play
        self._decided = decided
        self._needs_key = needs_key

    async def decide(self, request: AccessRequest) -> Decision:
        """Always decides."""
        match request.action:
            case Action.PUBLISH:
                return await self._publish(request)
            case Action.PLAY:
                return self._play(request)
            case Action.API | Action.METRICS:
                return self._api(request)
            case Action.CONNECT:
                return self._allow("anyone may connect")

    async def _publish(self, request: AccessRequest) -> Decision:
        has_deciders = Action.PUBLISH in self._decided
        if _knows(request, self._publish_hash):
            return self._allow("the publish key is right")
        if request.credentials() and (has_deciders or self._publish_hash is not None):
            return self._wrong("the key does not allow publishing here")
        if await self._has_own_key(request.stream):
            return self._missing("this stream has a key of its own: add ?key=... to the stream key")
        if self._anonymous_publish:
            return self._allow("anyone may publish")
        if request.local and not has_deciders:
            return self._allow("publishing from this machine is open")
        return self._missing("publishing needs a key: add ?key=... to the stream key")

    async def _has_own_key(self, stream: StreamKey | None) -> bool:
        if self._needs_key is None or stream is None:
            return False
        return await self._needs_key(stream)

    def _play(self, request: AccessRequest) -> Decision:
        if request.credentials() and Action.PLAY in self._decided:
            return self._wrong("the key does not allow watching this")
        if self._open_play:
            return self._allow("watching is open")
        return self._missing("watching needs a key")

    def _api(self, request: AccessRequest) -> Decision:
        if _knows(request, self._api_hash):
            reason = "the API token is right"
            return Decision(True, reason, self.name, credential=self.api_tag)
        if request.credentials():
            return self._wrong("the token is wrong")
        if request.local and not request.write:
            return self._allow("reading from this machine is open")
        return self._missing("this needs the API token as a bearer token")

    def _allow(self, reason: str) -> Decision:
        return Decision(True, reason, self.name)

    def _wrong(self, reason: str) -> Decision:
        return Decision(False, reason, self.name)

    def _missing(self, reason: str) -> Decision:
        return Decision(False, reason, self.name, missing=True)


def _knows(request: AccessRequest, hashed: str | None) -> bool:
    if hashed is None:
        return False
    # Not any(), which would end at the first match.
    return sum(verify_secret(credential, hashed) for credential in request.credentials()) > 0
