"""The words of the command line."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from streamserver.config import LogLevel
from streamserver.errors import ConfigError

__all__ = ["COMMANDS", "Options", "SinkOptions", "parse"]

COMMANDS: Final = {
    "serve": "run the server (the default)",
    "demo": "run the server, and publish a moving test picture as live/demo",
    "check": "read the configuration and print what would run, or every fault in it",
    "doctor": "look at this host, and try the way from an encoder to a player",
    "sink": "take what publishers send and count it, or misbehave: a destination for tests",
    "openapi": "print the OpenAPI document of the API",
    "version": "print the versions",
}
"""Each command and what it does."""

_EXIT_CODES: Final = (
    "exit codes: 0 done, 1 failed while running, 2 wrong usage, 69 a port is taken or a service is "
    "missing, 78 the configuration is at fault"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkOptions:
    """What was asked of the sink."""

    host: str = "localhost"
    """The address to listen on; empty: all."""

    port: int = 1937
    """The port; 0 takes a free one."""

    misbehave: str = "none"
    """A text that `Misbehavior.parse` takes."""

    tls: bool = False
    """Whether to speak RTMPS."""

    save_cert: str | None = None
    """The file that the certificate of this run is written to, so that others can trust it."""


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

    running: bool = False
    """Whether the doctor tries the server that runs, not one of its own."""

    key: str = field(default="", repr=False)
    """The key that the doctor publishes with there."""

    sink: SinkOptions = field(default_factory=SinkOptions)
    """For the command ``sink``."""


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
        running=found.get("running", False),
        key=found.get("key", ""),
        sink=_sink_options(found),
    )


def _sink_options(found: dict[str, object]) -> SinkOptions:
    given = {name: found[name] for name in SinkOptions.__slots__ if name in found}
    return SinkOptions(**given)  # type: ignore[arg-type]  # argparse made them of these types


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
        "doctor": [configuring, _examining()],
        "sink": [_sinking()],
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


def _examining() -> argparse.ArgumentParser:
    group = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    group.add_argument(
        "--running",
        action="store_true",
        help="try the server that runs with this configuration, not one of the doctor's own",
    )
    group.add_argument("--key", help="the key to publish with there")
    group.add_argument("--json", action="store_true", help="one JSON object in the end")
    return group


def _sinking() -> argparse.ArgumentParser:
    group = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    group.add_argument("--host", help='the address to listen on; "" for all (default: localhost)')
    group.add_argument("--port", type=_port, help="the port (default: 1937)")
    group.add_argument(
        "--misbehave",
        metavar="HOW",
        type=_misbehavior,
        help="refuse, silent, garbage, web, reject[:WHY], stall, drop:10s, slow:500k, "
        "close-each[:NUMBER], tls-bad:name or tls-bad:expired",
    )
    group.add_argument("--tls", action="store_true", help="speak RTMPS, self-signed")
    group.add_argument(
        "--save-cert", metavar="PATH", help="write the certificate there, for clients to trust"
    )
    group.add_argument("--json", action="store_true", help="one JSON object per line")
    return group


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is no port")
    return int(text)


def _misbehavior(text: str) -> str:
    # Late: the other commands need none of what it imports.
    from streamserver.sink.misbehavior import Misbehavior

    try:
        Misbehavior.parse(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


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
