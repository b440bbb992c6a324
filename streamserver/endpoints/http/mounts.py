"""What our listeners serve, as mounts: HLS, the API, the pages."""

from aiohttp import web

from streamserver.api.app import Api
from streamserver.endpoints.http.app import Mount
from streamserver.endpoints.http.media import media_response
from streamserver.endpoints.http.requests import accepts_gzip
from streamserver.outputs.hls.mount import HlsMount
from streamserver.outputs.hls.viewers import ClientInfo
from streamserver.web.pages import DOCS_PATH, Asset, PageKind, Pages

__all__ = ["api_mount", "hls_mount", "pages_mount"]


def hls_mount(hls: HlsMount, *, any_origin: bool = True) -> Mount:
    """HLS under the base of ``hls``, most of it through the front.

    Prebuilt answers are open to pages of any origin; where that is not wanted, every request takes
    the slow path, which names the origin.
    """
    base = hls.base.decode("ascii")

    async def answer(request: web.Request) -> web.StreamResponse:
        client = ClientInfo(
            request.remote or "",
            request.headers.get("User-Agent", "")[:256],
            request.headers,
        )
        reply = await hls.answer(
            f"{base}/{request.match_info['path']}", request.rel_url.raw_query_string, client
        )
        return media_response(request, reply)

    def routes(app: web.Application) -> None:
        app.router.add_get(base + "/{path:.*}", answer, allow_head=False)

    return Mount(
        prefix=base + "/", routes=routes, fast=hls.fast if any_origin else None, media=True
    )


def api_mount(api: Api) -> Mount:
    """The API, and beside it the probes and the metrics, which no page of others may read."""
    return Mount(prefix="/api/", routes=api.register, origins=api.origins)


def pages_mount(pages: Pages) -> Mount:
    """The dashboard, the players, the page that publishes, and what they load."""

    def add_page(app: web.Application, path: str, kind: PageKind) -> None:
        async def page(request: web.Request) -> web.StreamResponse:
            return _asset_response(request, pages.page(kind))

        app.router.add_get(path, page, allow_head=False)

    async def asset(request: web.Request) -> web.StreamResponse:
        found = pages.asset(request.match_info.get("path", "favicon.ico"))
        if found is None:
            raise web.HTTPNotFound
        return _asset_response(request, found)

    def routes(app: web.Application) -> None:
        add_page(app, "/", PageKind.DASHBOARD)
        # A whole path comes before the pattern of paths that the API does not know.
        add_page(app, f"/{DOCS_PATH}", PageKind.DOCS)
        for kind in (PageKind.PLAY, PageKind.PUBLISH, PageKind.EMBED):
            # The page's script reads the name; one that is no name gets the page that says so.
            add_page(app, f"/{kind.value}/{{app}}/{{name}}", kind)
        app.router.add_get("/assets/{path:.+}", asset, allow_head=False)
        app.router.add_get("/favicon.ico", asset, allow_head=False)

    return Mount(prefix="/", routes=routes)


def _asset_response(request: web.Request, asset: Asset) -> web.Response:
    """An asset, compressed where the client takes it, or 304 where it has it already."""
    accepted = ",".join(request.headers.getall("Accept-Encoding", ()))
    squeezed = asset.gzip_body if accepts_gzip(accepted.encode("latin-1", "replace")) else None
    # RFC 9110 8.8.1: the compressed form is another representation, so its tag is weak.
    etag = asset.etag if squeezed is None else f"W/{asset.etag}"
    headers = {
        **asset.headers,
        "Content-Type": asset.content_type,
        "Cache-Control": asset.cache_control,
        "ETag": etag,
        "Vary": "Accept-Encoding",
    }
    known = request.if_none_match or ()
    if any(f'"{tag.value}"' == asset.etag for tag in known):
        return web.Response(status=304, headers=headers)
    if squeezed is not None:
        headers["Content-Encoding"] = "gzip"
    return web.Response(body=squeezed or asset.body, headers=headers)
