"""Answers that do not end by themselves: what a handler gives back in the place of a value."""

from abc import ABC, abstractmethod

from aiohttp import web

from streamserver.api.access import Grant

__all__ = ["Streamed"]


class Streamed(ABC):
    """Writes an answer of its own."""

    @abstractmethod
    async def serve(self, request: web.Request, grant: Grant) -> web.StreamResponse:
        """Answers a request that was allowed, for as long as it is."""
