"""What a newcomer sees first: where everything is, and what to paste into OBS."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from streamserver.net import Listening, is_loopback

__all__ = ["BannerInfo", "banner"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BannerInfo:
    """What the banner is made of."""

    version: str
    """Our version."""

    config_source: str
    """The configuration file, or that there is none."""

    listeners: Sequence[Listening]
    """What is open."""

    host: str
    """The address of this host in its network, for listeners on all addresses."""

    public_url: str = ""
    """How the world reaches the pages, where that is configured."""

    app: str = "live"
    """The app in the example to paste."""

    demo: bool = False
    """Whether the demonstration is published, as ``live/demo``."""

    key_needed: bool = True
    """Whether publishing from elsewhere needs a key."""

    local_key_needed: bool = False
    """Whether publishing from this machine needs one too: keys are configured."""

    behind_proxy: bool = False
    """Whether trusted proxies are configured: what comes from this machine may then be theirs."""

    publish_key: str | None = field(default=None, repr=False)
    """The generated publish key, in the run that made it."""

    api_token: str | None = field(default=None, repr=False)
    """The generated API token, in the run that made it."""

    token_configured: bool = False
    """Whether the API token comes from the configuration."""

    durable: bool = True
    """Whether the storage outlives the process."""


def banner(info: BannerInfo, *, color: bool = False) -> str:
    """The text, ending with a line feed. Colours only when asked for."""
    lines = [_bold(f"streamserver {info.version}", color), f"configuration: {info.config_source}"]
    lines += ["", *(_row(each.name, each.url(info.host)) for each in info.listeners)]
    rtmp = _first(info, "rtmp", "rtmps")
    if rtmp is not None:
        lines += ["", _bold("Publish with OBS Studio", color), *_obs_block(info, rtmp)]
    web = info.public_url or _first(info, "http", "https")
    if web:
        stream = "live/demo" if info.demo else f"{info.app}/demo"
        lines += [
            "",
            _row("Watch", f"{web}/play/{stream}"),
            _row("Dashboard", f"{web}/"),
            _row("Sign in with", _token(info)),
        ]
    lines += _notes(info)
    return "\n".join(lines) + "\n"


def _obs_block(info: BannerInfo, rtmp: str) -> list[str]:
    name = "camera" if info.demo else "demo"
    key = name
    if info.key_needed:
        key = f"{name}?key={info.publish_key or '<your publish key>'}"
    # OBS's own default of 8.33 s between keyframes makes every viewer wait.
    block = [
        "  Settings > Stream",
        _row("  Service", "Custom..."),
        _row("  Server", f"{rtmp}/{info.app}"),
        _row("  Stream Key", key),
        "  Settings > Output > Streaming (Output Mode: Advanced)",
        _row("  Keyframe interval", "2 s"),
    ]
    if info.key_needed and not (info.local_key_needed or info.behind_proxy):
        local = rtmp.replace(info.host, "localhost")
        block.append(f"  On this machine {local}/{info.app} with the key {name} will do.")
    return block


def _token(info: BannerInfo) -> str:
    if info.api_token is not None:
        return info.api_token
    return "[auth] api_token" if info.token_configured else "the API token of the first run"


def _notes(info: BannerInfo) -> list[str]:
    shown = [
        what
        for what, value in (("publish key", info.publish_key), ("API token", info.api_token))
        if value is not None
    ]
    notes = []
    if shown and info.durable:
        are = "are" if len(shown) > 1 else "is"
        notes.append(f"The {' and the '.join(shown)} {are} shown this once; write them down.")
    elif shown:
        notes.append(f"The {' and the '.join(shown)} will be others at the next start.")
    if not info.key_needed:
        notes.append("Anyone who reaches this server can publish ([auth] anonymous_publish).")
    elif info.publish_key is None and not info.local_key_needed:
        notes.append(
            "The publish key was shown at the first run. If it is lost, set one: [auth] keys."
        )
    if info.listeners and all(is_loopback(each.host) for each in info.listeners):
        notes.append("All ports are open to this machine only.")
    return ["", *notes] if notes else []


def _first(info: BannerInfo, *schemes: str) -> str | None:
    for scheme in schemes:
        for listener in info.listeners:
            if listener.scheme == scheme:
                return listener.url(info.host)
    return None


def _row(name: str, value: str) -> str:
    return f"{name:<20} {value}"


def _bold(text: str, color: bool) -> str:
    return f"\x1b[1m{text}\x1b[0m" if color else text
