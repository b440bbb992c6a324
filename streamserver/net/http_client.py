"""HTTP requests that this server makes to addresses that users give: hooks and webhooks."""

import asyncio
import socket
import ssl
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from streamserver.net.guard import ForbiddenAddressError, OutgoingGuard
from streamserver.net.resolver import ResolveError

__all__ = ["GuardedResolver", "HttpAnswer", "HttpClient", "HttpClientError"]

_MAX_ANSWER_BYTES: Final = 64 * 1024
"""What is read of an answer; the rest stays with whoever sent it."""

_MAX_LINE_BYTES: Final = 8 * 1024
_KEEP_ALIVE_S: Final = 30


class HttpClientError(Exception):
    """There was no answer; the text says why, in words for people and without the URL."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What came back."""

    status: int
    """The status code."""

    headers: dict[str, str]
    """The header fields, names in small letters; of a repeated one the last."""

    body: bytes
    """The beginning of the body, at most 64 KiB."""

    whole: bool
    """Whether the body was not longer than that."""


class GuardedResolver(AbstractResolver):
    """Lets aiohttp's connector ask our resolver, and see only addresses that are allowed."""

    def __init__(self, guard: OutgoingGuard) -> None:
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """See `AbstractResolver`; whatever is wrong is an `OSError`, as the connector wants."""
        try:
            addresses = await self._guard.addresses(host)
        except (ResolveError, ForbiddenAddressError) as error:
            raise OSError(None, str(error)) from error
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """The guard's resolver belongs to somebody else."""


class HttpClient:
    """A pool of connections. Redirects are not followed, cookies not kept, proxies not asked.

    The answer is not unpacked, so that a few bytes cannot become many.
    """

    def __init__(self, guard: OutgoingGuard, tls: ssl.SSLContext, *, user_agent: str) -> None:
        """``tls``: whom to believe, see `streamserver.net.tls.client_context`."""
        self._guard = guard
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=GuardedResolver(guard),
                ssl=tls,
                # Every call has a deadline of its own: none waits for others' connections.
                limit=0,
                use_dns_cache=False,
                keepalive_timeout=_KEEP_ALIVE_S,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": user_agent, "Accept-Encoding": "identity"},
            auto_decompress=False,
            trust_env=False,
            max_line_size=_MAX_LINE_BYTES,
            max_field_size=_MAX_LINE_BYTES,
        )

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str],
        body: bytes | None = None,
        timeout_s: float,
    ) -> HttpAnswer:
        """One request and the beginning of its answer, all within a deadline.

        Raises `HttpClientError` for no answer, whatever the reason.
        """
        try:
            host = urlsplit(url).hostname or ""
            # The connector asks the resolver for names only.
            self._guard.check_literal(host)
            async with (
                asyncio.timeout(timeout_s),
                self._session.request(
                    method,
                    url,
                    headers=headers,
                    data=body,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=None),
                ) as response,
            ):
                return await _read(response)
        except TimeoutError:
            raise HttpClientError(f"no answer within {timeout_s:g} s") from None
        except ForbiddenAddressError as error:
            raise HttpClientError(str(error)) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise HttpClientError(_explain(error)) from None

    async def close(self) -> None:
        """Closes the connections. A second call does nothing."""
        await self._session.close()


async def _read(response: aiohttp.ClientResponse) -> HttpAnswer:
    body = bytearray()
    whole = True
    try:
        async for piece in response.content.iter_any():
            body += piece
            if len(body) > _MAX_ANSWER_BYTES:
                whole = False
                break
    except aiohttp.ClientError:
        # The status is what counts; a body that breaks off is as good as a long one.
        whole = False
    if not whole:
        response.close()
    headers = {name.lower(): value for name, value in response.headers.items()}
    return HttpAnswer(response.status, headers, bytes(body[:_MAX_ANSWER_BYTES]), whole)


def _explain(error: Exception) -> str:
    """Words for people. aiohttp's own texts name the host and port, never the path or the query;
    those of a URL that cannot be used name all of it."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"the certificate is not good: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
        return str(cause.strerror or cause)
    if isinstance(error, aiohttp.InvalidURL | ValueError):
        return "the URL cannot be used"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the connection was closed without an answer"
    if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ClientResponseError):
        return "the answer is not one of HTTP"
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    return type(error).__name__
