"""The doors of WHIP and WHEP, with a network of fakes behind them."""

import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import pytest

from streamserver.endpoints.http.app import AppSettings
from streamserver.endpoints.http.whip import RtcDoor, whep_mount, whip_mount
from streamserver.hub.sessions import Protocol
from tests.control.helpers_webrtc import CAM, World
from tests.endpoints.http.helpers_http import Answer, Client, Site, site
from tests.webrtc.offers import CHROMIUM_PLAY, CHROMIUM_PUBLISH, without

TURN = '<turn:turn.example.org>; rel="ice-server"; username="u"; credential="c"'
SDP = "Content-Type: application/sdp"
FRAGMENT = "Content-Type: application/trickle-ice-sdpfrag"


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def place(world: World) -> AsyncIterator[Site]:
    async with serving(world) as it:
        yield it


def serving(world: World, **options: object) -> AbstractAsyncContextManager[Site]:
    def door(signalling: object) -> RtcDoor:
        return RtcDoor(signalling, world.resources, lambda *_: False, lambda: [TURN])  # type: ignore[arg-type]

    return site(mounts=(whip_mount(door(world.whip)), whep_mount(door(world.whep))), **options)


async def send(client: Client, method: str, target: str, body: str, *headers: str) -> Answer:
    data = body.encode()
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", *headers]
    lines += [f"Content-Length: {len(data)}", "", ""]
    client.send("\r\n".join(lines).encode() + data)
    return await client.answer()


async def post(client: Client, target: str, offer: str, *headers: str) -> Answer:
    return await send(client, "POST", target, offer, SDP, *headers)


def detail(answer: Answer) -> str:
    assert answer.headers["content-type"] == "application/problem+json"
    document = json.loads(answer.body)
    assert document["status"] == answer.status
    return str(document["detail"])


async def test_an_offer_is_answered_with_a_description_and_its_own_address(
    world: World, place: Site
):
    client = await place.connect()
    answer = await post(
        client, "/whip/live/cam?token=abc", CHROMIUM_PUBLISH, "Origin: http://x.org"
    )
    assert answer.status == 201
    assert answer.headers["content-type"] == "application/sdp"
    assert answer.body.startswith(b"v=0\r\n")
    assert answer.headers["etag"] == '"ufrag1"'
    assert answer.headers["accept-patch"] == "application/trickle-ice-sdpfrag"
    assert answer.headers["link"] == TURN
    location = answer.headers["location"]
    assert location.startswith("/whip/live/cam/")
    assert len(location.rpartition("/")[2]) >= 32
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "Location" in answer.headers["access-control-expose-headers"]
    (request,) = world.chain.asked
    assert (request.protocol, str(request.stream)) == ("whip", "live/cam")
    assert request.query == {"token": "abc"}
    gone = await client.ask(location, method="DELETE")
    assert gone.status == 200
    assert world.registry.publishers == 0
    again = await client.ask(location, method="DELETE")
    assert again.status == 404
    assert "has ended" in detail(again)
    assert "retry-after" not in again.headers


async def test_a_connection_that_its_client_closed_meanwhile_can_still_be_ended_once(
    world: World, place: Site
):
    client = await place.connect()
    answer = await post(client, "/whip/live/cam", CHROMIUM_PUBLISH)
    location = answer.headers["location"]
    # A browser closes its transport in the same breath, and datagrams are faster.
    world.peers[0].close("the peer closed the connection")
    patched = await send(client, "PATCH", location, "a=x", FRAGMENT, "If-Match: *")
    assert patched.status == 404
    assert (await client.ask(location, method="DELETE")).status == 200
    assert (await client.ask(location, method="DELETE")).status == 404


async def test_one_segment_means_default(world: World, place: Site):
    client = await place.connect()
    answer = await post(client, "/whip/live", CHROMIUM_PUBLISH)
    assert answer.headers["location"].startswith("/whip/live/default/")


async def test_a_player_is_answered_and_one_too_early_told_when_to_come_back(
    world: World, place: Site
):
    client = await place.connect()
    early = await post(client, "/whep/live/cam", CHROMIUM_PLAY)
    assert (early.status, early.headers["retry-after"]) == (404, "2")
    assert "live/cam is not live" in detail(early)
    await world.go_live()
    answer = await post(client, "/whep/live/cam", CHROMIUM_PLAY, "Authorization: Bearer tok")
    assert answer.status == 201
    assert answer.headers["location"].startswith("/whep/live/cam/")
    assert world.chain.asked[-1].token == "tok"
    assert world.table.viewers(CAM)[0].protocol == Protocol.WHEP


@pytest.mark.parametrize(
    ("offer", "status", "says"),
    [
        ("hello", 400, "no session description"),
        ("v=0\r\n" + "m=audio 9 RTP/AVP 0\r\n" * 500, 400, "32 m-lines"),
        ("v=0\r\n" + "a=x\r\n" * 200_000, 413, "longer than 65536"),
        (without(CHROMIUM_PUBLISH, "a=ice-"), 406, "no ICE credentials"),
        (without(CHROMIUM_PUBLISH, "a=fingerprint"), 406, "no fingerprint"),
        (CHROMIUM_PLAY, 406, "no audio or video to send"),
        (
            "v=0\r\na=group:BUNDLE 0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"
            "a=mid:0\r\n",
            406,
            "no audio or video to send",
        ),
    ],
)
async def test_bad_offers_are_refused_with_a_sentence(
    world: World, place: Site, offer: str, status: int, says: str
):
    client = await place.connect()
    answer = await post(client, "/whip/live/cam", offer)
    assert answer.status == status
    assert says in detail(answer)
    assert (world.registry.publishers, len(world.resources)) == (0, 0)


async def test_an_offer_that_is_no_text_is_refused(place: Site):
    client = await place.connect()
    client.send(
        b"POST /whip/live/cam HTTP/1.1\r\nHost: x\r\nContent-Type: application/sdp\r\n"
        b"Content-Length: 2\r\n\r\n\xff\xfe"
    )
    answer = await client.answer()
    assert (answer.status, detail(answer)) == (400, "the body is not UTF-8")


async def test_a_body_without_a_length_is_bounded_too(place: Site):
    client = await place.connect()
    client.send(
        b"POST /whip/live/cam HTTP/1.1\r\nHost: x\r\nContent-Type: application/sdp\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n" + b"4000\r\n" + bytes(0x4000) + b"\r\n"
    )
    client.send((b"4000\r\n" + bytes(0x4000) + b"\r\n") * 4 + b"0\r\n\r\n")
    assert (await client.answer()).status == 413


async def test_other_kinds_of_body_and_other_methods_are_refused(place: Site):
    client = await place.connect()
    answer = await send(client, "POST", "/whip/live/cam", "{}", "Content-Type: application/json")
    assert (answer.status, answer.headers["accept-post"]) == (415, "application/sdp")
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        answer = await client.ask("/whip/live/cam", method=method)
        assert (answer.status, answer.headers["allow"]) == (405, "OPTIONS, POST")
    assert (await client.ask("/whip/live/cam", method="HEAD")).status == 405


async def test_names_that_are_none_are_refused(place: Site):
    client = await place.connect()
    answer = await post(client, "/whip/api/cam", CHROMIUM_PUBLISH)
    assert answer.status == 400
    answer = await post(client, "/whip/live/a%2Fb%0D%0Ax", CHROMIUM_PUBLISH)
    assert answer.status == 400


async def test_missing_wrong_and_busy_have_their_own_answers(world: World, place: Site):
    client = await place.connect()
    world.chain.needs_key = True
    missing = await post(client, "/whip/live/cam", CHROMIUM_PUBLISH)
    assert missing.status == 401
    assert missing.headers["www-authenticate"].startswith("Bearer")
    bad = "Authorization: Bearer bad"
    assert (await post(client, "/whip/live/cam", CHROMIUM_PUBLISH, bad)).status == 403
    good = "Authorization: Bearer good"
    assert (await post(client, "/whip/live/cam", CHROMIUM_PUBLISH, good)).status == 201
    busy = await post(client, "/whip/live/cam", CHROMIUM_PUBLISH, good)
    assert busy.status == 409
    world.registry.draining = True
    closing = await post(client, "/whip/live/other", CHROMIUM_PUBLISH, good)
    assert (closing.status, closing.headers["retry-after"]) == (503, "5")


async def test_candidates_and_restarts_follow_the_rules_of_tags(world: World, place: Site):
    client = await place.connect()
    made = await post(client, "/whip/live/cam", CHROMIUM_PUBLISH)
    location, tag = made.headers["location"], made.headers["etag"]
    more = "a=ice-ufrag:/YRb\r\na=mid:0\r\na=candidate:1 1 udp 1 192.0.2.9 9 typ host\r\n"

    async def patch(body: str, *headers: str) -> Answer:
        return await send(client, "PATCH", location, body, FRAGMENT, *headers)

    assert (await patch(more)).status == 428
    assert (await patch(more, 'If-Match: "other"')).status == 412
    assert (await patch(more, f"If-Match: W/{tag}")).status == 412
    taken = await patch(more, f'If-Match: "other", {tag}')
    assert (taken.status, "etag" in taken.headers) == (204, False)
    assert world.peers[0].told == ["1 1 udp 1 192.0.2.9 9 typ host"]
    restart = "a=ice-ufrag:abcd\r\na=ice-pwd:" + "q" * 22 + "\r\n"
    restarted = await patch(restart, "If-Match: *")
    assert restarted.status == 200
    assert restarted.headers["content-type"] == "application/trickle-ice-sdpfrag"
    assert restarted.headers["etag"] != tag
    assert f"a=ice-ufrag:{world.peers[0].ufrag}".encode() in restarted.body
    assert (await patch(more, f"If-Match: {tag}")).status == 412
    assert (await patch("hello", "If-Match: *")).status == 400
    assert (await patch("a=x\r\n" * 10_000, "If-Match: *")).status == 413
    wrong = await send(client, "PATCH", location, more, SDP, "If-Match: *")
    assert wrong.status == 415
    assert wrong.headers["accept-patch"] == "application/trickle-ice-sdpfrag"
    for method in ("GET", "POST", "PUT"):
        answer = await client.ask(location, method=method)
        assert (answer.status, answer.headers["allow"]) == (405, "DELETE, OPTIONS, PATCH")


async def test_options_tell_what_a_browser_and_a_client_ask(world: World, place: Site):
    client = await place.connect()
    preflight = await client.ask(
        "/whip/live/cam",
        "Origin: http://x.org",
        "Access-Control-Request-Method: POST",
        method="OPTIONS",
    )
    assert preflight.status == 200
    assert preflight.headers["accept-post"] == "application/sdp"
    assert preflight.headers["access-control-allow-methods"] == "OPTIONS, POST"
    assert "Authorization" in preflight.headers["access-control-allow-headers"]
    assert "link" not in preflight.headers
    asked = await client.ask("/whip/live/cam", method="OPTIONS")
    assert asked.headers["link"] == TURN
    world.chain.needs_key = True
    stranger = await client.ask("/whip/live/cam", method="OPTIONS")
    assert (stranger.status, "link" in stranger.headers) == (200, False)
    of_resource = await client.ask("/whip/live/cam/secret", method="OPTIONS")
    assert of_resource.headers["allow"] == "DELETE, OPTIONS, PATCH"


async def test_the_address_holds_behind_a_path_prefix(world: World):
    settings = AppSettings(is_trusted_proxy=lambda ip: True)
    async with serving(world, base_path="/video", app_settings=settings) as place:
        client = await place.connect()
        made = await post(
            client, "/video/whip/live/cam", CHROMIUM_PUBLISH, "X-Forwarded-Prefix: /outer"
        )
        location = made.headers["location"]
        assert location.startswith("/outer/video/whip/live/cam/")
        inner = location.removeprefix("/outer")
        assert (await client.ask(inner, method="DELETE")).status == 200
