from streamserver.hub.driver import Driver
from streamserver.hub.feeds import FeedPool
from streamserver.hub.stream import LogBounds, Stream
from streamserver.log import Log
from streamserver.media.flv_writer import Dialect
from streamserver.names import StreamKey
from streamserver.outputs.fanout import FanOutSettings
from streamserver.outputs.live import Form, LiveOutput
from streamserver.outputs.viewer import Viewer
from tests.fakes import FakeClock, session
from tests.outputs.helpers_live import FakeTransport


async def test_a_group_wishes_keyframes_while_somebody_is_in_it():
    clock = FakeClock()
    driver = Driver(clock)
    output = LiveOutput(
        driver=driver,
        feeds=FeedPool(clock.monotonic_ns, driver.report),
        clock=clock,
        bounds=LogBounds(),
        settings=FanOutSettings(),
        chunk_size=65_536,
    )
    stream = Stream(
        key=StreamKey("live", "cam"),
        session_id="s",
        generation=1,
        packets=Log(max_ms=1000, max_bytes=1000, schedule=driver.schedule),
        wall_origin_ns=0,
        origin_ns=0,
    )
    viewer = Viewer(FakeTransport(), session(), lambda reason, over: None)
    watching = output.join(stream, Form.FLV, Dialect.LEGACY, viewer)
    assert stream.keyframes.every_ms == 2_000
    watching.leave()
    output.tick(clock.now_ns)
    assert output.viewers == 0
    assert stream.keyframes.every_ms is None
