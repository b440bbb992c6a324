import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from streamserver.storage import SqliteStorage, StorageError
from streamserver.storage.migrations import MIGRATIONS, Migration, migrate


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as opened:
        yield opened


def version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def test_the_steps_are_numbered_from_one_without_a_gap() -> None:
    assert [step.version for step in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))


@pytest.mark.parametrize("old", range(len(MIGRATIONS) + 1))
async def test_a_database_of_every_old_version_is_brought_up_to_date(
    tmp_path: Path, old: int
) -> None:
    path = tmp_path / "x.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        if old:
            migrate(db, MIGRATIONS[:old])
            db.execute("INSERT INTO secret (name, hash) VALUES ('a', 'sha256:1')")
            db.execute("INSERT INTO setting (key, value) VALUES ('b', '[1]')")
    storage = await SqliteStorage.open(path)
    assert await storage.get_secret_hash("a") == ("sha256:1" if old else None)
    assert await storage.get("b") == ([1] if old else None)
    await storage.close()
    with closing(sqlite3.connect(path)) as db:
        assert version(db) == len(MIGRATIONS)


def test_migrating_twice_changes_nothing(db: sqlite3.Connection) -> None:
    migrate(db)
    before = db.execute("SELECT sql FROM sqlite_master").fetchall()
    migrate(db)
    assert db.execute("SELECT sql FROM sqlite_master").fetchall() == before


def test_a_step_that_fails_leaves_the_version_before_it(db: sqlite3.Connection) -> None:
    broken = Migration(2, "fails in the middle", ("CREATE TABLE half (x)", "no SQL"))
    with pytest.raises(sqlite3.Error):
        migrate(db, (MIGRATIONS[0], broken))
    assert version(db) == 1
    tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables == {"secret", "setting"}


async def test_a_database_of_a_newer_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 999")
    with pytest.raises(StorageError, match="a newer streamserver wrote it"):
        await SqliteStorage.open(path)
    with closing(sqlite3.connect(path)) as db:
        assert version(db) == 999
