"""Answers that may be asked for again, the same in both storages."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from streamserver.storage import MemoryStorage, SqliteStorage, Storage, StoredAnswer


@pytest.fixture(params=["memory", "sqlite"])
async def storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Storage]:
    made: Storage = MemoryStorage()
    if request.param == "sqlite":
        made = await SqliteStorage.open(tmp_path / "s.sqlite")
    yield made
    await made.close()


def answer(ident: str, expires_s: int = 100) -> StoredAnswer:
    return StoredAnswer(id=ident, fingerprint="f", body=b"\0\xff", expires_s=expires_s)


async def test_an_answer_is_found_until_it_expires(storage: Storage) -> None:
    await storage.keep_answer(answer("a"), now_s=1, keep=10)
    assert await storage.find_answer("a", 99) == answer("a")
    assert await storage.find_answer("a", 100) is None
    assert await storage.find_answer("b", 1) is None


async def test_only_the_newest_are_kept(storage: Storage) -> None:
    for ident in "abcd":
        await storage.keep_answer(answer(ident), now_s=1, keep=2)
    found = [await storage.find_answer(ident, 1) for ident in "abcd"]
    assert [one.id for one in found if one] == ["c", "d"]
    await storage.keep_answer(answer("e", 900), now_s=500, keep=2)
    assert await storage.find_answer("d", 1) is None
