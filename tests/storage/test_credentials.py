"""Stream keys and revoked tokens, the same in both storages."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from streamserver.names import StreamKey
from streamserver.storage import MemoryStorage, SqliteStorage, Storage

SHOW = StreamKey("live", "show")
OTHER = StreamKey("live", "other-1")


@pytest.fixture(params=["memory", "sqlite"])
async def storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Storage]:
    opened: Storage
    if request.param == "memory":
        opened = MemoryStorage()
    else:
        opened = await SqliteStorage.open(tmp_path / "x.sqlite")
    yield opened
    await opened.close()


async def test_a_stream_has_one_key_and_the_key_tells_its_stream(storage: Storage) -> None:
    assert await storage.stream_key_hash(SHOW) is None
    await storage.set_stream_key(SHOW, "sha256:1")
    await storage.set_stream_key(OTHER, "sha256:2")
    assert await storage.stream_key_hash(SHOW) == "sha256:1"
    assert await storage.stream_of_key("sha256:2") == OTHER


async def test_a_new_key_takes_the_place_of_the_old_one(storage: Storage) -> None:
    await storage.set_stream_key(SHOW, "sha256:1")
    await storage.set_stream_key(SHOW, "sha256:3")
    assert await storage.stream_of_key("sha256:1") is None
    assert await storage.stream_of_key("sha256:3") == SHOW


async def test_a_key_that_was_taken_away_opens_nothing(storage: Storage) -> None:
    await storage.set_stream_key(SHOW, "sha256:1")
    await storage.delete_stream_key(SHOW)
    await storage.delete_stream_key(SHOW)
    assert await storage.stream_of_key("sha256:1") is None


@pytest.mark.parametrize("text", ["' OR 1=1 --", "%", "sha256:'; DROP TABLE stream_key; --", ""])
async def test_a_hash_is_a_value_and_never_a_pattern_or_sql(storage: Storage, text: str) -> None:
    await storage.set_stream_key(SHOW, "sha256:1")
    assert await storage.stream_of_key(text) is None
    assert await storage.stream_of_key("sha256:1") == SHOW


async def test_revoked_tokens_are_remembered_until_they_would_have_ended(storage: Storage) -> None:
    await storage.revoke_token("a", 100)
    await storage.revoke_token("b", 200)
    assert sorted(await storage.revoked_tokens(99)) == [("a", 100), ("b", 200)]
    assert await storage.revoked_tokens(100) == [("b", 200)]
    assert await storage.revoked_tokens(0) == [("b", 200)]
