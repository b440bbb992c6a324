"""The pages in a real Chromium."""

import base64
from urllib.parse import quote

import numpy as np
import pytest

from streamserver.ffmpeg.testsource_clock import BlockClock
from tests.browser import chromium, open_page, read_block_clock
from tests.web.helpers_site import TOKEN, destination, running_site, stream

pytestmark = pytest.mark.peer


@pytest.fixture
async def browser():
    async with chromium() as opened:
        yield opened


@pytest.fixture(params=["", "/some/prefix"])
async def site(request):
    async with running_site(request.param) as running:
        yield running


async def test_the_dashboard_lists_what_is_live_and_updates_itself(browser, site):
    async with open_page(browser, site.url) as watched:
        await watched.page.wait_for_selector("#nothing")
        site.streams.append(stream())
        card = watched.page.locator(".card")
        await card.wait_for()
        text = await card.inner_text()
        for shown in (
            "live/demo", "1:0", "1280\u00d7720", "29.97 fps", "H.264 High", "2.65 Mbit/s",
            "12 viewers", "10 HLS, 2 RTMP",
        ):  # fmt: skip
            assert shown in text
        site.streams[0]["viewers"]["total"] = 13
        await watched.until("document.querySelector('.card .viewers').innerText.includes('13')")
        site.streams.clear()
        await watched.until("!document.querySelector('.card')")
        assert watched.faults == []


async def test_names_and_messages_are_text_whatever_they_look_like(browser, site):
    evil = "<img src=x onerror=document.title='owned'>"
    health = [{"code": "x", "severity": "warning", "message": evil}]
    site.streams.append(stream(name=evil, title=evil, health=health))
    async with open_page(browser, site.url) as watched:
        card = watched.page.locator(".card")
        await card.wait_for()
        assert (await card.inner_text()).count(evil) == 3
        assert await watched.page.locator(".card img").count() == 0
        assert await watched.page.title() == "streamserver"
        assert watched.faults == []


async def test_a_stranger_is_asked_to_sign_in_and_may_then_stop_a_stream(browser, site):
    site.open = False
    site.streams.append(stream())
    async with open_page(browser, site.url) as watched:
        page = watched.page
        await page.fill("#token", "wrong")
        await page.click("#sign-in button")
        await watched.until("document.querySelector('#sign-in-error').textContent !== ''")
        assert not await page.locator(".card").count()
        await page.fill("#token", TOKEN)
        await page.click("#sign-in button")
        await page.click(".card [data-field=stop]")
        assert await page.inner_text("#confirm-name") == "live/demo"
        await page.click("#confirm button[value=cancel]")
        assert site.posts == []
        await page.click(".card [data-field=stop]")
        await page.click("#confirm button[value=stop]")
        await watched.until("!document.querySelector('.card')")
        assert site.posts == [("streams/live/demo/stop", f"Bearer {TOKEN}")]
        await page.click("#sign-out")
        await page.wait_for_selector("#sign-in")
        assert watched.faults == []


async def test_a_card_shows_where_its_stream_goes_and_why_it_does_not(browser, site):
    error = {"class": "tls", "message": "its certificate is not valid", "at": ""}
    there = [destination(), destination("d2", name="", state="backoff", last_error=error)]
    site.streams.append(stream(destinations=there))
    async with open_page(browser, site.url) as watched:
        rows = watched.page.locator(".destinations li")
        await rows.nth(1).wait_for()
        live = await rows.nth(0).inner_text()
        assert all(shown in live for shown in ("Far", "Live", "2.64 Mbit/s"))
        sick = await rows.nth(1).inner_text()
        for shown in ("rtmps://far.test/live/ab12****", "Trying again", "certificate"):
            assert shown in sick
        # A stranger sees and changes nothing.
        assert not await watched.page.locator(".destinations button:visible").count()
        assert not await watched.page.locator(".forward:visible").count()
        site.streams[0]["destinations"] = [destination(state="stalled")]
        await watched.until("document.querySelectorAll('.destinations li').length === 1")
        assert watched.faults == []


async def test_who_is_signed_in_adds_and_pauses_destinations(browser, site):
    site.streams.append(stream(destinations=[destination()]))
    async with open_page(browser, f"{site.url}#token={quote(TOKEN)}") as watched:
        page = watched.page
        await page.click(".destinations [data-part=pause]")
        await watched.until("!document.querySelector('.forward').hidden")
        await page.click(".forward summary")
        await page.fill(".forward [name=url]", "rtmp://far.test/live/key?a=b&c=d")
        await page.fill(".forward [name=label]", "Second")
        await page.click(".forward button")
        await watched.until("document.querySelector('.forward [name=url]').value === ''")
        path = "streams/live/demo/destinations"
        assert site.changes == [
            ("PATCH", f"{path}/d1", '{"enabled":false}'),
            ("POST", path, '{"url":"rtmp://far.test/live/key?a=b&c=d","name":"Second"}'),
        ]
        site.refusal = "live/demo is sent there already"
        await page.fill(".forward [name=url]", "rtmp://far.test/live/key?a=b&c=d")
        await page.click(".forward button")
        await watched.until("document.querySelector('.forward .error').textContent !== ''")
        assert await page.input_value(".forward [name=url]")


async def test_the_play_page_shows_destinations_to_who_is_signed_in_and_adds_some(browser, site):
    error = {"class": "tls", "message": "its certificate is not valid", "at": ""}
    there = [destination(), destination("d2", state="backoff", last_error=error)]
    site.streams.append(stream(destinations=there))
    async with open_page(browser, f"{site.url}play/live/demo") as watched:
        await watched.page.wait_for_selector("#name")
        assert not await watched.page.locator("#forwarding:visible").count()
    assert "api/v1/streams/live/demo/destinations" not in site.seen
    async with open_page(browser, f"{site.url}play/live/demo#token={quote(TOKEN)}") as watched:
        page = watched.page
        await page.click("#forwarding summary")
        text = await page.locator(".destinations").inner_text()
        for shown in ("Far", "Live", "2.64 Mbit/s", "Trying again", "certificate"):
            assert shown in text
        await page.click(".destinations li:first-child [data-part=pause]")
        await page.click(".forward summary")
        await page.fill(".forward [name=url]", "rtmp://far.test/live/key?a=b")
        await page.click(".forward button")
        await watched.until("document.querySelector('.forward [name=url]').value === ''")
        path = "streams/live/demo/destinations"
        assert site.changes == [
            ("PATCH", f"{path}/d1", '{"enabled":false}'),
            ("POST", path, '{"url":"rtmp://far.test/live/key?a=b","name":""}'),
        ]


async def test_a_token_in_the_fragment_signs_in_and_leaves_the_address(browser, site):
    site.open = False
    site.streams.append(stream())
    async with open_page(browser, f"{site.url}#token={TOKEN.replace(' ', '%20')}") as watched:
        await watched.page.wait_for_selector(".card")
        assert watched.page.url == site.url


async def test_the_empty_dashboard_tells_how_to_publish(browser, site):
    async with open_page(browser, site.url) as watched:
        await watched.page.wait_for_selector("#nothing")
        # Filled again once the server has told its RTMP port.
        await watched.until("document.querySelector('#obs-server').value.includes(':1936/')")
        assert await watched.page.input_value("#obs-server") == "rtmp://127.0.0.1:1936/live"
        assert await watched.page.input_value("#obs-key") == "demo"
        assert "2 s" in await watched.page.inner_text("#publish")


async def test_the_play_page_waits_for_its_stream_and_asks_again(browser, site):
    async with open_page(browser, f"{site.url}play/live/demo") as watched:
        await watched.until("document.documentElement.dataset.state === 'waiting'")
        await watched.until("Number(document.documentElement.dataset.reloads) >= 2")
        assert await watched.page.inner_text("h1") == "live/demo"
        assert await watched.page.inner_text("#status") == "Waiting for the stream"
        await watched.until("!document.querySelector('#viewers-line').hidden")
        asked = [url for url in watched.requests if url.endswith(".m3u8")]
        assert len(asked) >= 2
        assert set(asked) == {f"{site.url}hls/live/demo/index.m3u8"}
        # This site has no WebRTC, and is asked for it once.
        assert watched.requests.count(f"{site.url}whep/live/demo") == 1
        assert "This server has no WebRTC." in await watched.page.inner_text("#via-note")
        assert watched.faults == []


async def test_the_embedded_player_asks_for_nothing_before_it_is_started(browser, site):
    async with open_page(browser, f"{site.url}embed/live/demo") as watched:
        await watched.page.wait_for_selector("#big-play")
        assert not [url for url in watched.requests if ".m3u8" in url]
        await watched.page.click("#big-play")
        await watched.until("document.documentElement.dataset.state === 'waiting'")
        assert watched.faults == []


async def test_a_playback_token_of_the_page_goes_to_the_stream_only(browser, site):
    async with open_page(browser, f"{site.url}play/live/demo?token=secret") as watched:
        await watched.until("document.documentElement.dataset.state === 'waiting'")
        with_token = {url for url in watched.requests if "secret" in url}
        assert with_token == {
            f"{site.url}play/live/demo?token=secret",
            f"{site.url}hls/live/demo/index.m3u8?token=secret",
        }
        assert "secret" not in await watched.page.input_value("#share-page")
        assert "secret" not in await watched.page.input_value("#share-hls")


async def test_the_block_clock_is_read_in_the_browser_as_it_was_drawn(browser):
    clock = BlockClock.for_picture(640, 360)
    draw = """([text, width, height]) => {
        const luma = Uint8Array.from(atob(text), c => c.charCodeAt(0));
        const canvas = document.createElement("canvas");
        canvas.width = width; canvas.height = height;
        const image = new ImageData(width, height);
        luma.forEach((v, i) => image.data.set([v, v, v, 255], i * 4));
        canvas.getContext("2d").putImageData(image, 0, 0);
        document.body.replaceChildren(canvas);
    }"""
    async with open_page(browser, "about:blank") as watched:
        for unix_ms in (0, 1_795_172_437_499, 2**44 - 1):
            luma = np.full((360, 640), 90, np.uint8)
            clock.draw(luma, unix_ms)
            await watched.page.evaluate(draw, [base64.b64encode(luma.tobytes()).decode(), 640, 360])
            assert await read_block_clock(watched.page, "canvas", clock) == unix_ms
        # Setting the size of a canvas clears it.
        await watched.page.evaluate("document.querySelector('canvas').width = 640")
        assert await read_block_clock(watched.page, "canvas", clock) is None
