import asyncio
import os
import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from streamserver.errors import UnavailableError
from streamserver.storage import SqliteStorage, StorageError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "streamserver.sqlite"


@pytest.fixture
async def storage(path: Path) -> AsyncIterator[SqliteStorage]:
    opened = await SqliteStorage.open(path)
    yield opened
    await opened.close()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_what_is_written_is_there_after_a_restart(path: Path) -> None:
    first = await SqliteStorage.open(path)
    await first.set_secret_hash("publish_key", "sha256:1")
    await first.set("a", {"b": [1, None, "ä"]})
    secret = await first.signing_secret()
    await first.close()
    second = await SqliteStorage.open(path)
    assert await second.get_secret_hash("publish_key") == "sha256:1"
    assert await second.get("a") == {"b": [1, None, "ä"]}
    assert await second.signing_secret() == secret
    assert len(secret) == 32
    await second.close()


async def test_what_was_never_written_is_none(storage: SqliteStorage) -> None:
    assert await storage.get_secret_hash("x") is None
    assert await storage.get("x") is None


async def test_a_newer_value_takes_the_place_of_the_old(storage: SqliteStorage) -> None:
    for value in ("sha256:1", "sha256:2"):
        await storage.set_secret_hash("x", value)
        await storage.set("x", value)
    assert await storage.get_secret_hash("x") == "sha256:2"
    assert await storage.get("x") == "sha256:2"


async def test_a_deleted_setting_is_gone_and_can_be_deleted_again(storage: SqliteStorage) -> None:
    await storage.set("x", 1)
    await storage.delete("x")
    await storage.delete("x")
    assert await storage.get("x") is None


async def test_what_is_no_json_is_a_type_error(storage: SqliteStorage) -> None:
    with pytest.raises(TypeError):
        await storage.set("x", object())


async def test_many_calls_at_once_all_happen(storage: SqliteStorage) -> None:
    await asyncio.gather(*(storage.set(str(number), number) for number in range(50)))
    found = await asyncio.gather(*(storage.get(str(number)) for number in range(50)))
    assert found == list(range(50))


async def test_two_processes_agree_on_one_signing_secret(path: Path) -> None:
    first, second = await SqliteStorage.open(path), await SqliteStorage.open(path)
    secrets = await asyncio.gather(first.signing_secret(), second.signing_secret())
    assert secrets[0] == secrets[1]
    await first.close()
    await second.close()


async def test_the_files_are_their_owners_alone(storage: SqliteStorage, path: Path) -> None:
    await storage.set("x", 1)
    assert mode(path.parent) == 0o700
    assert {mode(file) for file in path.parent.iterdir()} == {0o600}
    assert {file.name for file in path.parent.iterdir()} > {path.name, path.name + "-wal"}


async def test_a_file_that_others_could_read_is_closed_to_them(path: Path) -> None:
    path.parent.mkdir()
    path.touch(0o644)
    path.chmod(0o644)
    await (await SqliteStorage.open(path)).close()
    assert mode(path) == 0o600


async def test_closing_twice_is_fine_and_a_closed_storage_refuses(path: Path) -> None:
    opened = await SqliteStorage.open(path)
    await opened.close()
    await opened.close()
    with pytest.raises(StorageError, match="closed"):
        await opened.get("x")


@pytest.mark.parametrize("content", [b"no database at all " * 100, b"\0" * 4096])
async def test_a_file_that_is_no_database_is_moved_aside_with_a_message(
    path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    opened = await SqliteStorage.open(path)
    await opened.set("x", 1)
    await opened.close()
    (aside,) = path.parent.glob("*.corrupt-*")
    assert aside.read_bytes() == content
    assert str(aside) in caplog.text
    assert "is corrupt" in caplog.text


async def test_a_database_with_a_damaged_page_is_moved_aside(path: Path) -> None:
    opened = await SqliteStorage.open(path)
    for number in range(200):
        await opened.set(f"key{number}", "x" * 100)
    await opened.close()
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * (path.stat().st_size - 8192))
    again = await SqliteStorage.open(path)
    assert await again.get("key1") is None
    await again.close()
    assert len(list(path.parent.glob("*.corrupt-*"))) >= 1


async def test_a_database_that_is_locked_is_a_storage_error(path: Path) -> None:
    await (await SqliteStorage.open(path)).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StorageError, match="locked"):
            await SqliteStorage.open(path, busy_timeout_s=0)
    assert not list(path.parent.glob("*.corrupt-*"))


async def test_a_write_while_another_process_writes_is_a_storage_error(path: Path) -> None:
    opened = await SqliteStorage.open(path, busy_timeout_s=0)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="locked"):
            await opened.set("x", 1)
        assert await opened.get("x") is None
    await opened.set("x", 1)
    assert await opened.get("x") == 1
    await opened.close()


async def test_a_place_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"cannot be written: Not a directory"):
        await SqliteStorage.open(tmp_path / "file" / "state" / "x.sqlite")


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
async def test_a_directory_without_permission_is_a_storage_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="Permission denied"):
        await SqliteStorage.open(tmp_path / "x.sqlite")


async def test_a_database_that_is_read_only_is_a_storage_error(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as empty:
        empty.execute("CREATE TABLE other (x)")
    connect = sqlite3.connect

    def read_only(path: Path, **options: object) -> sqlite3.Connection:
        return connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)

    monkeypatch.setattr(sqlite3, "connect", read_only)
    with pytest.raises(StorageError, match="readonly"):
        await SqliteStorage.open(path)


async def test_a_storage_error_ends_with_exit_code_69() -> None:
    assert issubclass(StorageError, UnavailableError)
