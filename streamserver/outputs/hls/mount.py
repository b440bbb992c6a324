"""One place in the URL space where HLS is served; several serve the same streams."""

import asyncio

from streamserver.errors import RefusedError
from streamserver.outputs.hls.delivery import NOT_FOUND
from streamserver.outputs.hls.output import HlsOutput
from streamserver.outputs.hls.paths import MediaUrl, MultivariantUrl, parse_path
from streamserver.outputs.hls.replies import Reply, refusal
from streamserver.outputs.hls.viewers import ClientInfo
from streamserver.outputs.hls.waiters import Waiter

__all__ = ["HlsMount"]


class HlsMount:
    """Answers the URLs below ``base``, such as ``/hls``; the base is a value and nothing more.

    `fast` knows the paths of media and of present viewers and answers with ready bytes. All else
    takes `answer`: multivariant playlists, a viewer's first request, ranges, HEAD, what is wrong.
    """

    def __init__(self, output: HlsOutput, *, base: bytes = b"/hls") -> None:
        self.base = base
        self._output = output
        self._entries = output.entries
        self._stats = output.stats
        self._skip = len(base)
        self._prefix = base.decode("ascii") + "/"

    def fast(self, target: bytes, gzip: bool = False) -> bytes | Waiter | None:
        """A complete HTTP answer, a place to wait for one, or None for the slow path.

        ``target`` is path and query, and must begin with the base; ``gzip`` is whether the client
        takes it.
        """
        mark = target.find(b"?")
        if mark < 0:
            entry = self._entries.get(target[self._skip :])
            query = b""
        else:
            entry = self._entries.get(target[self._skip : mark])
            query = target[mark + 1 :]
        if entry is None:
            return None
        if isinstance(entry, Reply):
            self._stats.media += 1
            return entry.made or entry.wire
        outcome = entry.ask(query)
        if isinstance(outcome, Reply):
            return outcome.wire_gzip if gzip else outcome.made or outcome.wire
        outcome.gzip = gzip
        return outcome

    async def answer(self, path: str, query: str, client: ClientInfo) -> Reply:
        """The same and everything else, for a server that writes its own heads.

        ``path`` is decoded and begins with the base; ``query`` is raw, without question mark.
        What is refused becomes a problem document; raises only what the decider of access raises
        beyond `RefusedError`.
        """
        if not path.startswith(self._prefix):
            return NOT_FOUND
        try:
            outcome = await self._ask(path[self._skip :], query, client)
        except RefusedError as error:
            return refusal(error)
        return outcome if isinstance(outcome, Reply) else await _settled(outcome)

    async def _ask(self, path: str, query: str, client: ClientInfo) -> Reply | Waiter:
        entry = self._entries.get(path.encode(errors="replace"))
        if entry is None:
            url = parse_path(path)
            if isinstance(url, MultivariantUrl):
                grant = await self._output.authorize(url.stream, client, query)
                return self._output.ask_multivariant(url, client.user_agent, grant)
            if not isinstance(url, MediaUrl):
                return NOT_FOUND
            entry = self._output.enter(url, client)
        if isinstance(entry, Reply):
            self._stats.media += 1
            return entry
        return entry.ask(query.encode(errors="replace"))


async def _settled(waiter: Waiter) -> Reply:
    future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    def resume(reply: Reply) -> None:
        if not future.done():
            future.set_result(reply)

    waiter.park_reply(resume)
    try:
        return await future
    finally:
        waiter.cancel()
