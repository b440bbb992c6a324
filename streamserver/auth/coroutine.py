"""A user's own coroutine as a voice in the chain: for programs that embed the server."""

from collections.abc import Awaitable, Callable, Collection

from streamserver.auth.request import AccessRequest, Action, Decision

__all__ = ["CoroutineDecider"]

Answer = Decision | bool | None


class CoroutineDecider:
    """Asks ``decide(request)``: True and False decide, a `Decision` says more, None passes.

    What it raises refuses, and so does silence beyond ``timeout_s``.
    """

    def __init__(
        self,
        decide: Callable[[AccessRequest], Awaitable[Answer]],
        *,
        actions: Collection[Action] = (Action.PUBLISH, Action.PLAY),
        name: str = "coroutine",
        timeout_s: float = 5,
    ) -> None:
        self.name = name
        self.timeout_s = timeout_s
        self.actions = frozenset(actions)
        self._decide = decide

    async def decide(self, request: AccessRequest) -> Decision | None:
        """See `Decider`."""
        if request.action not in self.actions:
            return None
        answer = await self._decide(request)
        if isinstance(answer, bool):
            reason = "the program allows it" if answer else "the program refuses"
            return Decision(answer, reason, self.name)
        return answer
