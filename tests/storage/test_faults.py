"""A database that is full, locked or damaged, at the start and while it is used."""

import asyncio
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from streamserver.control.live_record import next_boot
from streamserver.names import StreamKey
from streamserver.storage import (
    MemoryStorage,
    SqliteStorage,
    StorageError,
    StorageInUseError,
    open_storage,
)
from streamserver.storage.location import DATABASE_NAME

SHOW = StreamKey("live", "show")

PAGES = "PRAGMA max_page_count = 1"
"""SQLite takes the number of pages that there are: from here on the disk is as good as full."""


async def fill(storage: SqliteStorage) -> None:
    """No page more, and none that is partly empty."""
    await storage._run(lambda db: db.execute(PAGES).close())
    for size in (4000, 400, 40, 4):
        number = 0
        try:
            while True:
                await storage.set(f"fill {size} {number}", "x" * size)
                number += 1
        except StorageError:
            pass


async def test_a_full_disk_is_told_with_what_to_do_and_what_is_there_stays(tmp_path: Path) -> None:
    storage = await SqliteStorage.open(tmp_path / "x.sqlite")
    await storage.set("before", [1])
    secret = await storage.signing_secret()
    await fill(storage)
    with pytest.raises(StorageError, match=r"full \(make room on the disk"):
        await storage.set("more", "x" * 10_000)
    assert await storage.get("before") == [1]
    assert await storage.signing_secret() == secret
    await storage._run(lambda db: db.execute("PRAGMA max_page_count = 10000").close())
    await storage.set("more", "x" * 10_000)
    await storage.close()


async def test_with_a_full_disk_a_start_reads_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    storage = await SqliteStorage.open(tmp_path / "x.sqlite")
    secret = await storage.signing_secret()
    await storage.revoke_token("a", 100)
    await storage.revoke_token("b", 300)

    async def full(key: str, value: object) -> None:
        raise StorageError("database or disk is full")

    # As SQLite does it: no write at all, whatever becomes smaller by it.
    await storage._run(lambda db: db.execute("PRAGMA query_only = ON").close())
    assert await storage.signing_secret() == secret
    assert await storage.revoked_tokens(200) == [("b", 300)]
    monkeypatch.setattr(storage, "set", full)
    assert await next_boot(storage, 1_800_000_000_000_000_000) == 1_800_000_000
    assert "can keep nothing" in caplog.text
    await storage.close()


async def test_a_new_database_on_a_full_disk_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    connect = sqlite3.connect

    def without_room(path: Path, **options: object) -> sqlite3.Connection:
        db = connect(path, isolation_level=None)
        db.execute(PAGES).close()
        return db

    monkeypatch.setattr(sqlite3, "connect", without_room)
    assert isinstance(await open_storage(str(tmp_path), {}), MemoryStorage)
    assert "nothing outlives this process" in caplog.text
    assert "make room on the disk" in caplog.text


async def test_a_database_that_others_hold_is_not_gone_on_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / DATABASE_NAME
    await (await SqliteStorage.open(path)).close()
    at_once = partial(SqliteStorage.open, busy_timeout_s=0)
    monkeypatch.setattr(SqliteStorage, "open", at_once)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StorageInUseError, match="another program keeps it locked"):
            await open_storage(str(tmp_path), {})
    await (await open_storage(str(tmp_path), {})).close()


async def test_a_database_of_a_newer_program_is_not_gone_on_without(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / DATABASE_NAME)) as db:
        db.execute("PRAGMA user_version = 999")
    with pytest.raises(StorageInUseError, match="newer"):
        await open_storage(str(tmp_path), {})


async def test_damage_while_it_is_used_is_told_and_the_next_start_begins_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / DATABASE_NAME
    storage = await SqliteStorage.open(path)
    for number in range(200):
        await storage.set(f"key{number}", "x" * 100)
    await storage._run(lambda db: db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
    # Nothing of the old content is remembered: as after the kernel took the pages away.
    await storage._run(lambda db: db.execute("PRAGMA shrink_memory").close())
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    with pytest.raises(StorageError, match="the next start moves it aside"):
        await storage.get("key1")
    with pytest.raises(StorageError, match="the next start moves it aside"):
        await storage.set("key1", 2)
    await storage.close()
    again = await open_storage(str(tmp_path), {})
    assert isinstance(again, SqliteStorage)
    assert await again.get("key1") is None
    await again.close()
    assert list(tmp_path.glob(f"{DATABASE_NAME}.corrupt-*"))
    assert "is corrupt" in caplog.text


async def test_a_write_that_waits_for_another_program_keeps_no_reader_waiting(
    tmp_path: Path,
) -> None:
    path = tmp_path / "x.sqlite"
    storage = await SqliteStorage.open(path, busy_timeout_s=600)
    await storage.set_stream_key(SHOW, "hash")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        writing = asyncio.create_task(storage.set("x", 1))
        assert await storage.stream_key_hash(SHOW) == "hash"
        assert await storage.stream_of_key("hash") == SHOW
        assert await storage.get("x") is None
        assert not writing.done()
        other.execute("ROLLBACK")
    await writing
    assert await storage.get("x") == 1
    await storage.close()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["x.sqlite"]
