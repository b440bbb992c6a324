"""How log records look: one readable line or one JSON object, and never a secret in either.

Only the command line calls `set_up_logging`; a library that embeds the server keeps its own.
Records carry facts as ``extra={"stream": …, "session": …, "remote": …}``.
"""

import json
import logging
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TextIO
from urllib.parse import quote

__all__ = [
    "JsonFormatter",
    "RateLimitedLogger",
    "RedactingFilter",
    "Redactor",
    "TextFormatter",
    "escape_controls",
    "set_level",
    "set_up_logging",
    "use_color",
]

_MASK: Final = "***"
_WORDS: Final = (
    r"(?:access_?|api_?|stream_?|publish_?|secret_?|private_?|auth_?)?(?:key|token)"
    r"|secret|passw(?:or)?d|passphrase|pass|pwd|jwt|signature|sig|authorization|cookie"
)
# What ends an unquoted value, in a URL, a header, a repr or a sentence.
_VALUE: Final = r"[^\s&;,'\"<>)\]}]+"

_PATTERNS: Final = (
    # "Authorization: Bearer x", "Basic x"
    (re.compile(r"(?i)\b(bearer|basic)(\s+)[A-Za-z0-9._~+/=-]{6,}"), rf"\1\2{_MASK}"),
    # rtmp://user:password@host
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]{0,20}://)[^\s/?#@'\"<>]+@"), rf"\1{_MASK}@"),
    # 'token': 'x', "token": "x", token='x', and the bytes of them
    (
        re.compile(
            rf"(?i)((?:['\"](?:{_WORDS})['\"]\s*:\s*|(?<![A-Za-z0-9])(?:{_WORDS})=)b?)"
            r"(['\"])(?:(?!\2).)*\2"
        ),
        rf"\1\2{_MASK}\2",
    ),
    # ?x: a stream key's query that is nothing but the secret
    (re.compile(r"\?[A-Za-z0-9._~-]{6,}(?![A-Za-z0-9._~=%-])"), f"?{_MASK}"),
    # ?key=x, &token=x, password=x, also percent-encoded once
    (
        re.compile(rf"(?i)(?<![A-Za-z0-9])((?:{_WORDS})(?:=|%3D))(?!\*\*\*|b['\"]){_VALUE}"),
        rf"\1{_MASK}",
    ),
)
_SECRET_NAME: Final = re.compile(rf"(?i)(?:{_WORDS})\Z")

# C0 and C1 controls and DEL end lines and drive terminals; the others reorder or break text.
_CONTROLS: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_MIN_REGISTERED: Final = 6
_MAX_MESSAGE: Final = 8192
_MAX_TRACEBACK: Final = 65536

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def escape_controls(text: str) -> str:
    """A text whose control characters stand as ``\\n``, ``\\x1b`` and the like, on one line."""
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class Redactor:
    """Replaces what is, or looks like, a credential with ``***``."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._registered: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self.register(*secrets)

    def register(self, *secrets: str) -> None:
        """Masks these texts wherever they appear, also percent-encoded.

        Texts under six characters are left alone: they would mask half of every line.
        """
        for secret in secrets:
            if len(secret) >= _MIN_REGISTERED:
                self._registered.update((secret, quote(secret, safe="")))
        longest_first = sorted(self._registered, key=len, reverse=True)
        if longest_first:
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def clean(self, text: str) -> str:
        """The text without credentials."""
        if self._pattern is not None:
            text = self._pattern.sub(_MASK, text)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return text

    def clean_fact(self, name: str, value: Any) -> Any:
        """A fact of a record, as a number, a truth, None or a text without credentials."""
        if value is None or isinstance(value, bool | int | float):
            return value
        return _MASK if _SECRET_NAME.match(name) else self.clean(_cut(str(value), _MAX_MESSAGE))


class RedactingFilter(logging.Filter):
    """Cleans a record's message, its exception and its facts before any formatter sees them."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def filter(self, record: logging.LogRecord) -> bool:
        """Changes the record in place; lets every one pass."""
        redactor = self._redactor
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError) as error:
            # A wrong number of arguments must not cost the line.
            message = f"{record.msg} (cannot be formatted: {error})"
        record.msg, record.args = redactor.clean(_cut(message, _MAX_MESSAGE)), None
        if record.exc_info:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            # Formatters use the text when there is one.
            record.exc_text = redactor.clean(_cut(record.exc_text, _MAX_TRACEBACK))
        if record.stack_info:
            record.stack_info = redactor.clean(_cut(record.stack_info, _MAX_TRACEBACK))
        for name, value in _facts(record):
            record.__dict__[name] = redactor.clean_fact(name, value)
        return True


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}... ({len(text)} characters)"


def _facts(record: logging.LogRecord) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in vars(record).items() if name not in _STANDARD]


def _short_name(record: logging.LogRecord) -> str:
    return record.name.removeprefix("streamserver.")


def _traceback_lines(record: logging.LogRecord) -> list[str]:
    text = "\n".join(filter(None, (record.exc_text, record.stack_info)))
    return text.splitlines()


class TextFormatter(logging.Formatter):
    """One line for people: local time, level, where, what, facts. A traceback follows indented."""

    _COLORS: Final = {"DEBUG": "2", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}

    def __init__(self, *, color: bool = False) -> None:
        super().__init__()
        self._color = color

    def format(self, record: logging.LogRecord) -> str:
        """The line, or the lines of an exception."""
        at = datetime.fromtimestamp(record.created).astimezone()
        level = f"{record.levelname.lower():<7}"
        if self._color and record.levelname in self._COLORS:
            level = f"\x1b[{self._COLORS[record.levelname]}m{level}\x1b[0m"
        facts = "".join(f"  {name}={escape_controls(str(value))}" for name, value in _facts(record))
        line = (
            f"{at:%H:%M:%S}.{at.microsecond // 1000:03d} {level} "
            f"{escape_controls(_short_name(record))}: {escape_controls(record.getMessage())}{facts}"
        )
        more = [f"    {escape_controls(text)}" for text in _traceback_lines(record)]
        return "\n".join([line, *more])


class JsonFormatter(logging.Formatter):
    """One JSON object on a line: ``ts level logger event``, the facts, and an ``exception``."""

    def format(self, record: logging.LogRecord) -> str:
        """The object; its text is ASCII without control characters."""
        at = datetime.fromtimestamp(record.created, UTC)
        entry: dict[str, Any] = {
            "ts": f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z",
            "level": record.levelname.lower(),
            "logger": _short_name(record),
            "event": record.getMessage(),
        }
        for name, value in _facts(record):
            entry.setdefault(name, value)
        trace = _traceback_lines(record)
        if trace:
            entry["exception"] = "\n".join(trace)
        return json.dumps(entry, default=str)


class RateLimitedLogger:
    """One line in an interval, however often something happens, with a count of the rest.

    For lines that a peer can cause at will. ``now_ns`` is a monotonic clock.
    """

    def __init__(
        self,
        logger: logging.Logger,
        *,
        interval_ns: int = 1_000_000_000,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._logger = logger
        self._interval_ns = interval_ns
        self._now_ns = now_ns
        self._next_ns: int | None = None
        self.suppressed = 0
        """How many lines were left out since the last one."""

    def log(self, level: int, message: str, *args: object, **facts: object) -> bool:
        """Writes the line, or counts it; answers whether it was written. ``facts`` go to extra."""
        if not self._logger.isEnabledFor(level):
            return False
        now = self._now_ns()
        if self._next_ns is not None and now < self._next_ns:
            self.suppressed += 1
            return False
        if self.suppressed:
            message += " (%d more like it were left out)"
            args = (*args, self.suppressed)
        self._next_ns = now + self._interval_ns
        self.suppressed = 0
        self._logger.log(level, message, *args, extra=facts)
        return True

    def info(self, message: str, *args: object, **facts: object) -> bool:
        """`log` at INFO."""
        return self.log(logging.INFO, message, *args, **facts)

    def warning(self, message: str, *args: object, **facts: object) -> bool:
        """`log` at WARNING."""
        return self.log(logging.WARNING, message, *args, **facts)


def set_level(level: str) -> None:
    """How much this package logs from now on: a name of `logging`, in any case."""
    logging.getLogger("streamserver").setLevel(level.upper())


def use_color(stream: TextIO, environ: Mapping[str, str] | None = None) -> bool:
    """Whether to colour: on a terminal, unless ``NO_COLOR`` is set (no-color.org)."""
    return stream.isatty() and not (environ or {}).get("NO_COLOR")


def set_up_logging(
    level: str = "info",
    form: str = "auto",
    *,
    secrets: Iterable[str] = (),
    stream: TextIO | None = None,
    environ: Mapping[str, str] | None = None,
) -> Redactor:
    """Sends all logging of the process to ``stream`` (standard output), redacted.

    ``form`` is ``auto``, ``text`` or ``json``. Answers the redactor, so that secrets which come
    later can be registered. A second call takes the place of the first.
    """
    stream = stream or sys.stdout
    redactor = Redactor(secrets)
    handler = logging.StreamHandler(stream)
    handler.addFilter(RedactingFilter(redactor))
    if form == "text" or (form == "auto" and stream.isatty()):
        handler.setFormatter(TextFormatter(color=use_color(stream, environ)))
    else:
        handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    # Other people's libraries speak up when something is wrong, or when we debug.
    root.setLevel(logging.DEBUG if level == "debug" else logging.WARNING)
    logging.getLogger("streamserver").setLevel(level.upper())
    # asyncio's debug lines tell of every slow callback and selector; they help nobody here.
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.captureWarnings(True)
    return redactor
