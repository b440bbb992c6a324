"""All destinations: what is taken, what is refused, and what survives a restart."""

import pytest

from streamserver.errors import ConfigError, InvalidNameError, LimitError, NotFoundError
from streamserver.names import StreamKey
from streamserver.outputs.destinations.failures import ConflictError
from streamserver.outputs.destinations.manager import (
    ConfiguredDestination,
    PrivateDestinationError,
)
from streamserver.outputs.destinations.states import DestinationState
from streamserver.rtmp.target import InvalidTargetError
from streamserver.storage import StorageError
from streamserver.storage.memory import MemoryStorage
from tests.outputs.destinations.helpers_destinations import KEY, reaches, studio

OTHER = StreamKey("live", "other")
URL = "rtmp://far.test/live/ab12-secret-key"


async def test_what_was_added_survives_a_restart_and_what_was_removed_does_not():
    storage = MemoryStorage()
    async with studio() as hub:
        first = hub.destinations(storage=storage)
        kept = await first.add(KEY, URL, name="Far")
        gone = await first.add(OTHER, URL)
        await first.change(KEY, kept.spec.id, enabled=False)
        await first.remove(OTHER, gone.spec.id)
        second = hub.destinations(storage=storage)
        await second.load([])
        assert [one.spec for one in second.all()] == [kept.spec]
        assert second.of(KEY)[0].state is DestinationState.DISABLED


async def test_configured_ones_keep_their_ids_and_are_not_stored():
    storage = MemoryStorage()
    configured = [ConfiguredDestination("live/show", URL, "Far"), ConfiguredDestination("x", URL)]
    async with studio() as hub:
        ids = []
        loaded = hub.destinations(storage=storage)
        for _ in range(2):
            loaded = hub.destinations(storage=storage)
            await loaded.load(configured)
            ids.append([one.spec.id for one in loaded.all()])
            await loaded.change(KEY, ids[0][0], enabled=False)
            assert [str(one.key) for one in loaded.all()] == ["live/show", "x/default"]
        assert ids[0] == ids[1]
        assert len(set(ids[0])) == 2
        with pytest.raises(ConflictError, match="configuration"):
            await loaded.remove(KEY, ids[0][0])


@pytest.mark.parametrize(
    "one", [ConfiguredDestination("live/show", "rtmp://host"), ConfiguredDestination("a/b/c", URL)]
)
async def test_a_configured_one_that_cannot_be_is_a_fault_of_the_configuration(one):
    async with studio() as hub:
        with pytest.raises(ConfigError, match=r"destinations\[0\]"):
            await hub.destinations().load([one])


async def test_a_stored_one_that_can_no_longer_be_is_left_out(caplog):
    storage = MemoryStorage()
    async with studio() as hub:
        first = hub.destinations(storage=storage)
        await first.add(KEY, "rtmp://10.0.0.9/live/ab12-secret-key")
        second = hub.destinations(storage=storage, allow_private=False)
        await second.load([])
        assert not list(second.all())
        assert "left out" in caplog.text
        assert "secret" not in caplog.text
        await storage.set("destinations", [{"nonsense": 1}])
        await second.load([])
        assert "cannot be read" in caplog.text


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://far.test/live/key", InvalidTargetError),
        ("rtmp://far.test", InvalidTargetError),
        ("rtmp://far.test/live", InvalidTargetError),
        ("rtmp://192.168.1.4/live/key", PrivateDestinationError),
        ("rtmp://[::ffff:127.0.0.1]/live/key", PrivateDestinationError),
        ("rtmp://0.0.0.0/live/key", PrivateDestinationError),
        ("rtmp://localhost/live/show", ConflictError),
    ],
)
async def test_urls_that_cannot_be_are_refused_with_a_sentence(url, error):
    async with studio() as hub:
        guarded = hub.destinations(allow_private=False, own_ports=frozenset({1935}))
        with pytest.raises(error):
            await guarded.add(KEY, url)
        assert not list(guarded.all())


async def test_a_duplicate_is_refused_but_another_stream_may_go_there():
    async with studio() as hub:
        made = hub.destinations()
        await made.add(KEY, URL)
        for same in (URL, "rtmp://FAR.test:1935/live/ab12-secret-key"):
            with pytest.raises(ConflictError) as caught:
                await made.add(KEY, same)
            assert "secret" not in str(caught.value)
        await made.add(OTHER, URL)
        await made.add(KEY, URL + "-2")


async def test_a_circle_of_streams_is_refused():
    async with studio() as hub:
        made = hub.destinations(own_ports=frozenset({1935}))
        await made.add(KEY, "rtmp://127.0.0.1/live/other")
        await made.add(OTHER, "rtmp://127.0.0.1/live/third")
        with pytest.raises(ConflictError, match="leads back"):
            await made.add(StreamKey("live", "third"), "rtmp://localhost/live/show")


async def test_there_is_a_bound_for_each_stream():
    async with studio() as hub:
        made = hub.destinations()
        for index in range(32):
            await made.add(KEY, f"{URL}{index}", enabled=False)
        with pytest.raises(LimitError):
            await made.add(KEY, URL)


async def test_renditions_are_not_sent_on():
    async with studio() as hub:
        with pytest.raises(InvalidNameError):
            await hub.destinations().add(StreamKey("live", "show@720p"), URL)


async def test_what_does_not_exist_is_not_found():
    async with studio() as hub:
        made = hub.destinations()
        one = await made.add(KEY, URL)
        with pytest.raises(NotFoundError):
            made.get(OTHER, one.spec.id)
        with pytest.raises(NotFoundError):
            await made.change(KEY, "x", enabled=True)
        with pytest.raises(NotFoundError):
            await made.remove(KEY, "x")


async def test_nothing_is_added_when_it_cannot_be_kept():
    class Broken(MemoryStorage):
        async def set(self, key: str, value: object) -> None:
            raise StorageError("the disk is full")

    async with studio() as hub:
        made = hub.destinations(storage=Broken())
        with pytest.raises(StorageError):
            await made.add(KEY, URL)
        assert not list(made.all())


async def test_what_cannot_be_kept_does_not_happen():
    class Brittle(MemoryStorage):
        broken = False

        async def set(self, key: str, value: object) -> None:
            if self.broken:
                raise StorageError("the disk is full")
            await super().set(key, value)

    storage = Brittle()
    async with studio() as hub:
        made = hub.destinations(storage=storage)
        one = await made.add(KEY, URL, name="First")
        storage.broken = True
        with pytest.raises(StorageError):
            await made.change(KEY, one.spec.id, name="Second", enabled=False)
        with pytest.raises(StorageError):
            await made.remove(KEY, one.spec.id)
        assert [(each.spec.name, each.spec.enabled) for each in made.all()] == [("First", True)]
        storage.broken = False
        await made.change(KEY, one.spec.id, name="Third")
        await made.remove(KEY, one.spec.id)
        assert await storage.get("destinations") == []


async def test_it_begins_with_its_stream_before_or_after():
    async with studio() as hub:
        made = hub.destinations()
        before = await made.add(KEY, "rtmp://a.invalid/live/key")
        assert before.state is DestinationState.IDLE
        await hub.publish()
        after = await made.add(KEY, "rtmp://b.invalid/live/key")
        for one in (before, after):
            await reaches(one, DestinationState.BACKOFF)
        assert made.failures["dns"] >= 2
        hub.registry.stop(KEY, "over")
        assert before.state is after.state is DestinationState.IDLE


async def test_sums_do_not_fall_when_one_is_removed():
    async with studio() as hub:
        made = hub.destinations()
        one = await made.add(KEY, URL)
        one.stats.bytes_sent, one.stats.dropped_frames = 1000, 3
        await made.remove(KEY, one.spec.id)
        assert (made.gone.bytes_sent, made.gone.dropped_frames) == (1000, 3)
