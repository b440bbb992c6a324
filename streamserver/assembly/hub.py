"""The middle of a server: streams, sessions, and the loop that they run on."""

import asyncio
import os
from functools import partial
from typing import Final

from streamserver.assembly.ground import Ground
from streamserver.config import OpusForm, Transcode
from streamserver.control.facts import LoopLag
from streamserver.control.session_ends import SessionEnds
from streamserver.control.totals import Totals
from streamserver.ffmpeg.executor import MediaExecutor
from streamserver.hub.driver import Driver
from streamserver.hub.feeds import FeedPool
from streamserver.hub.limits import Limits
from streamserver.hub.registry import Registry
from streamserver.hub.sessions import SessionTable
from streamserver.hub.sources import OwnPackets, Sources
from streamserver.malloc import MemoryReturn, malloc_trim
from streamserver.media.track import Codec
from streamserver.outputs.renditions import Renditions
from streamserver.outputs.transcoding import VideoRenditions
from streamserver.settings import limit_settings, registry_settings

__all__ = ["Hub"]

_CONVERTED_PER_CPU: Final = 2
"""Streams whose video is converted for browsers at once: 720p takes half a processor or less."""


class Hub:
    """Made within a running loop; `driver` is started when everything listens."""

    def __init__(self, ground: Ground, audio: MediaExecutor) -> None:
        config, clock = ground.config, ground.clock
        self.driver = Driver(clock)
        self.sessions = SessionTable()
        self.limits = Limits(self.sessions, limit_settings(config), ground.complain())
        self.registry = Registry(clock, self.driver.schedule, registry_settings(config))
        self.feeds = FeedPool(clock.monotonic_ns, self.driver.report)
        # The first listener: outputs complete what they have when a publisher leaves.
        self.renditions = Renditions(
            feeds=self.feeds,
            schedule=self.driver.schedule,
            bounds=registry_settings(config).bounds,
            submit=audio.submit,
        )
        self.registry.add_listener(self.renditions)
        self.video_renditions = self._open_video_renditions(ground)
        """What browsers could not play otherwise; None where that is not wanted."""
        self.sources: Sources = OwnPackets()
        """What HLS, RTMP, FLV and destinations read."""
        if config.server.opus is OpusForm.AAC:
            self.sources = self.renditions.sources(Codec.AAC)
        self.totals = Totals(self.registry, self.sessions)
        self.ends = SessionEnds(self.sessions, clock)
        self.lag = LoopLag()
        # In a thread: it takes tens of milliseconds for hundreds of megabytes.
        trim = partial(asyncio.get_running_loop().run_in_executor, None, malloc_trim)
        memory = MemoryReturn(clock.monotonic_ns, trim)
        self.registry.add_listener(memory)
        for often in (self.registry.tick, self.lag.tick):
            self.driver.add_ticker(often)
        for seldom in (self.ends.tick, self.limits.tick, self.feeds.tick, memory.tick):
            self.driver.add_ticker(seldom, seldom=True)

    def _open_video_renditions(self, ground: Ground) -> VideoRenditions | None:
        config = ground.config
        if config.webrtc.transcode is not Transcode.AUTO:
            return None
        video = VideoRenditions(
            sources=self.renditions.sources(Codec.OPUS),
            clock=ground.clock,
            schedule=self.driver.schedule,
            bounds=registry_settings(config).bounds,
            on_error=self.driver.report,
            most=_CONVERTED_PER_CPU * (os.cpu_count() or 1),
        )
        self.registry.add_listener(video)
        self.driver.add_ticker(video.tick)
        return video

    async def close_children(self) -> None:
        """Waits until the processes that convert pictures are gone."""
        if self.video_renditions is not None:
            await self.video_renditions.close()

    def close(self) -> None:
        """Stops the turns; nothing is read any more."""
        self.driver.close()
        self.renditions.close()
