"""``streamserver sink``: a destination that tells what it gets, until a signal ends it."""

import asyncio
import signal
from pathlib import Path
from typing import Final, TextIO

from streamserver.cli.arguments import Options
from streamserver.cli.serve import exit_code, loop_factory
from streamserver.errors import ConfigError, UnavailableError
from streamserver.sink import Misbehavior, Sink, SinkEvent, SinkSettings, as_json, as_text

__all__ = ["run_sink"]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def run_sink(options: Options, *, stdout: TextIO, stderr: TextIO) -> int:
    """Runs until SIGINT, SIGTERM or the end of who reads; answers the exit code."""
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(_until_stopped(options, stdout))
    except (ConfigError, UnavailableError) as error:
        return exit_code(error, stderr)
    return 0


async def _until_stopped(options: Options, stdout: TextIO) -> None:
    asked = options.sink
    form = as_json if options.json else as_text
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stopped.set)

    def tell(event: SinkEvent) -> None:
        try:
            stdout.write(form(event) + "\n")
            stdout.flush()
        except BrokenPipeError:
            # `streamserver sink | head`: the reader has seen enough.
            stopped.set()

    settings = SinkSettings(
        host=asked.host,
        port=asked.port,
        misbehavior=Misbehavior.parse(asked.misbehave),
        tls=asked.tls,
    )
    async with Sink(settings, tell=tell) as sink:
        if asked.save_cert and sink.certificate is not None:
            await asyncio.to_thread(_save, Path(asked.save_cert), sink.certificate.pem)
        await stopped.wait()


def _save(path: Path, pem: bytes) -> None:
    try:
        path.write_bytes(pem)
    except OSError as error:
        raise UnavailableError(f"{path} cannot be written: {error.strerror}") from error
