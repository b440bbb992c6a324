"""Registered streams, the same in both storages."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from streamserver.names import StreamKey
from streamserver.storage import MemoryStorage, SqliteStorage, Storage, StoredStream

SHOW = StreamKey("live", "show")
OTHER = StreamKey("Live", "other")


@pytest.fixture(params=["memory", "sqlite"])
async def storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Storage]:
    made: Storage = MemoryStorage()
    if request.param == "sqlite":
        made = await SqliteStorage.open(tmp_path / "s.sqlite")
    yield made
    await made.close()


async def test_a_stream_is_kept_with_its_key(storage: Storage) -> None:
    stored = StoredStream(stream=SHOW, title="T'; --", metadata={"a": [1, None]}, record=True)
    await storage.register_stream(stored, "sha256:1")
    await storage.register_stream(StoredStream(stream=OTHER), "sha256:2")
    assert await storage.registered_streams() == [StoredStream(stream=OTHER), stored]
    assert await storage.stream_of_key("sha256:1") == SHOW


async def test_a_change_leaves_the_key(storage: Storage) -> None:
    await storage.register_stream(StoredStream(stream=SHOW), "sha256:1")
    changed = StoredStream(stream=SHOW, title="new")
    await storage.change_stream(changed)
    await storage.change_stream(StoredStream(stream=OTHER, title="is not registered"))
    assert await storage.registered_streams() == [changed]
    assert await storage.stream_key_hash(SHOW) == "sha256:1"


async def test_a_stream_is_forgotten_with_its_key(storage: Storage) -> None:
    await storage.register_stream(StoredStream(stream=SHOW), "sha256:1")
    await storage.unregister_stream(SHOW)
    await storage.unregister_stream(SHOW)
    assert await storage.registered_streams() == []
    assert await storage.stream_key_hash(SHOW) is None


async def test_of_two_statements_none_is_kept_when_the_second_fails(tmp_path: Path) -> None:
    storage = await SqliteStorage.open(tmp_path / "s.sqlite")
    with pytest.raises(Exception, match="NOT NULL"):
        await storage.register_stream(StoredStream(stream=SHOW), None)  # type: ignore[arg-type]
    assert await storage.registered_streams() == []
    await storage.close()
