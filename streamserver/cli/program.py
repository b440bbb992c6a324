"""The program: reads the words, does what they say, answers an exit code."""

import json
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TextIO

from streamserver.cli.arguments import Options, parse
from streamserver.cli.check import certificate_faults, report, webhook_faults
from streamserver.cli.serve import RunServer, serve
from streamserver.cli.versions import versions
from streamserver.config import InvalidConfigError, LoadedConfig, load
from streamserver.logging_setup import set_up_logging

__all__ = ["Context", "execute", "main"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Context:
    """What the program has around it."""

    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    """The environment variables."""

    directory: Path = field(default_factory=Path)
    """Where ``config.toml`` is looked for."""

    stdout: TextIO = field(default_factory=lambda: sys.stdout)
    """For answers, and for the log."""

    stderr: TextIO = field(default_factory=lambda: sys.stderr)
    """For the banner and for faults."""

    run: RunServer | None = None
    """In place of the real server, for tests."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; answers the exit code."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    try:
        code = execute(options, Context())
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # `streamserver openapi | head`: the reader has seen enough. What is left in the buffer
        # goes nowhere, so that the interpreter does not complain at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def execute(options: Options, context: Context) -> int:
    """Does what the options say."""
    return _COMMANDS[options.command](options, context)


def _load(options: Options, context: Context) -> LoadedConfig:
    return load(
        options.config,
        environ=context.environ,
        overrides=options.overrides,
        directory=context.directory,
    )


def _refuse(error: InvalidConfigError, context: Context) -> int:
    for fault in error.faults:
        context.stderr.write(f"{fault}\n")
    return error.exit_code


def _serve(options: Options, context: Context) -> int:
    try:
        loaded = _load(options, context)
    except InvalidConfigError as error:
        return _refuse(error, context)
    log = loaded.config.log
    redactor = set_up_logging(
        log.level,
        log.format,
        secrets=loaded.secrets(),
        stream=context.stdout,
        environ=context.environ,
    )
    for warning in loaded.warnings:
        logger.warning("%s", warning)
    return serve(loaded, options, redactor, run=context.run, stderr=context.stderr)


def _check(options: Options, context: Context) -> int:
    try:
        loaded = _load(options, context)
        faults = certificate_faults(loaded) + webhook_faults(loaded)
        if faults:
            raise InvalidConfigError(faults)
    except InvalidConfigError as error:
        return _refuse(error, context)
    context.stdout.write(report(loaded))
    return 0


def _doctor(options: Options, context: Context) -> int:
    try:
        loaded = _load(options, context)
    except InvalidConfigError as error:
        return _refuse(error, context)
    # Late: the other commands need none of what it imports.
    from streamserver.cli.doctor import run_doctor

    return run_doctor(loaded.config, options, context.environ, context.stdout)


def _openapi(options: Options, context: Context) -> int:
    # Late: the other commands need none of what it imports.
    from streamserver.api.openapi import document

    context.stdout.write(json.dumps(document(), indent=2) + "\n")
    return 0


def _sink(options: Options, context: Context) -> int:
    # Late, as above.
    from streamserver.cli.sink import run_sink

    return run_sink(options, stdout=context.stdout, stderr=context.stderr)


def _version(options: Options, context: Context) -> int:
    found = versions()
    if options.json:
        context.stdout.write(json.dumps(found) + "\n")
    else:
        context.stdout.write("".join(f"{name:<13} {value}\n" for name, value in found.items()))
    return 0


_COMMANDS: Final[dict[str, Callable[[Options, Context], int]]] = {
    "serve": _serve,
    "demo": _serve,
    "check": _check,
    "doctor": _doctor,
    "sink": _sink,
    "openapi": _openapi,
    "version": _version,
}
