"""A TCP relay that can go half-open, as mobile links and NATs do: nothing comes, nothing closes."""

import asyncio
import contextlib

__all__ = ["Relay"]


class Relay:
    """Passes bytes between its own port and another one, until it is told not to."""

    def __init__(self, to_port: int) -> None:
        self._to_port = to_port
        self._is_open = True
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    @property
    def port(self) -> int:
        """Where to connect to."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def start(self) -> None:
        """Opens a free port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)

    def go_half_open(self) -> None:
        """From now on both sides see a connection that lives and says nothing."""
        self._is_open = False

    async def close(self) -> None:
        """Closes everything."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.close()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to_port)
        self._writers += [writer, far_writer]
        for source, target in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._pump(source, target))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65536):
                if self._is_open:
                    target.write(data)
                    await target.drain()
            if self._is_open:
                target.close()
