"""``python -m tests.soak [--minutes N]``: a server that everybody comes to and leaves again.

One stream stays, with viewers over RTMP, HLS and WHEP that must miss nothing; beside it publishers
and viewers of RTMP, FLV, HLS, WHIP and WHEP come and go, and destinations fail in several ways.
All leave at half-time and come again, so that two rests can be compared. Ends with a report; 1 when
something leaked or was missed.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from streamserver.sink import Misbehavior, Sink, SinkEvent, SinkSettings
from tests.peers.server import RunningServer
from tests.soak.report import Sample, faults, report, sample
from tests.soak.rtc import watch_whep, whep_for_a_while, whip_for_a_while
from tests.soak.traffic import (
    WAYS,
    Seen,
    Site,
    come_and_go,
    note_own_lag,
    publish,
    watch_hls,
    watch_rtmp,
)

_EVERY_S: Final = 5
_QUIET_S: Final = 60
"""Until all is gone after the end: reconnect window, presence of HLS viewers, lingering feeds, and
what collects the garbage of broadcasts and gives memory back (`streamserver.malloc`)."""

_SINKS: Final = ("none", "drop:7s", "stall", "reject", "slow:100k", "close-each")
_CROWD: Final = {"publisher": 3, "rtmp": 4, "flv": 4, "hls": 4, "whip": 2, "whep": 3}
_WAYS: Final = {**WAYS, "whip": whip_for_a_while, "whep": whep_for_a_while}
_NAMES: Final = {"publisher": "churn", "whip": "browser"}
"""What publishers name their streams; viewers choose among these and the steady one."""
_STEADY: Final = "steady"


async def _look(server: RunningServer, samples: list[Sample]) -> None:
    while True:
        await asyncio.sleep(_EVERY_S)
        samples.append(await asyncio.to_thread(sample, server))


def _nothing(event: SinkEvent) -> None:
    """Tells nobody."""


async def _guarded(name: str, seen: Seen, work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception as error:  # a viewer that must not miss anything has ended
        seen.gap(f"{name}: {type(error).__name__} {error}")


async def _crowd(server: RunningServer, seen: Seen, minutes: float) -> list[Sample]:
    site = Site(server.rtmp_port, server.base_url, seen)
    samples: list[Sample] = []
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(_guarded("publisher", seen, publish(site, _STEADY)))]
    await asyncio.to_thread(server.wait_live, f"live/{_STEADY}")
    await asyncio.sleep(5)
    steady = {
        "RTMP": watch_rtmp(site, _STEADY),
        "HLS": watch_hls(site, _STEADY),
        "WHEP": watch_whep(site, _STEADY),
    }
    tasks += [loop.create_task(_guarded(name, seen, work)) for name, work in steady.items()]
    tasks.append(loop.create_task(_look(server, samples)))
    tasks.append(loop.create_task(note_own_lag(seen)))
    for way, count in _CROWD.items():
        for at in range(count):
            names = [f"churn{at}", f"browser{at}", _STEADY]
            name = f"{_NAMES[way]}{at}" if way in _NAMES else names[at % 3]
            tasks.append(loop.create_task(come_and_go(site, way, name, _WAYS[way])))
    await asyncio.sleep(minutes * 60)
    for task in reversed(tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return samples


async def _soak(directory: Path, minutes: float) -> int:
    seen = Seen()
    async with AsyncExitStack() as stack:
        sinks = [
            await stack.enter_async_context(
                Sink(SinkSettings(misbehavior=Misbehavior.parse(how)), tell=_nothing)
            )
            for how in _SINKS
        ]
        lines = [
            f'[[destinations]]\nstream = "live/{_STEADY}"\n'
            f'url = "rtmp://localhost:{sink.port}/live/{at}"\n'
            for at, sink in enumerate(sinks)
        ]
        config = "\n".join(lines) + "\n[server]\nreconnect_window_s = 3\n"
        server = RunningServer(directory, config=config)
        await asyncio.to_thread(server.start)
        try:
            before = await asyncio.to_thread(sample, server)
            samples = await _crowd(server, seen, minutes / 2)
            await asyncio.sleep(_QUIET_S)
            rest = await asyncio.to_thread(sample, server)
            samples += await _crowd(server, seen, minutes / 2)
            await asyncio.sleep(_QUIET_S)
            after = await asyncio.to_thread(sample, server)
            sessions = await asyncio.to_thread(server.api, "sessions")
            streams = await asyncio.to_thread(server.api, "streams")
        finally:
            code = await asyncio.to_thread(server.stop)
        left = sessions["total"] + streams["total"]
        print(report(before, samples, rest, after, seen))
        found = faults(before, samples, rest, after, seen, left)
        if code:
            found.append(f"the server ended with {code}")
        if "Traceback" in server.log() or '"level": "error"' in server.log():
            found.append(f"the log tells of errors: {server.log_path}")
        for fault in found[:20]:
            print(f"FAULT: {fault}")
        print("failed" if found else "passed")
        return 1 if found else 0


def main() -> int:
    """Runs it in a directory that goes away when all was well."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    minutes = parser.parse_args().minutes
    directory = Path(tempfile.mkdtemp(prefix="streamserver-soak-"))
    print(f"{minutes:g} minutes; the log of the server is in {directory}", flush=True)
    return asyncio.run(_soak(directory, minutes))


if __name__ == "__main__":
    sys.exit(main())
