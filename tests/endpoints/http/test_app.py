import json

import pytest
from aiohttp import web

from streamserver.endpoints.http.app import AppSettings, public_path
from streamserver.endpoints.http.listener import Mount
from streamserver.errors import (
    AccessDeniedError,
    LimitError,
    NotFoundError,
    RemoteProtocolError,
    StreamBusyError,
)
from tests.endpoints.http.helpers_http import FastSide, site

ERRORS: dict[str, Exception] = {
    "not-found": NotFoundError("no such stream: live/demo"),
    "denied": AccessDeniedError("this token may not do that"),
    "busy": StreamBusyError("somebody else publishes there"),
    "limit": LimitError("there are too many viewers"),
    "bytes": RemoteProtocolError("that is no SDP"),
    "timeout": TimeoutError(),
}


def routes(app: web.Application) -> None:
    async def fail(request: web.Request) -> web.Response:
        raise ERRORS[request.match_info["how"]]

    async def move(request: web.Request) -> web.Response:
        raise web.HTTPFound("/elsewhere")

    async def unauthorized(request: web.Request) -> web.Response:
        raise web.HTTPUnauthorized(
            text="A token is needed.", headers={"WWW-Authenticate": "Bearer"}
        )

    async def ok(request: web.Request) -> web.Response:
        return web.json_response({"remote": request.remote, "at": public_path(request, "/play/x")})

    async def page(request: web.Request) -> web.Response:
        return web.Response(text="page", headers={"Content-Security-Policy": "default-src 'self'"})

    async def echo(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    async def preflight(request: web.Request) -> web.Response:
        return web.Response(status=204, headers={"Accept-Post": "application/sdp"})

    app.router.add_get("/api/fail/{how}", fail)
    app.router.add_get("/api/moved", move)
    app.router.add_get("/api/unauthorized", unauthorized)
    app.router.add_route("GET", "/api/ok", ok)
    app.router.add_post("/api/ok", echo)
    app.router.add_get("/", page)
    app.router.add_get("/hls/ok", ok)
    app.router.add_post("/whip/x", echo)
    app.router.add_route("OPTIONS", "/whip/x", preflight)


def nothing(app: web.Application) -> None:
    """The routes of a mount whose routes stand elsewhere."""


MOUNTS = (
    Mount("/", routes),
    Mount("/hls/", nothing, media=True),
    Mount("/whip/", nothing, media=True),
)


@pytest.mark.parametrize(
    ("how", "status", "detail"),
    [
        ("not-found", 404, "no such stream: live/demo"),
        ("denied", 403, "this token may not do that"),
        ("busy", 409, "somebody else publishes there"),
        ("limit", 503, "there are too many viewers"),
        ("bytes", 400, "that is no SDP"),
        ("timeout", 504, "The answer took too long."),
    ],
)
async def test_errors_are_problem_documents(how, status, detail):
    async with site(mounts=MOUNTS) as it:
        client = await it.connect()
        answer = await client.ask(f"/api/fail/{how}")
        assert answer.status == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["cache-control"] == "no-store"
        document = json.loads(answer.body)
        assert (document["status"], document["detail"]) == (status, detail)
        assert (document["type"], bool(document["title"])) == ("about:blank", True)


async def test_a_missing_token_keeps_its_challenge():
    async with site(mounts=MOUNTS) as it:
        answer = await (await it.connect()).ask("/api/unauthorized")
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert json.loads(answer.body)["detail"] == "A token is needed."


async def test_unknown_paths_and_methods_are_problems_too():
    async with site(mounts=MOUNTS) as it:
        client = await it.connect()
        answer = await client.ask("/nowhere")
        assert (answer.status, json.loads(answer.body)["title"]) == (404, "Not Found")
        answer = await client.ask("/api/ok", method="DELETE")
        assert answer.status == 405
        assert answer.headers["allow"] == "GET, HEAD, OPTIONS, POST"


async def test_redirects_pass():
    async with site(mounts=MOUNTS) as it:
        answer = await (await it.connect()).ask("/api/moved")
        assert (answer.status, answer.headers["location"]) == (302, "/elsewhere")


async def test_head_works_wherever_get_does():
    async with site(mounts=MOUNTS) as it:
        client = await it.connect()
        for target in ("/", "/api/ok", "/hls/ok"):
            assert (await client.ask(target, method="HEAD")).status == 200


async def test_options_name_the_methods_and_cors_is_for_media_only():
    async with site(mounts=MOUNTS) as it:
        client = await it.connect()
        api = await client.ask("/api/ok", "Origin: http://x", method="OPTIONS")
        assert (api.status, api.headers["allow"]) == (204, "GET, HEAD, OPTIONS, POST")
        assert not [name for name in api.headers if name.startswith("access-control")]
        media = await client.ask("/hls/ok", "Origin: http://x", method="OPTIONS")
        assert media.status == 204
        assert media.headers["access-control-allow-origin"] == "*"
        assert media.headers["access-control-allow-methods"] == "GET, HEAD, OPTIONS"
        assert "Range" in media.headers["access-control-allow-headers"]
        assert media.headers["access-control-max-age"] == "7200"
        own = await client.ask("/whip/x", method="OPTIONS")
        assert own.headers["accept-post"] == "application/sdp"
        assert own.headers["access-control-allow-origin"] == "*"


async def test_errors_of_media_can_be_read_by_other_origins():
    async with site(mounts=MOUNTS) as it:
        answer = await (await it.connect()).ask("/hls/nothing")
        assert answer.status == 404
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "Location" in answer.headers["access-control-expose-headers"]


async def test_security_headers_are_everywhere_and_no_version_is():
    async with site(mounts=MOUNTS) as it:
        client = await it.connect()
        for target in ("/", "/api/ok", "/hls/ok", "/nowhere"):
            answer = await client.ask(target)
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["server"] == "streamserver"
        assert (await client.ask("/")).headers["content-security-policy"] == "default-src 'self'"
        policy = (await client.ask("/api/ok")).headers["content-security-policy"]
        assert "default-src 'none'" in policy


async def test_bodies_are_bounded():
    async with site(mounts=MOUNTS, app_settings=AppSettings(max_body_bytes=10)) as it:
        client = await it.connect()
        client.get("/api/ok", "Content-Length: 11", method="POST")
        client.send(bytes(11))
        answer = await client.answer()
        assert answer.status == 413
        assert "10 bytes" in json.loads(answer.body)["detail"]
        client.get("/api/ok", "Content-Length: 10", method="POST")
        client.send(bytes(10))
        assert (await client.answer()).status == 200


async def test_the_clients_address_is_what_the_decider_says():
    seen: list[tuple[str, str]] = []

    def client_address(peer: str, headers: object) -> str:
        value = headers["X-Forwarded-For"]  # type: ignore[index]  # a mapping of headers
        seen.append((peer, value))
        return str(value)

    settings = AppSettings(client_address=client_address)
    async with site(mounts=MOUNTS, app_settings=settings) as it:
        client = await it.connect()
        answer = await client.ask("/api/ok", "X-Forwarded-For: 192.0.2.7")
        assert json.loads(answer.body)["remote"] == "192.0.2.7"
        assert seen == [("127.0.0.1", "192.0.2.7")]


@pytest.mark.parametrize(
    ("trusted", "prefix", "path"),
    [
        (True, "/media", "/base/play/x"),
        (False, "/media", "/base/play/x"),
        (True, "//evil.example", "/base/play/x"),
        (True, "http://evil.example", "/base/play/x"),
    ],
)
async def test_a_prefix_in_front_is_believed_of_trusted_proxies(trusted, prefix, path):
    settings = AppSettings(is_trusted_proxy=lambda address: trusted and address == "127.0.0.1")
    async with site(mounts=MOUNTS, base_path="/base", app_settings=settings) as it:
        answer = await (await it.connect()).ask("/base/api/ok", f"X-Forwarded-Prefix: {prefix}")
        expected = "/media" + path if trusted and prefix == "/media" else path
        assert json.loads(answer.body)["at"] == expected


async def test_a_listener_with_a_base_path_serves_under_it_alone():
    fast = FastSide()
    mounts = (*MOUNTS, Mount("/hls/", nothing, fast=fast, media=True))
    async with site(mounts=mounts, base_path="/base") as it:
        client = await it.connect()
        assert (await client.ask("/base/hls/a?x")).body == b"playlist a"
        assert fast.seen[0] == (b"/hls/a?x", False)
        assert (await client.ask("/base/api/ok")).status == 200
        assert (await client.ask("/base/")).body == b"page"
        media = await client.ask("/base/hls/ok", "Range: bytes=0-")
        assert media.headers["access-control-allow-origin"] == "*"
        for target in ("/hls/a", "/api/ok", "/"):
            answer = await client.ask(target)
            assert answer.status == 404
            assert answer.headers["content-type"] == "application/problem+json"
        assert it.stats.fast == 1
