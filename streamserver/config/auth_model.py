"""``[auth]``: who may. As `streamserver.config.model`, of which it is a part."""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from streamserver.config.secret import Secret
from streamserver.config.units import Seconds

__all__ = [
    "AuthConfig",
    "DeciderName",
    "HookAction",
    "HookConfig",
    "HookFail",
    "HookMethod",
    "HookStyle",
    "JwtConfig",
    "KeyAction",
    "KeyConfig",
]


class KeyAction(StrEnum):
    """What a configured key may allow."""

    PUBLISH = "publish"
    PLAY = "play"
    API = "api"
    METRICS = "metrics"


class DeciderName(StrEnum):
    """The voices of the chain that the server has itself."""

    KEYS = "keys"
    """``[auth] keys``."""

    STREAM_KEYS = "stream_keys"
    """The keys of registered streams."""

    TOKENS = "tokens"
    """Tokens that this server signed."""

    JWT = "jwt"
    """``[auth.jwt]``."""

    HOOKS = "hooks"
    """``[[auth.hooks]]``, in their order."""


class HookAction(StrEnum):
    """What a hook is asked or told."""

    CONNECT = "connect"
    """An RTMP connection begins; nginx-rtmp's and SRS's styles."""

    DISCONNECT = "disconnect"
    """An RTMP connection that was let in has ended; told. nginx-rtmp's and SRS's styles."""

    PUBLISH = "publish"
    """Somebody wants to publish."""

    PUBLISH_DONE = "publish_done"
    """A publisher has left; told, not asked. nginx-rtmp's and SRS's styles."""

    PLAY = "play"
    """Somebody wants to watch."""

    PLAY_DONE = "play_done"
    """A viewer has left; told, not asked. nginx-rtmp's and SRS's styles."""

    UPDATE = "update"
    """A publisher or viewer is still here; nginx-rtmp's style."""

    API = "api"
    """A call of the API."""

    METRICS = "metrics"
    """A reading of the metrics."""


class HookStyle(StrEnum):
    """Whose words a hook understands."""

    STREAMSERVER = "streamserver"
    MEDIAMTX = "mediamtx"
    NGINX_RTMP = "nginx-rtmp"
    SRS = "srs"


class HookMethod(StrEnum):
    """How a hook is called."""

    POST = "POST"
    GET = "GET"


class HookFail(StrEnum):
    """What a hook that gives no answer means."""

    CLOSED = "closed"
    OPEN = "open"


class KeyConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of ``[auth] keys``."""

    key: Secret = Secret("")
    """The key itself, or its hash as ``sha256:…`` or ``scrypt:…``; empty: the address is enough."""

    app: str = "*"
    """The app that it opens; ``*`` stands for any characters."""

    name: str = "*"
    """The stream name that it opens; ``*`` stands for any characters."""

    actions: tuple[KeyAction, ...] = (KeyAction.PUBLISH,)
    """What it allows."""

    ips: tuple[str, ...] = ()
    """Addresses and networks from which it opens; empty: from anywhere."""


class HookConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One ``[[auth.hooks]]``: a URL that is asked."""

    url: Secret
    """``http://`` or ``https://``."""

    actions: tuple[HookAction, ...] = (HookAction.PUBLISH, HookAction.PLAY)
    """What it is asked and told."""

    protocols: tuple[str, ...] = ()
    """Only for these (``rtmp``, ``hls``, ``flv``, ``whip``, ``whep``, ``http``); empty: all."""

    style: HookStyle = HookStyle.STREAMSERVER
    """Whose words it understands."""

    method: HookMethod = HookMethod.POST
    """POST, or GET with everything in the query."""

    forward_headers: tuple[str, ...] = ()
    """Headers of the client's HTTP request that it is told, such as ``Cookie``."""

    timeout_s: Annotated[float, Meta(gt=0, le=60)] = 5
    """Within this time it has answered."""

    cache_s: Annotated[float, Meta(ge=0, le=3600)] = 0
    """How long an answer holds for the same question; 0: always ask."""

    fail: HookFail = HookFail.CLOSED
    """What no answer means: ``closed`` refuses, ``open`` allows."""

    update_s: Annotated[float, Meta(ge=1, le=3600)] = 30
    """How often ``update`` is told of each publisher and viewer."""


class JwtConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[auth.jwt]``: tokens that somebody else signs. Off without a key to check them with."""

    secret: Secret = Secret("")
    """For HS256, HS384 and HS512: the shared secret, 32 characters or more."""

    secret_file: str = ""
    """The file that holds it."""

    public_key_file: str = ""
    """For RS, PS and ES: the public key (PEM)."""

    jwks_url: str = ""
    """Where the public keys are published (RFC 7517)."""

    jwks_cache_s: Annotated[float, Meta(ge=10, le=86400)] = 600
    """How long they hold; when they cannot be fetched again, the old ones stay."""

    issuer: str = ""
    """The ``iss`` that tokens must have; empty: any."""

    audience: str = ""
    """The ``aud`` that tokens must have; empty: any."""

    stream_claim: Annotated[str, Meta(min_length=1)] = "stream"
    """The claim with the stream, or a list: ``app/name`` with ``*`` for any characters."""

    actions_claim: Annotated[str, Meta(min_length=1)] = "actions"
    """The claim with a list of ``publish play manage read api metrics``."""


class AuthConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[auth]``: who may."""

    api_token: Secret = Secret("")
    """The bearer token of the API; empty: the first run makes one and prints it once."""

    keys: tuple[KeyConfig, ...] = ()
    """Keys that publish or play; with none that publishes, the first run makes one."""

    anonymous_publish: bool = False
    """Whether anyone may publish without a key."""

    open_play: bool = True
    """Whether anyone may watch without a key."""

    order: tuple[DeciderName, ...] = tuple(DeciderName)
    """Who is asked, in this order; the first that has an opinion decides."""

    hooks: tuple[HookConfig, ...] = ()
    """URLs that are asked."""

    ban_after: Annotated[int, Meta(ge=0, le=1_000_000)] = 30
    """Failed tries after which an address is banned; 0: never."""

    ban_window_s: Seconds = 60
    """The time within which they count."""

    ban_s: Annotated[float, Meta(gt=0, le=86400)] = 300
    """How long an address is banned."""

    jwt: JwtConfig = JwtConfig()
    """Tokens that somebody else signs."""
