import asyncio

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from streamserver.api import ApiSettings, UnauthenticatedError
from streamserver.api.access import Grant
from streamserver.api.calls import _choices
from streamserver.api.problems import Problem
from streamserver.control.settings_models import SettingsChange
from streamserver.errors import AccessDeniedError
from streamserver.names import StreamKey
from tests.api.helpers_api import ApiWorld
from tests.control.helpers_world import DEMO, SECOND_NS

STREAM = "/api/v1/streams/live/demo"
READS = [
    "/api/v1/server",
    "/api/v1/streams",
    STREAM,
    f"{STREAM}/viewers",
    f"{STREAM}/viewers/count",
    "/api/v1/viewers/count",
    "/api/v1/sessions",
    "/api/v1/openapi.json",
    "/metrics",
]
WRITES = [
    ("POST", f"{STREAM}/stop"),
    ("DELETE", "/api/v1/viewers/v1"),
    ("DELETE", "/api/v1/sessions/v1"),
]
BEARER = {"Authorization": "Bearer secret"}


async def problem_of(response):
    """The problem document of a response, held against its status."""
    assert response.content_type == "application/problem+json"
    problem = msgspec.json.decode(await response.read(), type=Problem)
    assert problem.status == response.status
    assert problem.type == "about:blank"
    assert problem.detail
    return problem


async def live_world(**kwargs):
    world = ApiWorld(**kwargs)
    (await world.publish()).run(3)
    world.driver.last_tick_ns = world.clock.now_ns
    world.join("v1")
    return world


@pytest.mark.parametrize("path", [*READS, "/healthz", "/readyz"])
async def test_every_read_answers_and_is_not_stored(path):
    world = await live_world()
    async with world.ask("GET", path) as response:
        assert response.status == 200
        assert response.headers["Cache-Control"] == "no-store"
        assert await response.read()


@pytest.mark.parametrize("path", [*READS, "/healthz", "/readyz"])
async def test_head_answers_like_get_without_a_body(path):
    world = await live_world()
    async with world.client() as client:
        async with client.get(path) as response:
            length, kind = len(await response.read()), response.headers["Content-Type"]
        async with client.head(path) as response:
            assert response.status == 200
            assert response.headers["Content-Type"] == kind
            # The metrics count themselves; their length may change between two requests.
            if path != "/metrics":
                assert int(response.headers["Content-Length"]) == length
            assert await response.read() == b""


@pytest.mark.parametrize(("method", "path"), WRITES)
async def test_every_write_answers_204_and_does_it(method, path):
    world = await live_world()
    async with world.ask(method, path) as response:
        assert response.status == 204
        assert await response.read() == b""
    assert list(world.closed) == ["publisher-demo" if method == "POST" else "v1"]


async def test_a_base_path_stands_before_every_route():
    world = await live_world()
    async with world.client(base="/video") as client:
        async with client.get("/video" + STREAM) as response:
            assert (await response.json())["name"] == "demo"
        async with client.get(STREAM) as response:
            assert response.status == 404
        async with client.get("/video/api/v1/nothing") as response:
            assert (await problem_of(response)).status == 404


async def test_an_unknown_path_is_a_problem():
    async with ApiWorld().ask("GET", "/api/v1/nothing") as response:
        assert (await problem_of(response)).title == "Not Found"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/api/v1/streams", "GET, POST, HEAD, OPTIONS"),
        ("GET", f"{STREAM}/stop", "POST, OPTIONS"),
        ("HEAD", "/api/v1/viewers/v1", "DELETE, OPTIONS"),
        ("POST", "/healthz", "GET, HEAD, OPTIONS"),
        ("PATCH", "/api/v1/sessions", "GET, HEAD, OPTIONS"),
    ],
)
async def test_a_wrong_method_is_told_the_right_ones(method, path, allowed):
    async with ApiWorld().ask(method, path) as response:
        assert response.status == 405
        assert response.headers["Allow"] == allowed
        if method != "HEAD":
            assert allowed in (await problem_of(response)).detail


async def test_options_tells_the_methods_and_opens_nothing_to_other_origins():
    async with ApiWorld().ask(
        "OPTIONS", "/api/v1/sessions", headers={"Origin": "https://x"}
    ) as response:
        assert response.status == 204
        assert response.headers["Allow"] == "GET, HEAD, OPTIONS"
        assert not [name for name in response.headers if name.startswith("Access-Control")]


@pytest.mark.parametrize(
    "path",
    [
        STREAM,
        f"{STREAM}/viewers",
        f"{STREAM}/viewers/count",
    ],
)
async def test_a_stream_that_is_not_live_is_a_404_problem(path):
    async with ApiWorld().ask("GET", path) as response:
        assert (await problem_of(response)).detail == "live/demo is not live"
        assert response.status == 404


@pytest.mark.parametrize(("method", "path"), WRITES)
async def test_a_write_to_what_is_not_there_is_a_404_problem(method, path):
    async with ApiWorld().ask(method, path) as response:
        assert (await problem_of(response)).status == 404


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("..", 400),
        ("%2e%2e", 400),
        ("a%2Fb", 400),
        ("a%00b", 400),
        ("%ff", 400),
        ("a%0d%0aX-Evil:1", 400),
        ("%C3%A4", 400),
        (".hidden", 400),
        ("x" * 129, 400),
        ("a%20b", 400),
        ("{name}", 404),
        ("a@720p", 404),
        ("a@", 400),
        ("<script>", 400),
    ],
)
async def test_odd_names_are_problems(name, status):
    async with ApiWorld().client() as client:
        url = URL(f"{client.make_url('/')}api/v1/streams/live/{name}", encoded=True)
        async with client.session.get(url) as response:
            assert response.status == status
            await problem_of(response)


async def test_a_reserved_word_is_no_app():
    async with ApiWorld().ask("GET", "/api/v1/streams/hls/demo") as response:
        assert response.status == 400


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("colour=red", "there is no query parameter 'colour'; known are: state, search"),
        ("limit=0", "the query parameter limit is wrong: expected int >= 1"),
        ("limit=1001", "the query parameter limit is wrong: expected int <= 1000"),
        ("limit=many", "the query parameter limit is wrong: expected int"),
        ("limit=", "the query parameter limit is wrong"),
        ("limit=" + "9" * 5000, "the query parameter limit is wrong"),
        ("offset=-1", "the query parameter offset is wrong: expected int >= 0"),
        ("state=dead", "state is wrong: it is one of idle, interrupted, live"),
        ("state=ended", "state is wrong"),
        ("state=", "state is wrong"),
        ("limit=1&limit=2", "the query parameter 'limit' is given twice"),
        ("search=" + "x" * 300, "search is wrong: expected str of length <= 257"),
    ],
)
async def test_a_bad_query_is_a_problem_that_names_the_parameter(query, sentence):
    async with ApiWorld().ask("GET", f"/api/v1/streams?{query}") as response:
        problem = await problem_of(response)
        assert problem.status == 400
        assert sentence in problem.detail


async def test_a_route_without_parameters_takes_none():
    async with ApiWorld().ask("GET", "/api/v1/server?x=1") as response:
        assert "there are none here" in (await problem_of(response)).detail


async def test_probes_and_metrics_ignore_what_balancers_add():
    async with ApiWorld().client() as client:
        for path in ("/healthz", "/readyz", "/metrics"):
            async with client.get(f"{path}?x=1&x=2") as response:
                assert response.status == 200


async def test_streams_are_filtered_and_paged_by_the_query():
    world = await live_world()
    await world.publish(StreamKey("live", "other"))
    async with world.client() as client:
        query = "state=live&search=OTH&limit=1&offset=0"
        async with client.get(f"/api/v1/streams?{query}") as response:
            page = await response.json()
    assert [item["name"] for item in page["items"]] == ["other"]
    assert page["total"] == 1


async def test_viewers_and_sessions_are_paged_by_the_query():
    world = await live_world()
    world.join("v2")
    async with world.client() as client:
        for path in (f"{STREAM}/viewers", "/api/v1/sessions"):
            async with client.get(f"{path}?limit=1&offset=1") as response:
                page = await response.json()
            assert len(page["items"]) == 1
            assert page["total"] >= 2


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=10), st.text(max_size=30), max_size=4))
def test_any_query_is_answered_or_refused(query):
    async def ask():
        async with ApiWorld().ask("GET", "/api/v1/streams", params=query) as response:
            assert response.status in (200, 400)
            await response.read()

    asyncio.run(ask())


def test_the_choices_of_a_parameter_are_those_of_its_type():
    class Plain(msgspec.Struct):
        number: int = 0

    assert _choices(Plain, "number") == []


@pytest.mark.parametrize("path", READS)
async def test_every_read_asks_the_authorizer(path):
    world = await live_world()
    async with world.ask("GET", path) as response:
        assert response.status == 200
    [asked] = world.authorizer.asked
    assert asked.action == ("metrics" if path == "/metrics" else "api")
    assert (asked.write, asked.method, asked.path) == (False, "GET", path)
    assert asked.stream == (DEMO if path.startswith(STREAM) else None)
    assert asked.remote_ip == "127.0.0.1"
    assert asked.credentials.token is None


@pytest.mark.parametrize(("method", "path"), WRITES)
async def test_every_write_asks_the_authorizer_first(method, path):
    world = await live_world()
    world.authorizer.error = AccessDeniedError("no")
    async with world.ask(method, path, headers=BEARER) as response:
        assert response.status == 403
    [asked] = world.authorizer.asked
    assert (asked.action, asked.write, asked.credentials.token) == ("api", True, "secret")
    assert world.closed == {}


async def test_credentials_do_not_show_in_the_repr_of_a_request():
    world = await live_world()
    async with world.ask("GET", STREAM, headers=BEARER) as response:
        assert response.status == 200
    assert "secret" not in repr(world.authorizer.asked)


async def test_probes_ask_nobody():
    world = ApiWorld()
    world.authorizer.error = AccessDeniedError("no")
    async with world.client() as client:
        for path in ("/healthz", "/readyz"):
            async with client.get(path) as response:
                assert response.status == 200
    assert world.authorizer.asked == []


async def test_without_a_credential_a_refusal_asks_for_one():
    world = ApiWorld()
    world.authorizer.error = AccessDeniedError("not for strangers")
    async with world.ask("GET", "/api/v1/server") as response:
        assert (await problem_of(response)).detail == "not for strangers"
        assert response.status == 401
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="streamserver"'


async def test_an_invalid_credential_is_told_so():
    world = ApiWorld()
    world.authorizer.error = UnauthenticatedError("nobody knows this token")
    async with world.ask("GET", "/api/v1/server", headers=BEARER) as response:
        assert response.status == 401
        assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]


async def test_a_valid_credential_that_does_not_suffice_is_forbidden():
    world = ApiWorld()
    world.authorizer.error = AccessDeniedError("this token only publishes")
    async with world.ask("GET", "/api/v1/server", headers=BEARER) as response:
        assert response.status == 403
        assert "WWW-Authenticate" not in response.headers


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Digest abc", "secret", "Basic !!"])
async def test_what_is_no_credential_is_a_wrong_one(value):
    world = ApiWorld()
    async with world.ask("GET", "/api/v1/server", headers={"Authorization": value}) as response:
        assert response.status == 401
        await problem_of(response)
    assert world.authorizer.asked == []


async def test_two_credentials_are_wrong():
    headers = [("Authorization", "Bearer a"), ("Authorization", "Bearer b")]
    async with ApiWorld().ask("GET", "/api/v1/server", headers=headers) as response:
        assert response.status == 401


async def test_the_password_of_basic_is_a_credential():
    world = ApiWorld()
    headers = {"Authorization": "basic dXNlcjpzZWNyZXQ="}
    async with world.ask("GET", "/api/v1/server", headers=headers) as response:
        assert response.status == 200
    credentials = world.authorizer.asked[0].credentials
    assert (credentials.user, credentials.password) == ("user", "secret")


async def test_the_count_of_a_stream_is_open_when_it_is_public():
    world = await live_world()
    world.authorizer.error = AccessDeniedError("no")
    await world.live_settings.change(SettingsChange(public_viewer_count=True))
    async with world.client() as client:
        async with client.get(f"{STREAM}/viewers/count") as response:
            assert (await response.json())["total"] == 1
        for path in ("/api/v1/viewers/count", f"{STREAM}/viewers", STREAM):
            async with client.get(path) as response:
                assert response.status == 401


@pytest.mark.parametrize("site", ["cross-site", "same-site", "nonsense"])
@pytest.mark.parametrize(("method", "path"), WRITES)
async def test_a_page_of_another_site_cannot_write(method, path, site):
    world = await live_world()
    async with world.client() as client:
        headers = {"Sec-Fetch-Site": site}
        async with client.request(method, path, headers=headers) as response:
            assert (await problem_of(response)).status == 403
    assert world.closed == {}
    assert world.authorizer.asked == []


@pytest.mark.parametrize("site", ["same-origin", "none"])
async def test_our_own_pages_can_write(site):
    world = await live_world()
    async with world.ask("POST", f"{STREAM}/stop", headers={"Sec-Fetch-Site": site}) as response:
        assert response.status == 204


async def test_a_page_of_another_site_may_be_shown_what_it_links_to():
    world = await live_world()
    async with world.ask("GET", STREAM, headers={"Sec-Fetch-Site": "cross-site"}) as response:
        assert response.status == 200


@pytest.mark.parametrize("body", [b"", b"{}", b" { } "])
async def test_a_write_takes_an_empty_body_as_json(body):
    world = await live_world()
    headers = {"Content-Type": "application/json; charset=utf-8"}
    async with world.ask("POST", f"{STREAM}/stop", data=body, headers=headers) as response:
        assert response.status == 204


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_a_body_that_is_not_json_is_refused(kind):
    world = await live_world()
    async with (
        world.client() as client,
        client.post(f"{STREAM}/stop", data=b"{}", headers={"Content-Type": kind}) as response,
    ):
        assert (await problem_of(response)).status == 415
    assert world.closed == {}


@pytest.mark.parametrize("body", [b'{"force": true}', b"[]", b"null", b"{", b"\xff"])
async def test_unknown_fields_and_broken_json_are_refused(body):
    world = await live_world()
    headers = {"Content-Type": "application/json"}
    async with world.ask("POST", f"{STREAM}/stop", data=body, headers=headers) as response:
        assert (await problem_of(response)).status == 400
    assert world.closed == {}


async def test_a_large_body_is_refused():
    world = await live_world()
    headers = {"Content-Type": "application/json"}
    async with (
        world.client() as client,
        client.post(f"{STREAM}/stop", data=b" " * 70_000 + b"{}", headers=headers) as response,
    ):
        assert (await problem_of(response)).status == 413


async def test_an_empty_chunked_body_is_no_body():
    async def nothing():
        yield b""

    world = await live_world()
    async with world.ask("POST", f"{STREAM}/stop", data=nothing()) as response:
        assert response.status == 204


class Tells:
    """An authorizer that says when it was asked: the head has been read, the body comes next."""

    def __init__(self):
        self.asked = asyncio.Event()

    async def authorize(self, request):
        self.asked.set()
        return Grant()


@pytest.mark.parametrize("rest", [b"", b"zz\r\n", b"2\r\n{"])
async def test_a_body_that_does_not_come_is_not_waited_for(rest):
    world = await live_world()
    authorizer = Tells()
    settings = ApiSettings(body_timeout_s=0.01)
    async with world.client(authorizer=authorizer, settings=settings) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
        writer.write(
            f"POST {STREAM}/stop HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            "Transfer-Encoding: chunked\r\n\r\n".encode()
        )
        await authorizer.asked.wait()
        writer.write(rest)
        head = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()
    assert head.startswith(b"HTTP/1.1 408")
    assert b"Connection: close" in head
    assert world.closed == {}


async def test_a_body_that_claims_to_be_gzip_and_is_not_is_refused():
    world = await live_world()
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    async with world.ask("POST", f"{STREAM}/stop", data=b"\x00" * 20, headers=headers) as response:
        assert (await problem_of(response)).status == 400
    assert world.closed == {}


async def test_the_loop_is_alive_while_it_ticks():
    world = ApiWorld()
    async with world.client() as client:
        world.clock.now_ns += 2 * SECOND_NS
        async with client.get("/healthz") as response:
            assert await response.json() == {"status": "ok"}
        world.clock.now_ns += 1
        async with client.get("/healthz") as response:
            assert (await problem_of(response)).status == 503


async def test_the_server_is_ready_between_start_and_drain():
    world = ApiWorld()
    async with world.client() as client:
        world.facts.is_listening = False
        async with client.get("/readyz") as response:
            assert "starting" in (await problem_of(response)).detail
            assert response.status == 503
        world.facts.is_listening = True
        async with client.get("/readyz") as response:
            assert response.status == 200
        world.registry.draining = True
        async with client.get("/readyz") as response:
            assert "shutting down" in (await problem_of(response)).detail
        async with client.get("/healthz") as response:
            assert response.status == 200


async def test_a_bug_is_left_to_the_application():
    caught = []

    @web.middleware
    async def catch(request, handler):
        try:
            return await handler(request)
        except ZeroDivisionError as error:
            caught.append(error)
            return web.Response(status=500)

    world = ApiWorld()
    world.authorizer.error = ZeroDivisionError()
    app = web.Application(middlewares=[catch])
    world.api().register(app)
    async with TestClient(TestServer(app)) as client, client.get("/api/v1/server") as response:
        assert response.status == 500
    assert len(caught) == 1


async def test_streams_of_the_answer_carry_the_public_url():
    world = await live_world(public_url="https://tv.example")
    async with world.ask("GET", STREAM) as response:
        urls = (await response.json())["urls"]
    assert urls["play"] == "https://tv.example/play/live/demo"
