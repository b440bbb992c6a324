"""The stream of events: replay, filters, pings, resets and bounds, over both transports."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiohttp import ClientResponse, WSMsgType

from streamserver.api.access import Grant
from streamserver.events import EventType
from streamserver.names import StreamKey
from tests.api.helpers_api import ApiWorld, Client
from tests.control.helpers_world import DEMO

OTHER = StreamKey("tv", "other")


class Reader:
    """Takes a stream apart, field by field."""

    def __init__(self, response: ClientResponse) -> None:
        self.response = response
        self.last_id = ""

    async def block(self) -> dict[str, str]:
        """One block of fields; a comment's name is empty."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(60):
            while line := (await self.response.content.readline()).decode().rstrip("\n"):
                name, _, value = line.partition(":")
                fields[name] = value.removeprefix(" ")
        self.last_id = fields.get("id", self.last_id)
        return fields

    async def event(self) -> dict[str, Any]:
        """The next event, whatever comes between."""
        while "data" not in (fields := await self.block()):
            assert fields
        event: dict[str, Any] = msgspec.json.decode(fields["data"])
        assert (fields["event"], fields["id"]) == (event["type"], event["id"])
        return event


@asynccontextmanager
async def reading(
    client: Client, query: str = "", headers: dict[str, str] | None = None
) -> AsyncIterator[Reader]:
    async with client.get(f"/api/v1/events{query}", headers=headers) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-store"
        reader = Reader(response)
        assert (await reader.block())["retry"] == "2000"
        # It reads from the end only once it is there.
        yield reader
        response.close()


def emit(world: ApiWorld, kind: EventType = EventType.VIEWER_JOINED, key: Any = DEMO) -> None:
    world.events.emit(kind, {}, key)


async def until(condition: Any) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)


async def test_what_happens_is_read_as_it_happens() -> None:
    world = ApiWorld()
    emit(world)
    async with world.client() as client, reading(client) as reader:
        await until(lambda: world.event_streams._wakes)
        emit(world, EventType.STREAM_STARTED)
        event = await reader.event()
        assert (event["id"], event["type"], event["stream"]) == (
            "1-2", "stream.started", "live/demo"
        )  # fmt: skip
        assert world.event_streams.clients["sse"] == 1


async def test_replay_goes_on_after_the_last_id_by_header_and_by_query() -> None:
    world = ApiWorld()
    for _ in range(200):
        emit(world)
    async with world.client() as client:
        async with reading(client, headers={"Last-Event-ID": "1-150"}) as reader:
            assert [(await reader.event())["id"] for _ in range(50)] == [
                f"1-{number}" for number in range(151, 201)
            ]
        async with reading(client, "?last_event_id=1-199") as reader:
            assert (await reader.event())["id"] == "1-200"
        # A browser that reconnects keeps its URL, and its header is newer.
        async with reading(client, "?last_event_id=1-1", {"Last-Event-ID": "1-198"}) as reader:
            assert (await reader.event())["id"] == "1-199"
    assert world.event_streams.resets == 0


@pytest.mark.parametrize("unknown", ["0", "77-3", "1-4711", "x"])
async def test_an_unknown_id_gets_one_reset_with_what_is_live(unknown: str) -> None:
    world = ApiWorld()
    await world.publish()
    await world.publish(OTHER)
    async with (
        world.client() as client,
        reading(client, f"?last_event_id={unknown}&stream=live/*&type=viewer.*") as reader,
    ):
        reset = await reader.event()
        assert reset["type"] == "reset"
        assert reset["id"] == world.events.last_id
        assert [(one["app"], one["state"]) for one in reset["data"]["streams"]] == [
            ("live", "live")
        ]
        emit(world)
        assert (await reader.event())["type"] == "viewer.joined"
    assert world.event_streams.resets == 1


async def test_filters_by_stream_and_type() -> None:
    world = ApiWorld()
    async with world.client() as client:
        emit(world, EventType.STREAM_STARTED, OTHER)
        emit(world, EventType.STREAM_STARTED)
        emit(world, EventType.VIEWER_LEFT)
        emit(world, EventType.SERVER_DRAINING, None)
        query = "?last_event_id=1-0&stream=live/demo&type=stream.*,server.draining"
        async with reading(client, query) as reader:
            assert (await reader.event())["id"] == "1-2"
            assert (await reader.event())["id"] == "1-4"
        for wrong in ("?type=nothing", "?stream=a/b/c", "?stream=*/x", "?unknown=1"):
            async with client.get(f"/api/v1/events{wrong}") as response:
                assert response.status == 400


async def test_a_ping_moves_the_last_id_on_past_what_was_filtered_out() -> None:
    world = ApiWorld()
    async with world.client() as client, reading(client, "?type=server.started") as reader:
        await until(lambda: world.event_streams._wakes)
        emit(world)
        emit(world)
        ping = await reader.block()
        assert ping[""] == "ping"
        while reader.last_id != "1-2":
            await reader.block()


async def test_a_reader_that_fell_behind_gets_the_present_state() -> None:
    world = ApiWorld()
    await world.publish()
    emit(world)
    async with world.client() as client, reading(client, "?last_event_id=1-1") as reader:
        await reader.event()
        # In one turn of the loop, so that it cannot keep up.
        text = {"text": "x" * 65536}
        for _ in range(300):
            world.events.emit(EventType.VIEWER_JOINED, text, DEMO)
        assert world.events.start > 3
        reset = await reader.event()
        assert reset["type"] == "reset"
        assert reset["id"] == world.events.last_id
        emit(world)
        assert (await reader.event())["id"] == world.events.last_id


async def test_one_that_leaves_is_no_client_any_more() -> None:
    world = ApiWorld()
    async with world.client() as client:
        async with reading(client):
            assert world.event_streams.clients["sse"] == 1
        await until(lambda: world.event_streams.clients["sse"] == 0)
        assert not world.event_streams._wakes


async def test_there_is_room_for_so_many() -> None:
    world = ApiWorld()
    async with world.client() as client:
        async with (
            reading(client), reading(client), reading(client),
            client.get("/api/v1/events") as response,
        ):  # fmt: skip
            assert response.status == 503
        await until(lambda: world.event_streams.clients.total() == 0)
        async with reading(client):
            pass


async def test_the_end_of_the_server_ends_the_stream_after_what_has_happened() -> None:
    world = ApiWorld()
    async with world.client() as client, reading(client, "?last_event_id=1-0") as reader:
        emit(world, EventType.SERVER_DRAINING, None)
        world.event_streams.close()
        assert (await reader.event())["type"] == "server.draining"
        assert await reader.response.content.read() == b""


async def test_a_head_has_no_body_and_does_not_wait() -> None:
    world = ApiWorld()
    async with world.ask("HEAD", "/api/v1/events") as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream"


async def test_the_right_to_one_stream_is_asked_for_by_the_query() -> None:
    world = ApiWorld()
    world.event_streams.close()
    async with world.client() as client:
        for query in ("?stream=live/demo", "?stream=live/*", "?stream=live/demo,tv/x", ""):
            async with client.get(f"/api/v1/events{query}"):
                pass
    assert [one.stream for one in world.authorizer.asked] == [DEMO, None, None, None]
    assert {one.write for one in world.authorizer.asked} == {False}


async def test_a_websocket_gets_the_same_objects() -> None:
    world = ApiWorld()
    emit(world)
    emit(world, EventType.STREAM_STARTED)
    async with world.client() as client:
        async with client.ws_connect("/api/v1/events?last_event_id=1-1") as socket:
            message = await socket.receive(timeout=60)
            assert message.data.encode() == world.events.since(2)[0].wire
            await socket.send_str("nobody reads this")
            emit(world)
            assert msgspec.json.decode((await socket.receive(timeout=60)).data)["id"] == "1-3"
            assert world.event_streams.clients["websocket"] == 1
            world.event_streams.close()
            assert (await socket.receive(timeout=60)).type is WSMsgType.CLOSE
        await until(lambda: world.event_streams.clients["websocket"] == 0)


async def test_a_websocket_gets_resets_and_may_leave() -> None:
    world = ApiWorld()
    async with world.client() as client:
        async with client.ws_connect("/api/v1/events?last_event_id=9-9") as socket:
            reset = msgspec.json.decode((await socket.receive(timeout=60)).data)
            assert (reset["type"], reset["data"]) == ("reset", {"streams": []})
        await until(lambda: world.event_streams.clients["websocket"] == 0)
        assert not world.event_streams._wakes


async def test_a_reader_whose_credential_is_taken_back_is_let_go_on_both_transports() -> None:
    world = ApiWorld()
    world.authorizer.grant = Grant(credential="tag")
    async with world.client() as client, client.ws_connect("/api/v1/events") as socket:
        async with reading(client) as reader:
            await until(lambda: world.event_streams.clients.total() == 2)
            # It listens all the time: who answers no close is cut off before long.
            heard = asyncio.create_task(socket.receive(timeout=60))
            assert world.ends.revoke("other", "no") == 0
            assert world.ends.revoke("tag", "it was taken back") == 2
            # What happens from now on is not for it any more.
            emit(world)
            assert b"data:" not in await reader.response.content.read()
        message = await heard
        assert (message.type, message.data, message.extra) == (
            WSMsgType.CLOSE, 1008, "it was taken back",
        )  # fmt: skip
        await until(lambda: world.event_streams.clients.total() == 0)
    assert world.ends._by_credential == {}


async def test_a_reader_whose_token_expires_is_let_go() -> None:
    world = ApiWorld()
    world.authorizer.grant = Grant(expires_s=world.clock.wall_ns() // 1_000_000_000 + 60)
    async with world.client() as client, reading(client) as reader:
        world.clock.now_ns += 59_000_000_000
        world.ends.tick(world.clock.now_ns)
        emit(world)
        assert (await reader.event())["type"] == "viewer.joined"
        world.clock.now_ns += 2_000_000_000
        world.ends.tick(world.clock.now_ns)
        assert b"data:" not in await reader.response.content.read()
        await until(lambda: world.event_streams.clients.total() == 0)
    assert world.ends._ending == {}
