"""One hook: a URL that is asked, with a deadline, a memory, and a word for when it is silent."""

import hashlib
import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from streamserver.auth.hooks.nginx import NginxStyle
from streamserver.auth.hooks.styles import MediaMtxStyle, SrsStyle, StreamserverStyle
from streamserver.auth.hooks.words import BadAnswerError, Body, Notice, Style, Verdict
from streamserver.auth.request import AccessRequest, Action, Decision
from streamserver.clock import Clock
from streamserver.config import HookAction, HookConfig, HookFail, HookMethod, HookStyle
from streamserver.net.http_client import HttpAnswer, HttpClient, HttpClientError

__all__ = ["HookDecider", "HookStats"]

_MAX_CACHED: Final = 10_000
_MAX_REMEMBERED: Final = 10_000
_MAX_HEADER: Final = 8192
_STYLES: Final[dict[HookStyle, Callable[[], Style]]] = {
    HookStyle.STREAMSERVER: StreamserverStyle,
    HookStyle.MEDIAMTX: MediaMtxStyle,
    HookStyle.NGINX_RTMP: NginxStyle,
    HookStyle.SRS: SrsStyle,
}

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class HookStats:
    """Counters of one hook since the start."""

    outcomes: Counter[str] = field(default_factory=Counter)
    """Questions by how they ended: ``allowed``, ``refused``, ``failed``, ``cached``."""


class HookDecider:
    """Asks a URL about the actions and protocols that it is for; has no opinion on others.

    Calls are parallel and pooled. A hook that hangs delays those who wait for its answer, each up
    to the deadline, and nobody else.
    """

    def __init__(
        self,
        config: HookConfig,
        client: HttpClient,
        clock: Clock,
        *,
        name: str = "hook",
        complain: Callable[..., object] = logger.warning,
    ) -> None:
        """``client`` has no bound on its connections: who waits is bounded at the doors."""
        self.name = name
        """What logs and metrics call it; never its URL, which may hold a secret."""
        self.timeout_s = config.timeout_s
        """Its deadline; see `Decider`."""
        self.config = config
        self.stats = HookStats()
        self._client = client
        self._clock = clock
        self._complain = complain
        self._style = _STYLES[config.style]()
        self._actions = frozenset(config.actions)
        self._protocols = frozenset(config.protocols)
        self._cache: OrderedDict[bytes, tuple[int, Decision]] = OrderedDict()
        self._asked: OrderedDict[str, AccessRequest] = OrderedDict()

    @property
    def actions(self) -> frozenset[HookAction]:
        """What it is asked and told."""
        return self._actions

    def concerns(self, action: HookAction, protocol: str) -> bool:
        """Whether it is for an action over a protocol."""
        return action in self._actions and (not self._protocols or protocol in self._protocols)

    async def decide(self, request: AccessRequest) -> Decision | None:
        """See `Decider`; ends within the deadline, by whatever `HookConfig.fail` says."""
        if not self.concerns(HookAction(request.action.value), request.protocol):
            return None
        headers = self._headers(request)
        digest = _digest(request, headers) if self.config.cache_s else b""
        cached = self._cached(digest)
        if cached is not None:
            self.stats.outcomes["cached"] += 1
            self._remember(request)
            return cached
        try:
            answer = await self._call(self._style.question(request, headers), headers)
            if not answer.whole:
                raise BadAnswerError("its answer is too long, or broke off")
            decision = self._judge(self._style.read(answer, request), request)
        except (HttpClientError, BadAnswerError) as error:
            return self._failed(str(error))
        self.stats.outcomes["allowed" if decision.allowed else "refused"] += 1
        self._keep(digest, decision)
        if decision.allowed:
            self._remember(request)
        return decision

    async def tell(self, notice: Notice) -> bool:
        """Tells what has happened. False: the answer wants the session ended (``update``).

        Raises `HttpClientError` when there was no answer.
        """
        answer = await self._call(self._style.notice(notice), {})
        # nginx-rtmp: 2xx and 3xx let it go on.
        return answer.status // 100 in (2, 3)

    def asked(self, session_id: str, *, forget: bool = False) -> AccessRequest | None:
        """What a session asked when it came, if it is remembered."""
        return self._asked.pop(session_id, None) if forget else self._asked.get(session_id)

    # ---- the call ---------------------------------------------------------------------------

    async def _call(self, body: Body, headers: Mapping[str, str]) -> HttpAnswer:
        url, method = self.config.url.reveal(), self.config.method
        sent = dict(headers)
        data: bytes | None = None
        if method is HookMethod.GET:
            url += ("&" if "?" in url else "?") + body.as_query()
        elif body.form:
            sent["Content-Type"] = "application/x-www-form-urlencoded"
            data = body.as_query().encode()
        else:
            sent["Content-Type"] = "application/json"
            data = body.as_json()
        return await self._client.request(
            method.value, url, timeout_s=self.timeout_s, headers=sent, body=data
        )

    def _headers(self, request: AccessRequest) -> dict[str, str]:
        """The named headers of the client's request, if they can be passed on as they are."""
        found: dict[str, str] = {}
        by_name = {name.lower(): value for name, value in request.headers.items()}
        for name in self.config.forward_headers:
            value = by_name.get(name.lower())
            if value is not None and len(value) <= _MAX_HEADER and value.isprintable():
                found[name] = value
        return found

    # ---- the answer -------------------------------------------------------------------------

    def _judge(self, verdict: Verdict, request: AccessRequest) -> Decision:
        if not verdict.allowed:
            reason = verdict.reason or "the access hook refused"
            missing = request.action in (Action.API, Action.METRICS) and not request.credentials()
            return Decision(False, reason, self.name, missing, innocent=verdict.outage)
        expires_s = None
        if verdict.expires_in_s is not None:
            expires_s = self._clock.wall_ns() // 1_000_000_000 + verdict.expires_in_s
        return Decision(
            True,
            verdict.reason or "the access hook allows it",
            self.name,
            expires_s=expires_s,
            stream=verdict.stream,
            destinations=verdict.destinations,
        )

    def _failed(self, reason: str) -> Decision:
        self.stats.outcomes["failed"] += 1
        self._complain("the access hook %s failed: %s", self.name, reason)
        if self.config.fail is HookFail.OPEN:
            return Decision(True, "the access hook is silent, and set to let in", self.name)
        return Decision(False, "access cannot be checked at the moment", self.name, innocent=True)

    # ---- memory -----------------------------------------------------------------------------

    def _cached(self, digest: bytes) -> Decision | None:
        found = self._cache.get(digest)
        if found is None:
            return None
        until_ns, decision = found
        now_s = self._clock.wall_ns() // 1_000_000_000
        over = decision.expires_s is not None and decision.expires_s <= now_s
        if over or self._clock.monotonic_ns() >= until_ns:
            del self._cache[digest]
            return None
        return decision

    def _keep(self, digest: bytes, decision: Decision) -> None:
        # A backend in trouble is asked again at once.
        if not digest or decision.innocent:
            return
        until_ns = self._clock.monotonic_ns() + round(self.config.cache_s * 1e9)
        self._cache[digest] = (until_ns, decision)
        while len(self._cache) > _MAX_CACHED:
            self._cache.popitem(last=False)

    def _remember(self, request: AccessRequest) -> None:
        """For notices, which repeat what the session had asked."""
        if not self._actions & _TOLD:
            return
        self._asked[request.id] = request
        while len(self._asked) > _MAX_REMEMBERED:
            self._asked.popitem(last=False)


_TOLD: Final = frozenset({HookAction.PUBLISH_DONE, HookAction.PLAY_DONE, HookAction.UPDATE})


def _digest(request: AccessRequest, headers: Mapping[str, str]) -> bytes:
    """The question without what differs each time. A hash: credentials are not kept."""
    details = {name: text for name, text in request.details.items() if name != "connection"}
    text = repr(
        (
            request.action, request.protocol, request.stream, request.remote_ip, request.write,
            request.user, request.password, request.token, sorted(request.query.items()),
            request.user_agent, sorted(headers.items()), sorted(details.items()),
        )
    )  # fmt: skip
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
