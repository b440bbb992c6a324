"""The pages as values: read once at the start, rendered, compressed, and then looked up.

Nothing of a request reaches the file system: `Pages.asset` is a look-up in a dictionary that was
filled at the start. Assets live under a name that their content decides, so a browser may keep
them for ever; the pages that name them are asked for each time.
"""

import gzip
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from html import escape
from importlib.resources import files
from importlib.resources.abc import Traversable
from types import MappingProxyType
from typing import Final

from streamserver.errors import InvalidNameError
from streamserver.names import StreamKey

__all__ = ["DOCS_PATH", "HLS_JS", "Asset", "PageKind", "Pages"]

HLS_JS: Final = "vendor/hls.js-1.7.4/hls.light.min.js"
"""The light build: it lacks alternative audio, subtitles and DRM, which we do not serve."""

_CONTENT_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    "LICENSE": "text/plain; charset=utf-8",
}
_PARTS: Final = ("stage", "forward", "destination")
"""Pieces that several pages have."""

_FAVICON: Final = "favicon.ico"
_STABLE_HLS_JS: Final = "hls.js"
_IMMUTABLE: Final = "public, max-age=31536000, immutable"
_REVALIDATE: Final = "no-cache"

# hls.js runs its demuxer in a worker from a blob and feeds the video element from one.
_POLICY: Final = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "media-src 'self' blob:; worker-src 'self' blob:; connect-src 'self'; object-src 'none'; "
    "base-uri 'none'; form-action 'self'"
)


class PageKind(StrEnum):
    """The pages, by the file that each is made of."""

    DASHBOARD = "dashboard"
    """``/``: no directory between it and the root of the server's paths."""

    PLAY = "play"
    """``/play/{app}/{name}``."""

    PUBLISH = "publish"
    """``/publish/{app}/{name}``."""

    EMBED = "embed"
    """``/embed/{app}/{name}``, the only one that other sites may frame."""

    DOCS = "docs"
    """``/api/v1/docs``: describes the API."""


DOCS_PATH: Final = "api/v1/docs"
"""Where the description of the API is, below the server's root."""

_OF_STREAMS: Final = (PageKind.PLAY, PageKind.PUBLISH, PageKind.EMBED)
"""The pages of one stream, two directories below the root."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A complete answer, but for the status line."""

    body: bytes
    """The bytes as they are."""

    gzip_body: bytes | None
    """The same for clients that accept gzip; None where it saves nothing."""

    content_type: str
    """The value of Content-Type."""

    cache_control: str
    """The value of Cache-Control."""

    etag: str
    """A strong entity tag of ``body``, with its quotes. The gzip body is another representation:
    weaken the tag (``W/``) when serving that one."""

    headers: Mapping[str, str]
    """Further headers, security policies among them."""


class Pages:
    """All pages and what they refer to.

    Pages refer to everything relatively, by their own depth below the root of the server's paths,
    so that any path prefix in front works without being known.
    """

    def __init__(self, *, embed_ancestors: str = "*", https: str = "") -> None:
        """``embed_ancestors`` is the CSP source list of sites that may frame the embedded player.
        ``https`` is where browsers reach the same pages over HTTPS, which they want for cameras: a
        URL, or ``:8443`` on the host at which the page was asked for; empty: nowhere.

        Reads every file of the package's ``static`` and ``vendor`` folders.
        """
        here = files("streamserver.web")
        sources = dict(_walk(here / "static", ""))
        pages = {kind: sources.pop(f"{kind}.html").decode() for kind in PageKind}
        parts = {name: sources.pop(f"{name}.html").decode().strip() for name in _PARTS}
        sources.update(_walk(here / "vendor", "vendor/"))
        self.version = _version(sources)
        self._assets = {
            f"{self.version}/{path}": _asset(path, body, _IMMUTABLE, {})
            for path, body in sources.items()
        }
        # Asked for by browsers whatever a page says, under a name that never changes.
        self._assets[_FAVICON] = _asset("favicon.svg", sources["favicon.svg"], _REVALIDATE, {})
        # Likewise, for pages of other sites: a script needs no permission to be loaded there.
        self._assets[_STABLE_HLS_JS] = _asset(HLS_JS, sources[HLS_JS], _REVALIDATE, {})
        self._pages = {
            kind: self._render(
                kind,
                _put_together(text, parts).replace("{{https}}", escape(https)),
                embed_ancestors,
            )
            for kind, text in pages.items()
        }

    def page(self, kind: PageKind) -> Asset:
        """The answer for a page; the same for every stream, whose name its script reads."""
        return self._pages[kind]

    def asset(self, path: str) -> Asset | None:
        """What ``/assets/{path}`` answers, or None (404). ``favicon.ico`` is here, too."""
        return self._assets.get(path)

    def find(self, path: str) -> Asset | None:
        """The answer for a whole path below the server's root, decoded and without its leading
        slash: ``""``, ``play/live/demo``, ``assets/…``. None where nothing is (404)."""
        head, _, rest = path.partition("/")
        if not path:
            return self._pages[PageKind.DASHBOARD]
        if path == DOCS_PATH:
            return self._pages[PageKind.DOCS]
        if head == "assets":
            return self.asset(rest)
        if head in _OF_STREAMS:
            # The pages refer to everything two directories up: no other depth would work.
            return self._pages[PageKind(head)] if _names_stream(rest) else None
        return self.asset(path) if path == _FAVICON else None

    def paths(self) -> Iterator[str]:
        """Every path that `asset` knows."""
        return iter(self._assets)

    def _render(self, kind: PageKind, text: str, embed_ancestors: str) -> Asset:
        assets = f"{'./' if kind is PageKind.DASHBOARD else '../../'}assets/{self.version}"
        text = text.replace("{{assets}}", assets).replace("{{hls}}", HLS_JS)
        ancestors = embed_ancestors if kind is PageKind.EMBED else "'self'"
        headers = {
            "Content-Security-Policy": f"{_POLICY}; frame-ancestors {ancestors}",
            # A page's address may carry a token, which is nobody else's business.
            "Referrer-Policy": "same-origin",
        }
        return _asset(f"{kind}.html", text.encode(), _REVALIDATE, headers)


def _put_together(text: str, parts: Mapping[str, str]) -> str:
    """A page with what it shares with others in its places."""
    for name, part in parts.items():
        text = text.replace("{{" + name + "}}", part)
    return text


def _names_stream(rest: str) -> bool:
    app, _, name = rest.partition("/")
    try:
        StreamKey(app, name)
    except InvalidNameError:
        return False
    return True


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        elif _content_type(entry.name) is not None:
            # Anything else is an editor's or a file manager's litter.
            yield f"{prefix}{entry.name}", entry.read_bytes()


def _content_type(path: str) -> str | None:
    return next((kind for end, kind in _CONTENT_TYPES.items() if path.endswith(end)), None)


def _version(sources: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256()
    for path, body in sorted(sources.items()):
        digest.update(f"{path}\0{len(body)}\0".encode() + body)
    return digest.hexdigest()[:12]


def _asset(path: str, body: bytes, cache_control: str, headers: Mapping[str, str]) -> Asset:
    # No time in the gzip header: the same content gives the same bytes.
    squeezed = gzip.compress(body, 9, mtime=0)
    return Asset(
        body=body,
        gzip_body=squeezed if len(squeezed) < len(body) else None,
        content_type=_content_type(path) or "application/octet-stream",
        cache_control=cache_control,
        etag=f'"{hashlib.sha256(body).hexdigest()[:20]}"',
        headers=MappingProxyType({"X-Content-Type-Options": "nosniff", **headers}),
    )
