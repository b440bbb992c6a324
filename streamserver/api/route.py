"""What a route is; `routes` holds the table of them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from streamserver.api.access import Access
from streamserver.api.calls import Call
from streamserver.api.handlers import Services
from streamserver.api.streamed import Streamed

__all__ = ["Route"]

Q = TypeVar("Q", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route(Generic[Q]):
    """One method of one path."""

    method: str
    """``GET`` (which answers ``HEAD``, too), ``POST``, ``PATCH``, ``DELETE``."""

    path: str
    """Below the base path; ``{app}``, ``{name}`` and ``{id}`` are parameters."""

    handler: Callable[[Services, Call[Q]], Awaitable[msgspec.Struct | bytes | Streamed | None]]
    """Answers a struct (sent as JSON), bytes of `content_type`, None (204), or writes by itself."""

    name: str
    """``operationId``: unique, stable."""

    tag: str
    """The group in the document."""

    summary: str
    """One line for people."""

    access: Access
    """What it asks of its caller."""

    query: type[Q]
    """Its query parameters."""

    body: type[msgspec.Struct] | None = None
    """What it takes as JSON; None for a route that takes none."""

    response: type[msgspec.Struct] | None = None
    """What it answers; None for bytes or nothing."""

    content_type: str = "application/json"
    """The media type of the answer."""

    problems: tuple[int, ...] = ()
    """Statuses of refusals besides those that follow from the other fields."""

    manage: bool = False
    """Whether the right to manage the stream, which a token may give, is enough for this write."""

    lenient: bool = False
    """Whether unknown query parameters are ignored: a load balancer may add its own."""

    asks_by_stream: bool = False
    """Whether a query that names exactly one stream asks for the right to that stream only."""

    @property
    def replays(self) -> bool:
        """Whether it takes a key with which its answer is given again; see `idempotency`."""
        return self.method == "POST" and self.response is not None

    @property
    def is_write(self) -> bool:
        """Whether something changes."""
        return self.method not in ("GET", "HEAD")

    @property
    def status(self) -> int:
        """Of success; RFC 9110, section 15.3.2: 201 where something was made."""
        if self.is_write and self.response is None:
            return 204
        return 201 if self.method == "POST" and self.body is not None else 200

    @property
    def has_answer(self) -> bool:
        """Whether the answer has a body; otherwise its status is 204."""
        return not self.is_write or self.response is not None

    @property
    def refusals(self) -> list[int]:
        """Every status of a problem document that the route answers."""
        statuses = set(self.problems)
        if self.access is not Access.PUBLIC:
            statuses |= {401, 403}
        if not self.lenient or "{" in self.path:
            statuses.add(400)
        if self.body is not None:
            statuses.add(400)
        if self.is_write:
            # 503: the storage cannot keep it.
            statuses |= {403, 408, 413, 415, 503}
        if self.replays:
            statuses |= {400, 409, 422}
        return sorted(statuses)
