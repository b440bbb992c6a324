import pytest

from streamserver.storage import MemoryStorage, Storage


async def test_it_remembers_for_the_life_of_the_process() -> None:
    storage: Storage = MemoryStorage()
    await storage.set_secret_hash("a", "sha256:1")
    await storage.set("b", {"c": 1})
    assert await storage.get_secret_hash("a") == "sha256:1"
    assert await storage.get_secret_hash("b") is None
    assert await storage.get("b") == {"c": 1}
    await storage.delete("b")
    await storage.delete("b")
    assert await storage.get("b") is None
    assert len(await storage.signing_secret()) == 32
    assert await storage.signing_secret() == await storage.signing_secret()
    assert not storage.durable
    await storage.close()


async def test_a_value_that_was_handed_out_can_be_changed_without_harm() -> None:
    storage = MemoryStorage()
    await storage.set("a", [1])
    (await storage.get("a")).append(2)
    assert await storage.get("a") == [1]


async def test_what_is_no_json_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        await MemoryStorage().set("x", object())
