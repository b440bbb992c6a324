"""What takes a while and waits for nothing else: made in threads, while the rooms open."""

import asyncio
from collections.abc import Callable
from functools import partial
from ssl import SSLContext
from typing import TypeVar

from streamserver.config import Config
from streamserver.net.tls import outgoing_context
from streamserver.web.pages import Pages

__all__ = ["Early"]

T = TypeVar("T")


class Early:
    """Begins at once. OpenSSL and zlib do the work, and let the loop run meanwhile."""

    def __init__(self, config: Config, *, https: bool) -> None:
        """``https``: whether there is a listener of HTTPS."""
        self._authorities = _begin(partial(outgoing_context, config.outgoing.ca_file))
        self._pages = _begin(partial(Pages, https=_https_url(config, https)))

    async def authorities(self) -> SSLContext:
        """Whom outgoing connections believe. Raises `ConfigError`."""
        return await self._authorities

    async def pages(self) -> Pages:
        """The pages, with what browsers are told to cache."""
        return await self._pages

    async def close(self) -> None:
        """Waits for what a failed start left alone."""
        await asyncio.gather(self._authorities, self._pages, return_exceptions=True)


def _begin(call: Callable[[], T]) -> asyncio.Task[T]:
    return asyncio.create_task(asyncio.to_thread(call))


def _https_url(config: Config, https: bool) -> str:
    """Where browsers reach the pages over HTTPS; empty: nowhere."""
    http = config.http
    if http.public_url.startswith("https:"):
        return http.public_url
    return f":{http.https_port}" if https else ""
