"""Reads the configuration: flag over environment over file over default."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from streamserver.config.layers import ENVIRONMENT_PREFIX, Layers
from streamserver.config.model import Config
from streamserver.config.reader import Reader, dotted, leaf_paths
from streamserver.config.rules import broken_rules
from streamserver.config.sources import DEFAULT, Fault, InvalidConfigError, Source
from streamserver.config.toml_lines import KeyPath

__all__ = ["CONFIG_VARIABLE", "LoadedConfig", "load"]

CONFIG_VARIABLE: Final = ENVIRONMENT_PREFIX + "CONFIG"
"""The environment variable that names the file."""

_FILE_NAME: Final = "config.toml"


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A valid configuration that knows where each value came from."""

    config: Config = field(default_factory=Config)
    """The values."""

    file: Path | None = None
    """The file that was read, if any."""

    sources: Mapping[str, Source] = field(default_factory=dict)
    """The source of each key that somebody set, by dotted key."""

    warnings: tuple[str, ...] = ()
    """Sentences for people about what looks like a mistake."""

    again: "Callable[[], LoadedConfig] | None" = field(default=None, repr=False, compare=False)
    """Reads it once more from where it came; None for one that was not read."""

    def reread(self) -> "LoadedConfig":
        """The configuration as it stands there now; itself where it was not read from anywhere.

        Raises `InvalidConfigError`. Touches files: call it off the loop.
        """
        return self if self.again is None else self.again()

    def source(self, key: str) -> Source:
        """Where the value of a dotted key (``rtmp.port``) came from."""
        return self.sources.get(key, DEFAULT)

    def items(self) -> Iterator[tuple[str, Any, Source]]:
        """Every key with its value and source, in the order of the model. Secrets stay masked."""
        for path in leaf_paths(Config):
            value: Any = self.config
            for part in path:
                value = getattr(value, str(part))
            key = dotted(path)
            yield key, value, self.source(key)

    def secrets(self) -> tuple[str, ...]:
        """Every credential in it, for the mask of the logs."""
        auth = self.config.auth
        texts = [auth.api_token.reveal(), *(key.key.reveal() for key in auth.keys)]
        for server in self.config.webrtc.ice_servers:
            texts += [server.credential.reveal(), server.secret.reveal()]
        texts.append(auth.jwt.secret.reveal())
        urls = [one.url.reveal() for one in self.config.destinations]
        urls += [hook.url.reveal() for hook in auth.hooks if "?" in hook.url.reveal()]
        urls += [one.source.reveal() for one in self.config.streams.values()]
        for url in urls:
            # The key may hold slashes behind its question mark.
            texts += [url, url.partition("?")[0].rpartition("/")[2], url.partition("?")[2]]
        return tuple(text for text in texts if text)


def load(
    path: str | Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    overrides: Sequence[str] = (),
    directory: Path | None = None,
) -> LoadedConfig:
    """Reads file, environment and flags.

    ``path`` (else ``$STREAMSERVER_CONFIG``, else ``config.toml`` in ``directory``, by default the
    working directory, if there is one) names the file, ``overrides`` are ``section.key=value``.
    Raises `InvalidConfigError` with every fault found, not only the first.
    """
    environ = environ or {}
    again = partial(load, path, environ=environ, overrides=overrides, directory=directory)
    layers = Layers()
    file = _choose_file(path, environ, directory or Path())
    if file is not None:
        layers.add_file(file, str(file))
    layers.add_environment(environ)
    layers.add_flags(overrides)

    faults = layers.faults

    def fault(at: KeyPath, message: str) -> None:
        faults.append(Fault(layers.source_at(at), dotted(at), message))

    config = Reader(Config, fault).struct(Config, layers.values)
    # Rules are asked even after a fault (which leaves the default in place): all at once is
    # kinder. A rule that a default broke would be a false alarm, so only set keys speak.
    for at, message in broken_rules(config) if config is not None else ():
        if not faults or layers.source_at(at) is not DEFAULT:
            fault(at, message)
    if faults or config is None:
        raise InvalidConfigError(_in_order(faults))
    sources = {
        dotted(at): source
        for at in leaf_paths(Config)
        if (source := layers.sources.get(at, DEFAULT)) is not DEFAULT
    }
    return LoadedConfig(config, file, sources, tuple(layers.warnings), again)


def _choose_file(
    path: str | Path | None, environ: Mapping[str, str], directory: Path
) -> Path | None:
    named = path or environ.get(CONFIG_VARIABLE)
    if named:
        return Path(named)
    default = directory / _FILE_NAME
    return default if default.is_file() else None


def _in_order(faults: list[Fault]) -> list[Fault]:
    return sorted(faults, key=lambda f: (f.source.name, f.source.line or 0, f.key))
