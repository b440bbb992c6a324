"""nginx and Caddy in front, by the recipes of ``examples/deploy``; and TLS without either."""

import http.client
import json
import ssl
import time
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.peers.browser import Watcher, chromium, wait_until
from tests.peers.ffmpeg import FfmpegPublisher, require
from tests.peers.players import LightPlayer
from tests.peers.proxies import Caddy, Nginx, write_certificate
from tests.peers.server import PUBLISH_KEY, RunningServer
from tests.peers.test_pages import COLOURS

pytestmark = [pytest.mark.peer, pytest.mark.timeout(180)]

TRUST = 'http.trusted_proxies=["127.0.0.1"]'
STRANGER = "203.0.113.7"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    directory = tmp_path_factory.mktemp("demo")
    with RunningServer(directory, command="demo", settings=(TRUST,)) as server:
        server.wait_live("live/demo")
        yield server


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    context = browser.new_context(ignore_https_errors=True)
    yield context.new_page()
    context.close()


def addresses(server: RunningServer, user_agent: str) -> set[str]:
    """The addresses of the viewers with a name."""
    items = server.api("streams/live/demo/viewers")["items"]
    return {item["remote_ip"] for item in items if item["user_agent"] == user_agent}


def watch_once(url: str, user_agent: str, headers: dict[str, str]) -> None:
    """Asks for the playlists once, as a viewer called ``user_agent``."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    secure = context if url.startswith("https") else None

    def get(url: str) -> str:
        request = urllib.request.Request(url, headers={"User-Agent": user_agent, **headers})
        with urllib.request.urlopen(request, timeout=20, context=secure) as answer:
            text: str = answer.read().decode()
            return text

    base = f"{url}/hls/live/demo/"
    get(base + get(base + "index.m3u8").splitlines()[-1])


@pytest.mark.parametrize("kind", [Nginx, Caddy])
def test_pages_and_stream_work_under_a_prefix(
    demo: RunningServer, page: Any, tmp_path: Path, kind: type[Nginx] | type[Caddy]
) -> None:
    with kind(tmp_path / "proxy", demo.http_port) as proxy:
        watcher = Watcher(page)
        failed: list[str] = []
        page.on("response", lambda r: failed.append(r.url) if r.status == 404 else None)
        for path in ("/play/live/demo?via=hls", "/embed/live/demo?via=hls&autoplay=1&muted=1"):
            watcher.open(proxy.url + path)
            watcher.wait_playing()
            glance = wait_until(watcher.glance, lambda seen: seen is not None, 10, "a clock")
            assert glance is not None
            assert glance.glass_s < 3
        time.sleep(4)
        assert watcher.data()["state"] == "playing"
        protocols = page.evaluate(
            "performance.getEntriesByType('resource').map((e) => [e.name, e.nextHopProtocol])"
        )
        assert {protocol for name, protocol in protocols if ".m4s" in name} == {"h2"}
        assert all(name.startswith(proxy.url) for name, _ in protocols if "blob:" not in name)
        watcher.open(f"{proxy.url}/")
        page.wait_for_selector("#watch-name:visible")
        page.fill("#watch-name", "live/demo")
        page.press("#watch-name", "Enter")
        page.wait_for_url(f"{proxy.url}/play/live/demo")
        watcher.wait_playing()
        assert failed == []
        # A stranger may not read the API behind a proxy; nothing else may be complained of.
        assert [text for text in watcher.messages if "401" not in text] == []


@pytest.mark.parametrize("kind", [Nginx, Caddy])
def test_a_client_cannot_choose_its_address_through_the_recipe(
    demo: RunningServer, tmp_path: Path, kind: type[Nginx] | type[Caddy]
) -> None:
    with kind(tmp_path / "proxy", demo.http_port) as proxy:
        name = f"liar-{kind.__name__}"
        watch_once(proxy.url, name, {"X-Forwarded-For": STRANGER})
        assert addresses(demo, name) == {"127.0.0.1"}


def test_forwarded_for_counts_only_from_a_trusted_proxy(
    demo: RunningServer, tmp_path: Path
) -> None:
    headers = {"X-Forwarded-For": f"198.51.100.1, {STRANGER}"}
    watch_once(demo.base_url, "behind-a-proxy", headers)
    assert addresses(demo, "behind-a-proxy") == {STRANGER}
    with RunningServer(tmp_path, command="demo") as server:
        server.wait_live("live/demo")
        watch_once(server.base_url, "liar", headers)
        assert addresses(server, "liar") == {"127.0.0.1"}


def test_nginx_answers_media_from_its_cache_and_playlists_never(
    demo: RunningServer, tmp_path: Path
) -> None:
    with Nginx(tmp_path / "proxy", demo.http_port, tls=False) as proxy:
        url = f"{proxy.url}/hls/live/demo/index.m3u8"
        with LightPlayer(url, "a") as one, LightPlayer(url, "b") as two:
            wait_until(lambda: min(one.reloads, two.reloads), lambda n: n > 6, 20, "reloads")
            part = sorted(one.listed)[-1]
            media = next(
                line.split('"')[1]
                for line in demo_playlist(proxy).splitlines()
                if part in line and "PRELOAD" not in line
            )
            path = f"{proxy.url}/hls/live/demo/" + media.replace("../", "")
            states = []
            for _ in range(3):
                with urllib.request.urlopen(path, timeout=10) as answer:
                    states.append((answer.headers["X-Cache-Status"], answer.read()))
        assert [state for state, _ in states][1:] == ["HIT", "HIT"]
        assert len({body for _, body in states}) == 1
        hits = [row[3] for row in proxy.requests() if row[2] == "HIT"]
        assert hits
        assert not [path for path in hits if ".m3u8" in path]


def demo_playlist(proxy: Nginx) -> str:
    """The media playlist of a viewer of its own."""
    base = f"{proxy.url}/hls/live/demo/"
    with urllib.request.urlopen(base + "index.m3u8", timeout=10) as answer:
        media = answer.read().decode().splitlines()[-1]
    with urllib.request.urlopen(base + media, timeout=10) as answer:
        text: str = answer.read().decode()
        return text


def test_no_cache_shows_the_old_broadcast_after_a_restart(tmp_path: Path, browser: Any) -> None:
    require("ffmpeg")
    server = RunningServer(tmp_path / "server", settings=(TRUST,), publish_key=PUBLISH_KEY)
    with server, Nginx(tmp_path / "proxy", server.http_port, tls=False) as proxy:
        watchers = [Watcher(browser.new_context().new_page()) for _ in range(2)]
        with FfmpegPublisher(
            server.rtmp_url(f"live/camera?key={PUBLISH_KEY}"), tmp_path, colour="red"
        ):
            server.wait_live("live/camera")
            for watcher, base in zip(watchers, (server.base_url, proxy.url), strict=True):
                watcher.open(f"{base}/play/live/camera")
                watcher.wait_playing(30)
                watcher.page.evaluate(COLOURS)
            time.sleep(3)
            server.stop()
        marks = [len(watcher.page.evaluate("colours")) for watcher in watchers]
        server.start()
        with FfmpegPublisher(
            server.rtmp_url(f"live/camera?key={PUBLISH_KEY}"), tmp_path, colour="blue"
        ):
            server.wait_live("live/camera")
            # A page that was never there before, through the cache that holds the old media.
            late = Watcher(browser.new_context().new_page())
            late.open(f"{proxy.url}/play/live/camera")
            late.page.evaluate(COLOURS)
            for watcher, mark in zip((*watchers, late), (*marks, 0), strict=True):
                wait_until(
                    partial(watcher.page.evaluate, "colours"),
                    lambda seen: seen[-1:] == ["blue"],
                    40,
                    "blue shown",
                )
                watcher.wait_playing()
                time.sleep(2)
                assert "red" not in watcher.page.evaluate("colours")[mark:]
                assert float(watcher.data()["latency"]) < 4
                watcher.page.context.close()


def test_a_self_signed_certificate_serves_pages_and_stream(tmp_path: Path, page: Any) -> None:
    with RunningServer(tmp_path, command="demo", arguments=("--tls-self-signed",)) as server:
        server.wait_live("live/demo")
        watcher = Watcher(page)
        watcher.open(f"https://127.0.0.1:{server.https_port}/play/live/demo")
        watcher.wait_playing()
        time.sleep(5)
        assert watcher.data()["state"] == "playing"
        assert float(watcher.data()["latency"]) < 2.5
        assert watcher.messages == []


def test_a_new_certificate_is_served_without_a_restart(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path)
    settings = (f"http.cert_file={certificate}", f"http.key_file={key}")
    with RunningServer(tmp_path / "server", settings=settings) as server:
        address = ("127.0.0.1", server.https_port)
        first = ssl.get_server_certificate(address)
        assert first.strip() == certificate.read_text().strip()
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        old = http.client.HTTPSConnection(*address, context=context, timeout=10)
        old.request("GET", "/healthz")
        assert old.getresponse().read() is not None
        write_certificate(tmp_path)
        renewed = certificate.read_text().strip()
        wait_until(
            lambda: ssl.get_server_certificate(address).strip(),
            lambda seen: seen == renewed,
            90,
            "the new certificate",
        )
        # What was open before goes on.
        old.request("GET", "/readyz")
        assert json.loads(old.getresponse().read() or "{}") is not None
        old.close()
