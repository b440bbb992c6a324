"""What a start waits for, and what is loaded behind the open ports."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from streamserver.errors import UnavailableError
from streamserver.server import Server
from streamserver.webrtc import mux
from tests.test_server import Site, configured

_LATE = {"aioice", "aiortc", "av", "numpy", "OpenSSL"}


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def test_the_slow_libraries_are_not_loaded_before_the_ports_open():
    code = "import sys, streamserver.daemon; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not _LATE & set(done.stdout.split())


async def test_the_first_offer_waits_until_the_libraries_of_webrtc_are_loaded(
    tmp_path: Path, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
):
    loading, load = threading.Event(), mux._first_certificate

    def slowly() -> object:
        loading.wait(60)
        return load()

    monkeypatch.setattr(mux, "_first_certificate", slowly)
    server = Server(configured(tmp_path), environ={})
    await server.start()
    try:
        site = Site(server, http)
        assert await site.text("/readyz")
        offer = asyncio.create_task(
            http.post(
                site.base + "/whip/live/cam",
                data="v=0",
                headers={"Content-Type": "application/sdp"},
            )
        )
        # While the offer waits, others are served.
        await site.text("/readyz")
        assert not offer.done()
        loading.set()
        async with await offer as answer:
            assert answer.status == 406
        await server.completed()
    finally:
        loading.set()
        await server.close()


async def test_a_library_that_is_broken_is_told_to_whoever_runs_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def broken() -> object:
        raise UnavailableError("WebRTC cannot work with the installed libraries")

    monkeypatch.setattr(mux, "_first_certificate", broken)
    server = Server(configured(tmp_path), environ={})
    await server.start()
    try:
        with pytest.raises(UnavailableError, match="installed libraries"):
            await server.completed()
    finally:
        await server.close()
