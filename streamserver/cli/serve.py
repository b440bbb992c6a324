"""``streamserver serve``: from the command line to a running server, and to an exit code."""

import asyncio
import gc
import importlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TextIO

from streamserver import __version__
from streamserver.auth import GeneratedSecret
from streamserver.cli.arguments import Options
from streamserver.cli.banner import BannerInfo, banner
from streamserver.config import LoadedConfig
from streamserver.errors import ConfigError, UnavailableError
from streamserver.logging_setup import Redactor, use_color
from streamserver.net import Listening, lan_address

__all__ = ["RunServer", "Running", "banner_info", "exit_code", "loop_factory", "serve"]

logger = logging.getLogger(__name__)

_FAILURE: Final = 1
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

_CLOSING_S: Final = 10
"""Seconds for what has to be closed and told after the drain; each part of it has its own bound,
and their sum is less."""


class HasSecrets(Protocol):
    """`streamserver.auth.Access`, as far as the banner looks."""

    @property
    def publish_key(self) -> GeneratedSecret | None:
        """The generated publish key, if there is one."""

    @property
    def api_token(self) -> GeneratedSecret | None:
        """The generated API token, if there is one."""


class Running(Protocol):
    """What the server tells when all its ports are open."""

    @property
    def listeners(self) -> Sequence[Listening]:
        """What is open."""

    @property
    def access(self) -> HasSecrets:
        """Holds the secrets that this run made."""

    @property
    def durable(self) -> bool:
        """Whether the storage outlives the process."""


class RunServer(Protocol):
    """`streamserver.daemon.run`: serves until it is cancelled, and then drains before it ends."""

    def __call__(
        self,
        config: LoadedConfig,
        *,
        demo: bool,
        tls_self_signed: bool,
        open_browser: bool,
        ready: Callable[[Running], None],
    ) -> Coroutine[Any, Any, None]:
        """Calls ``ready`` once, when all ports are open."""


@dataclass(slots=True)
class _Stop:
    """The signals: the first one drains, the second one ends the process now."""

    task: asyncio.Task[None]
    within_s: float
    asked: bool = False
    late: threading.Timer | None = None

    def __call__(self, number: int) -> None:
        name = signal.Signals(number).name
        if not self.asked:
            self._begin(name)
        else:
            logger.warning("%s again: ending now", name)
            logging.shutdown()
            # Not sys.exit: what still runs is what did not end in time.
            os._exit(128 + number)

    def _begin(self, name: str) -> None:
        self.asked = True
        logger.info("%s: draining; once more ends at once", name)
        self.task.cancel(name)
        # In a thread: whatever hangs may be the loop.
        self.late = threading.Timer(self.within_s, self._end_late)
        self.late.daemon = True
        self.late.start()

    def done(self) -> None:
        """The server has ended in time."""
        if self.late is not None:
            self.late.cancel()

    def _end_late(self) -> None:
        logger.critical("the server did not end within %g s: ending now", self.within_s)
        logging.shutdown()
        os._exit(_FAILURE)


def serve(
    loaded: LoadedConfig,
    options: Options,
    redactor: Redactor,
    *,
    run: RunServer | None = None,
    stderr: TextIO | None = None,
) -> int:
    """Runs the server until a signal ends it; answers the exit code.

    ``run`` takes the place of `streamserver.daemon.run`, for tests.
    """
    stderr = stderr or sys.stderr
    server = run or _server()

    def ready(running: Running) -> None:
        info = banner_info(loaded, running, demo=options.command == "demo")
        redactor.register(*filter(None, (info.publish_key, info.api_token)))
        stderr.write("\n" + banner(info, color=use_color(stderr, os.environ)) + "\n")
        stderr.flush()

    async def until_stopped() -> None:
        task = asyncio.create_task(
            server(
                loaded,
                demo=options.command == "demo",
                tls_self_signed=options.tls_self_signed,
                open_browser=options.open_browser,
                ready=ready,
            ),
            name="server",
        )
        stop = _Stop(task, loaded.config.server.drain_timeout_s + _CLOSING_S)
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, stop, number)
        try:
            await task
        except asyncio.CancelledError:
            if not stop.asked:
                raise
        finally:
            stop.done()

    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(until_stopped())
    except Exception as error:
        # The one place where everything that ended the server becomes an exit code.
        return exit_code(error, stderr)
    finally:
        gc.enable()  # a start that failed never came to it
    return 0


def banner_info(loaded: LoadedConfig, running: Running, *, demo: bool) -> BannerInfo:
    """What the banner says of a running server."""
    config, access = loaded.config, running.access
    return BannerInfo(
        version=__version__,
        config_source=str(loaded.file or "no file, all defaults"),
        listeners=running.listeners,
        host=lan_address(),
        public_url=config.http.public_url,
        app=config.server.apps[0] if config.server.apps else "live",
        demo=demo,
        key_needed=not config.auth.anonymous_publish,
        local_key_needed=access.publish_key is None,
        behind_proxy=bool(config.http.trusted_proxies),
        publish_key=access.publish_key.value if access.publish_key else None,
        api_token=access.api_token.value if access.api_token else None,
        token_configured=access.api_token is None,
        durable=running.durable,
    )


def _server() -> RunServer:
    # What is made from now on stays: the collector would look through it again and again.
    # `daemon.run` enables it when all is open.
    gc.disable()
    # Late: `check` and `version` need none of what it imports.
    server: RunServer = importlib.import_module("streamserver.daemon").run
    return server


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the loop that the program runs on; None for Python's own."""
    if sys.platform != "linux":
        return None
    import uvloop

    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def exit_code(error: Exception, stderr: TextIO) -> int:
    """Says what ended the program, and answers its exit code."""
    for cause in _causes(error):
        if isinstance(cause, ConfigError | UnavailableError):
            stderr.write(f"streamserver: {cause}\n")
            return cause.exit_code
    logger.critical("the server failed", exc_info=error)
    return _FAILURE


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error itself, or all that a task group gathered."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _causes(inner)
    else:
        yield error
