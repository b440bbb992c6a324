import re

import msgspec
import pytest
from aiohttp import web

from streamserver import __version__
from streamserver.api.access import Access
from streamserver.api.examples import EXAMPLES
from streamserver.api.openapi import document, render
from streamserver.api.routes import ROUTES
from streamserver.errors import AccessDeniedError
from streamserver.storage import StoredStream
from streamserver.webhooks.endpoint import WebhookSpec
from tests.api.helpers_api import ApiWorld
from tests.api.helpers_schema import faults
from tests.control.helpers_world import DEMO

DOCUMENT = document()
OPERATIONS = [
    (method, path, operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
]


def responses(path, method):
    """The responses of an operation with their references followed."""
    found = DOCUMENT["paths"][path][method]["responses"]
    shared = DOCUMENT["components"]["responses"]
    return {
        status: shared[one["$ref"].rpartition("/")[2]] if "$ref" in one else one
        for status, one in found.items()
    }


def conforms(response_path, method, response, body):
    """Holds an answer against the document: its status, media type and body."""
    described = responses(response_path, method)[str(response.status)]
    if "content" not in described:
        assert body == b""
        return
    [(media_type, content)] = described["content"].items()
    assert response.headers["Content-Type"] == media_type
    if "json" in media_type:
        value = msgspec.json.decode(body)
        assert faults(value, content["schema"], DOCUMENT) == []


def test_every_route_is_in_the_document_and_nothing_else():
    assert {(route.method.lower(), route.path) for route in ROUTES} == {
        (method, path) for method, path, _ in OPERATIONS
    }
    assert len(OPERATIONS) == len(ROUTES)


def test_every_route_of_the_interface_is_there():
    stream = "/api/v1/streams/{app}/{name}"
    assert {(route.method, route.path) for route in ROUTES} == {
        ("GET", "/api/v1/server"),
        ("GET", "/api/v1/streams"),
        ("GET", stream),
        ("POST", "/api/v1/streams"),
        ("PATCH", stream),
        ("DELETE", stream),
        ("POST", f"{stream}/key"),
        ("POST", f"{stream}/stop"),
        ("GET", f"{stream}/viewers"),
        ("GET", f"{stream}/viewers/count"),
        ("GET", f"{stream}/destinations"),
        ("POST", f"{stream}/destinations"),
        ("GET", f"{stream}/destinations/{{id}}"),
        ("PATCH", f"{stream}/destinations/{{id}}"),
        ("DELETE", f"{stream}/destinations/{{id}}"),
        ("POST", f"{stream}/destinations/{{id}}/retry"),
        ("GET", "/api/v1/viewers/count"),
        ("DELETE", "/api/v1/viewers/{id}"),
        ("GET", "/api/v1/sessions"),
        ("DELETE", "/api/v1/sessions/{id}"),
        ("GET", "/api/v1/openapi.json"),
        ("GET", "/api/v1/settings"),
        ("PATCH", "/api/v1/settings"),
        ("GET", "/api/v1/settings/{app}/{scope}"),
        ("PATCH", "/api/v1/settings/{app}/{scope}"),
        ("POST", "/api/v1/server/reload"),
        ("POST", "/api/v1/tokens"),
        ("DELETE", "/api/v1/tokens/{id}"),
        ("GET", "/api/v1/bans"),
        ("DELETE", "/api/v1/bans"),
        ("GET", "/api/v1/events"),
        ("GET", "/api/v1/webhooks"),
        ("POST", "/api/v1/webhooks"),
        ("GET", "/api/v1/webhooks/{id}"),
        ("PATCH", "/api/v1/webhooks/{id}"),
        ("DELETE", "/api/v1/webhooks/{id}"),
        ("GET", "/api/v1/webhooks/{id}/deliveries"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/metrics"),
    }


def test_every_route_is_in_the_application():
    app = web.Application()
    ApiWorld().api().register(app)
    registered = {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None
    }
    assert {(route.method, route.path) for route in ROUTES} <= registered


def test_writes_need_a_token_and_probes_none():
    for route in ROUTES:
        security = DOCUMENT["paths"][route.path][route.method.lower()]["security"]
        assert (route.access is Access.WRITE) == route.is_write
        if route.is_write:
            assert security == [{"bearer": []}]
        if route.access is Access.PUBLIC:
            assert security == []


def test_the_document_says_what_it_is_and_where():
    assert DOCUMENT["openapi"] == "3.1.0"
    assert DOCUMENT["info"]["version"] == __version__
    assert DOCUMENT["servers"] == [{"url": "/"}]
    assert document("https://tv.example")["servers"] == [{"url": "https://tv.example"}]
    assert msgspec.json.decode(render()) == DOCUMENT


def test_operation_ids_are_unique_and_every_tag_is_declared():
    ids = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(set(ids)) == len(ids)
    tags = {tag["name"] for tag in DOCUMENT["tags"]}
    assert {tag for _, _, operation in OPERATIONS for tag in operation["tags"]} == tags


def test_every_parameter_of_a_path_is_declared():
    for _, path, operation in OPERATIONS:
        declared = [one for one in operation.get("parameters", ()) if one["in"] == "path"]
        assert [one["name"] for one in declared] == re.findall(r"\{(\w+)\}", path)
        assert all(one["required"] for one in declared)


def test_parameters_of_queries_carry_their_bounds_and_defaults():
    listed = DOCUMENT["paths"]["/api/v1/streams"]["get"]["parameters"]
    parameters = {one["name"]: one for one in listed}
    assert list(parameters) == ["state", "search", "limit", "offset"]
    limit = parameters["limit"]["schema"]
    assert (limit["minimum"], limit["maximum"], limit["default"]) == (1, 1000, 100)
    assert all(one["description"] for one in listed)


def test_every_reference_leads_somewhere():
    references = set(re.findall(r'"\$ref":"#/([^"]*)"', render().decode()))
    assert references
    for reference in references:
        found = DOCUMENT
        for step in reference.split("/"):
            found = found[step]


def test_every_schema_is_used():
    text = render().decode()
    for name in DOCUMENT["components"]["schemas"]:
        assert f'"#/components/schemas/{name}"' in text


def test_every_answer_has_a_schema_and_an_example_that_fits_it():
    for route in ROUTES:
        if route.response is None:
            continue
        content = responses(route.path, route.method.lower())[str(route.status)]["content"]
        [described] = content.values()
        assert faults(described["example"], described["schema"], DOCUMENT) == []
        msgspec.convert(described["example"], route.response)


def test_every_example_is_used():
    answers = {route.response for route in ROUTES} | {route.body for route in ROUTES}
    assert {kind.__name__ for kind in EXAMPLES if kind not in answers} == {"Problem"}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
async def test_every_answer_conforms_to_its_schema(route):
    world = ApiWorld()
    publication = await world.publish()
    publication.run(3)
    publication.lease.stream.note("timestamp_jump")
    world.driver.last_tick_ns = world.clock.now_ns
    world.join("v1")
    ident = "v1"
    if route.name in ("changeStream", "newStreamKey"):
        await world.records.add(StoredStream(stream=DEMO), "sha256:1")
    if route.tag == "destinations":
        ident = (await world.destinations.add(DEMO, "rtmp://far.test/live/one")).spec.id
    if route.name == "revokeToken":
        ident = world.access.tokens.issue([], [], 60).id
    if "/webhooks/" in route.path:
        spec = WebhookSpec(id="", url="http://far.test/hook", enabled=False)
        ident = (await world.webhooks.add(spec)).spec.id
    # Otherwise the answer never ends.
    world.event_streams.close()
    path = route.path.format(app="live", name="demo", scope="*", id=ident)
    body = None if route.body is None else EXAMPLES[route.body]
    async with world.ask(route.method, path, json=msgspec.to_builtins(body)) as response:
        assert response.status == route.status
        conforms(route.path, route.method.lower(), response, await response.read())


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
async def test_every_refusal_is_in_the_document_and_conforms(route):
    world = ApiWorld()
    world.facts.is_listening = False
    world.driver.last_tick_ns = -(10**12)
    world.event_streams.close()
    seen = set()

    async def ask(client, path, **kwargs):
        async with client.request(route.method, path, **kwargs) as response:
            body = await response.read()
            if response.status >= 400:
                seen.add(response.status)
                conforms(route.path, route.method.lower(), response, body)

    path = route.path.format(app="live", name="demo", scope="*", id="v1")
    odd = route.path.format(app="live", name=".odd", scope=".odd", id="v1")
    async with world.client() as client:
        await ask(client, path)
        await ask(client, odd)
        await ask(client, f"{path}?unknown=1")
        await ask(client, path, headers={"Sec-Fetch-Site": "cross-site"})
        await ask(client, path, data=b"x")
        if route.body is not None:
            await ask(client, path, json={"surprise": 1})
            await ask(client, path, json={"enabled": "a destination to be changed"})
            await ask(client, path, json={"name": "nobody"})
            await ask(client, path, json={"title": "of a stream that is not registered"})
        await ask(client, path, data=b" " * 70_000, headers={"Content-Type": "application/json"})
        world.authorizer.error = AccessDeniedError("no")
        await ask(client, path)
        await ask(client, path, headers={"Authorization": "Bearer x"})
    # A body that does not come, and what depends on what else is there, is tested by itself.
    elsewhere = {408, 503} if route.is_write else set()
    if route.tag in ("destinations", "events", "streams", "settings", "server"):
        elsewhere |= {409, 503}
    elsewhere |= {409, 422} if route.replays else set()
    assert seen == set(route.refusals) - elsewhere
