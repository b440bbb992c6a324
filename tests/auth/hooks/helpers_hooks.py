"""A hook before a far side that answers what it is told, and keeps what it was asked."""

import json
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

from streamserver.auth.hooks import HookDecider
from streamserver.config import HookAction, HookConfig, HookFail, HookMethod, HookStyle, Secret
from streamserver.net.http_client import HttpAnswer, HttpClient, HttpClientError
from tests.fakes import FakeClock


class FarSide:
    """In place of `HttpClient`."""

    def __init__(self) -> None:
        self.answer = HttpAnswer(200, {}, b"", True)
        self.failure = ""
        self.asked: list[tuple[str, str, dict[str, str], bytes | None]] = []

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str],
        body: bytes | None = None,
        timeout_s: float,
    ) -> HttpAnswer:
        self.asked.append((method, url, headers, body))
        if self.failure:
            raise HttpClientError(self.failure)
        return self.answer

    def answers(
        self, status: int, body: bytes = b"", *, whole: bool = True, **headers: str
    ) -> None:
        self.answer = HttpAnswer(status, headers, body, whole)

    @property
    def json(self) -> Any:
        """The body of the last question."""
        return json.loads(self.asked[-1][3] or b"")

    @property
    def form(self) -> Mapping[str, str]:
        """The same as a form."""
        return dict(parse_qsl((self.asked[-1][3] or b"").decode(), keep_blank_values=True))

    @property
    def query(self) -> Mapping[str, str]:
        """What the last question had in its URL."""
        return dict(parse_qsl(urlsplit(self.asked[-1][1]).query, keep_blank_values=True))


class World:
    """A hook, its far side, and the time."""

    def __init__(self, style: str = "streamserver", actions: str = "publish play", **more: Any):
        self.far_side = FarSide()
        self.clock = FakeClock()
        self.said: list[str] = []
        fail = HookFail(more.pop("fail", "closed"))
        method = HookMethod(more.pop("method", "POST"))
        config = HookConfig(
            url=Secret("https://backend.test/hook?secret=1"),
            actions=tuple(HookAction(one) for one in actions.split()),
            style=HookStyle(style),
            fail=fail,
            method=method,
            **more,
        )
        self.hook = HookDecider(
            config,
            cast(HttpClient, self.far_side),
            self.clock,
            name="hooks[0]",
            complain=lambda text, *args: self.said.append(text % args),
        )
