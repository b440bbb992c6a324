"""What was live is known after a crash."""

import asyncio
from pathlib import Path

from streamserver.control.live_record import LiveBroadcast, LiveRecord, next_boot
from streamserver.storage import MemoryStorage, SqliteStorage, StorageError

ONE = LiveBroadcast(app="live", name="one", summary={"session_id": "s"})
TWO = LiveBroadcast(app="live", name="two", summary={})


async def test_the_newest_state_is_there_after_a_kill(tmp_path: Path) -> None:
    storage = await SqliteStorage.open(tmp_path / "s.sqlite")
    live = [ONE]
    record = LiveRecord(storage, lambda: list(live))
    record.touch()
    live.append(TWO)
    record.touch()
    await record.flush()
    # Nothing is closed: another process looks at what is on the disk.
    other = await SqliteStorage.open(tmp_path / "s.sqlite")
    assert await LiveRecord(other, list).left_over() == [ONE, TWO]
    await other.close()
    live.clear()
    record.touch()
    await record.flush()
    assert await record.left_over() == []
    await storage.close()


async def test_a_storage_that_fails_stops_nothing() -> None:
    class Full(MemoryStorage):
        async def set(self, key: str, value: object) -> None:
            raise StorageError("the disk is full")

    record = LiveRecord(Full(), lambda: [ONE])
    record.touch()
    await record.flush()
    assert record.failures == 1
    record.touch()
    await record.flush()
    assert record.failures == 2


async def test_a_record_that_cannot_be_read_is_none() -> None:
    storage = MemoryStorage()
    await storage.set("events.live", [{"odd": 1}])
    assert await LiveRecord(storage, list).left_over() == []


async def test_boots_grow(tmp_path: Path) -> None:
    for expected in (1, 2, 3):
        storage = await SqliteStorage.open(tmp_path / "s.sqlite")
        assert await next_boot(storage, 10**18) == expected
        await storage.close()
    assert await next_boot(MemoryStorage(), 1_800_000_000_999_999_999) == 1_800_000_000


async def test_many_changes_in_a_row_are_few_writes_and_the_last_is_not_missed():
    asked: list[int] = []
    storage = MemoryStorage()

    def snapshot() -> list[LiveBroadcast]:
        asked.append(len(asked))
        return [ONE]

    record = LiveRecord(storage, snapshot)
    for _ in range(100):
        record.touch()
        # Long enough for a whole write, were it begun.
        for _ in range(5):
            await asyncio.sleep(0)
    await record.flush()
    assert len(asked) < 50
    assert await LiveRecord(storage, list).left_over() == [ONE]
