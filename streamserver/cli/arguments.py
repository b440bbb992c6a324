"""The words of the command line."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from streamserver.config import LogLevel

__all__ = ["COMMANDS", "Options", "parse"]

COMMANDS: Final = {
    "serve": "run the server (the default)",
    "demo": "run the server, and publish a moving test picture as live/demo",
    "check": "read the configuration and print what would run, or every fault in it",
    "openapi": "print the OpenAPI document of the API",
    "version": "print the versions",
}
"""Each command and what it does."""

_EXIT_CODES: Final = (
    "exit codes: 0 done, 1 failed while running, 2 wrong usage, 69 a port is taken or a service is "
    "missing, 78 the configuration is at fault"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was asked for."""

    command: str = "serve"
    """One of `COMMANDS`."""

    config: str | None = None
    """The configuration file, if one was named."""

    overrides: tuple[str, ...] = ()
    """``section.key=value``, each wins over file and environment."""

    open_browser: bool = False
    """Whether to open the dashboard in a browser."""

    tls_self_signed: bool = False
    """Whether to serve HTTPS with a certificate made on the spot."""

    json: bool = False
    """Whether to answer as JSON."""


def parse(arguments: Sequence[str]) -> Options:
    """Reads the arguments behind the program's name. Exits with 2 on wrong usage."""
    found = vars(_parser().parse_args(arguments))
    overrides = list(found.get("set") or [])
    if "log_level" in found:
        overrides.append(f"log.level={found['log_level']}")
    return Options(
        command=found["command"] or "serve",
        config=found.get("config"),
        overrides=tuple(overrides),
        open_browser=found.get("open", False),
        tls_self_signed=found.get("tls_self_signed", False),
        json=found.get("json", False),
    )


def _parser() -> argparse.ArgumentParser:
    configuring, serving = _configuring(), _serving()
    parser = argparse.ArgumentParser(
        prog="streamserver",
        description="A live media server: RTMP in, low-latency HLS out.",
        epilog=_EXIT_CODES,
        # Without a command these belong to `serve`.
        parents=[configuring, serving],
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    parents = {
        "serve": [configuring, serving],
        "demo": [configuring, serving],
        "check": [configuring],
    }
    for name, what in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=what,
            description=f"{what[0].upper()}{what[1:]}.",
            parents=parents.get(name, []),
            allow_abbrev=False,
        )
        if name == "version":
            command.add_argument("--json", action="store_true", help="as a JSON object")
    return parser


def _configuring() -> argparse.ArgumentParser:
    # SUPPRESS: an option that stands before the command is not overwritten by the default of the
    # same option behind it.
    group = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    group.add_argument("--config", metavar="PATH", help="the configuration file")
    group.add_argument(
        "--set",
        metavar="SECTION.KEY=VALUE",
        action=_Extend,
        help="set one key, over file and environment; can be given again",
    )
    group.add_argument("--log-level", choices=list(LogLevel), help="the same as --set log.level=")
    return group


def _serving() -> argparse.ArgumentParser:
    group = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    group.add_argument("--open", action="store_true", help="open the dashboard in a browser")
    group.add_argument(
        "--tls-self-signed",
        action="store_true",
        help="serve HTTPS with a certificate made on the spot, which browsers warn of once",
    )
    return group


class _Extend(argparse.Action):
    """Collects ``--set`` from before and behind the command.

    The parser of a command fills a namespace of its own, which then takes the place of what was
    collected before it: so the values live here.
    """

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]  # as argparse passes them
        self._values: list[str] = []

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        self._values.append(str(values))
        setattr(namespace, self.dest, self._values)
