"""The queues of webhooks outlive the process."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from streamserver.storage import MemoryStorage, SqliteStorage, Storage, StoredDelivery


@pytest.fixture(params=["memory", "sqlite"])
async def storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Storage]:
    made: Storage = MemoryStorage()
    if request.param == "sqlite":
        made = await SqliteStorage.open(tmp_path / "s.sqlite")
    yield made
    await made.close()


def delivery(event_id: str, webhook: str = "w", state: str = "pending") -> StoredDelivery:
    return StoredDelivery(
        webhook=webhook, event_id=event_id, event_type="stream.started", stream="live/x",
        body=b'{"a":1}', state=state, created_ms=5,
    )  # fmt: skip


async def test_deliveries_come_back_in_the_order_of_their_first_writing(storage: Storage) -> None:
    await storage.write_deliveries([delivery("1-1"), delivery("1-2")], keep=10)
    await storage.write_deliveries([delivery("1-3")], keep=10)
    changed = replace(delivery("1-1"), attempts=3, next_ms=77, status=500, error="no")
    await storage.write_deliveries([changed], keep=10)
    assert await storage.read_deliveries() == [changed, delivery("1-2"), delivery("1-3")]


async def test_of_what_is_done_only_the_newest_stay_and_all_that_is_pending(
    storage: Storage,
) -> None:
    await storage.write_deliveries([delivery("1-0")], keep=2)
    await storage.write_deliveries([delivery("9-9", "other", "delivered")], keep=2)
    for number in range(1, 6):
        await storage.write_deliveries([delivery(f"1-{number}", state="delivered")], keep=2)
    kept = [one.event_id for one in await storage.read_deliveries()]
    assert kept == ["1-0", "9-9", "1-4", "1-5"]


async def test_a_webhook_is_forgotten_with_all_its_deliveries(storage: Storage) -> None:
    await storage.write_deliveries([delivery("1-1"), delivery("1-1", "other")], keep=2)
    await storage.forget_deliveries("w")
    assert [one.webhook for one in await storage.read_deliveries()] == ["other"]


async def test_deliveries_are_there_after_the_file_is_opened_again(tmp_path: Path) -> None:
    storage = await SqliteStorage.open(tmp_path / "s.sqlite")
    await storage.write_deliveries([delivery("1-1")], keep=1)
    await storage.close()
    storage = await SqliteStorage.open(tmp_path / "s.sqlite")
    assert await storage.read_deliveries() == [delivery("1-1")]
    await storage.close()
