import asyncio

from streamserver.hub.driver import Driver
from tests.fakes import FakeClock


async def test_who_need_not_be_asked_often_is_asked_at_every_fourth_tick(monkeypatch):
    monkeypatch.setattr("streamserver.hub.driver._TICK_S", 0.001)
    driver = Driver(FakeClock())
    asked: list[str] = []
    enough = asyncio.Event()

    def often(now_ns: int) -> None:
        asked.append("often")
        if len(asked) >= 40:
            enough.set()

    driver.add_ticker(often)
    driver.add_ticker(lambda now_ns: asked.append("seldom"), seldom=True)
    driver.start()
    async with asyncio.timeout(60):
        await enough.wait()
    driver.close()
    assert asked[:10] == ["often", "often", "often", "often", "seldom"] * 2
