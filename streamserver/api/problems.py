"""Errors as problem documents (RFC 9457), and the refusals that only HTTP knows."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Final

import msgspec
from aiohttp import web
from msgspec import Meta

from streamserver.errors import AccessDeniedError, RefusedError

__all__ = [
    "PROBLEM_TYPE",
    "BadRequestError",
    "CrossSiteError",
    "MethodNotAllowedError",
    "Problem",
    "SlowBodyError",
    "TooLargeError",
    "UnauthenticatedError",
    "UnhealthyError",
    "UnsupportedMediaTypeError",
    "problem_response",
]

PROBLEM_TYPE: Final = "application/problem+json"
"""The media type (RFC 9457, section 6.1)."""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request was not answered."""

    type: Annotated[
        str, Meta(description="A URI; about:blank says that the status tells everything.")
    ]
    title: Annotated[str, Meta(description="The status in words.")]
    status: Annotated[int, Meta(ge=400, le=599, description="The HTTP status.")]
    detail: Annotated[str, Meta(description="What was wrong and what to do, for people.")]


class BadRequestError(RefusedError):
    """A parameter or body that is not what the route takes."""

    http_status = 400


class UnauthenticatedError(AccessDeniedError):
    """There is no credential, or it is not a valid one; another one may do."""

    http_status = 401


class CrossSiteError(RefusedError):
    """A page of another site tried to write."""

    http_status = 403


class MethodNotAllowedError(RefusedError):
    """The path exists, but not with this method; RFC 9110, section 15.5.6 wants the others."""

    http_status = 405

    def __init__(self, allowed: Sequence[str]) -> None:
        super().__init__(f"this path takes only: {', '.join(allowed)}")
        self.allowed = tuple(allowed)


class SlowBodyError(RefusedError):
    """The body did not come in time."""

    http_status = 408


class TooLargeError(RefusedError):
    """The body is larger than any that is taken."""

    http_status = 413


class UnsupportedMediaTypeError(RefusedError):
    """A body that is not JSON."""

    http_status = 415


class UnhealthyError(RefusedError):
    """A probe's answer: not alive, or not ready."""

    http_status = 503


def problem_response(
    status: int, detail: str, headers: Mapping[str, str] | None = None
) -> web.Response:
    """The document for a status (RFC 9457, 4.2.1: with ``about:blank`` it is the title, too)."""
    problem = Problem(
        type="about:blank", title=HTTPStatus(status).phrase, status=status, detail=detail
    )
    return web.Response(
        status=status,
        body=msgspec.json.encode(problem),
        content_type=PROBLEM_TYPE,
        headers={"Cache-Control": "no-store", **(headers or {})},
    )
