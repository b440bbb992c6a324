"""A command line with everything around it replaced."""

import io
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamserver.auth import GeneratedSecret
from streamserver.auth.access import API_TOKEN, PUBLISH_KEY
from streamserver.auth.hashes import hash_secret
from streamserver.cli.arguments import parse
from streamserver.cli.program import Context, execute
from streamserver.cli.serve import HasSecrets, Running
from streamserver.config import LoadedConfig
from streamserver.net import Listening

KEY, TOKEN = "k" * 32, "t" * 32

LISTENERS = (Listening("RTMP", "rtmp", "", 1935), Listening("HTTP", "http", "", 8080))


def secret(name: str, value: str | None) -> GeneratedSecret:
    return GeneratedSecret(name, hash_secret(value or "x"), value)


@dataclass(frozen=True)
class Secrets:
    """What the banner shows of who may."""

    publish_key: GeneratedSecret | None = None
    api_token: GeneratedSecret | None = None


@dataclass
class FakeRunning:
    """A server whose ports are open."""

    listeners: Sequence[Listening] = LISTENERS
    access: HasSecrets = field(
        default_factory=lambda: Secrets(secret(PUBLISH_KEY, KEY), secret(API_TOKEN, TOKEN))
    )
    durable: bool = True


async def nothing() -> None:
    """What a server does that ends at once."""


@dataclass
class FakeServer:
    """In place of `streamserver.daemon.run`: keeps what it was told, then does ``body``."""

    body: Callable[[], Coroutine[Any, Any, None]] = nothing
    running: FakeRunning = field(default_factory=FakeRunning)
    told: dict[str, Any] = field(default_factory=dict)

    async def __call__(
        self,
        config: LoadedConfig,
        *,
        demo: bool,
        tls_self_signed: bool,
        open_browser: bool,
        ready: Callable[[Running], None],
    ) -> None:
        self.told.update(
            config=config, demo=demo, tls_self_signed=tls_self_signed, open_browser=open_browser
        )
        ready(self.running)
        await self.body()


@dataclass
class Ran:
    """How the program ended and what it wrote."""

    code: int
    out: str
    err: str


def run_program(
    *arguments: str,
    directory: Path = Path("/nowhere"),
    environ: dict[str, str] | None = None,
    server: FakeServer | None = None,
) -> Ran:
    out, err = io.StringIO(), io.StringIO()
    context = Context(environ or {}, directory, out, err, server or FakeServer())
    code = execute(parse(arguments), context)
    return Ran(code, out.getvalue(), err.getvalue())
