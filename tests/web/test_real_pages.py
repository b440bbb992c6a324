"""Pages of a real server in Chromium: registering a stream, its keys, a kick, events, the API's."""

from pathlib import Path

import aiohttp
import m3u8
import pytest

from tests.browser import chromium, open_page
from tests.endpoints.helpers_site import Site, running

pytestmark = [pytest.mark.peer, pytest.mark.timeout(120)]


async def watch(site: Site) -> None:
    """A viewer over HLS."""
    base = f"http://127.0.0.1:{site.http_port}/hls/live/cam/"
    async with aiohttp.ClientSession() as http:
        async with http.get(base + "index.m3u8") as answer:
            playlists = m3u8.loads(await answer.text()).playlists
        async with http.get(base + playlists[0].uri) as answer:
            assert answer.status == 200


async def test_a_stream_is_registered_gets_new_keys_and_a_viewer_is_kicked(tmp_path: Path) -> None:
    async with running(tmp_path) as site, chromium() as browser:
        await site.publish()
        await watch(site)
        url = f"http://127.0.0.1:{site.http_port}/#token=token-of-the-test"
        async with open_page(browser, url) as watched:
            page = watched.page
            await page.fill("#register-name", "live/show")
            await page.click("#register button")
            await page.wait_for_selector("#key-dialog[open]")
            first = await page.input_value("#key-value")
            await page.click("#key-dialog button.primary")
            await page.click("#happened summary")
            await page.click(".who summary")
            await page.click("[data-part=kick]")
            await page.wait_for_selector("#events :text('viewer.left')")
            await site.until_viewers(0)
            await page.click("[data-part=rotate]")
            await page.click("#sure-yes")
            await page.wait_for_selector("#key-dialog[open]")
            assert await page.input_value("#key-value") != first
            await page.click("#key-dialog button.primary")
            assert await page.input_value("#key-value") == ""
            await page.click("[data-part=remove]")
            await page.click("#sure-yes")
            await page.wait_for_selector("#registered-list > li", state="detached")
            assert watched.faults == []


async def test_the_api_describes_itself_in_a_browser(tmp_path: Path) -> None:
    async with running(tmp_path) as site, chromium() as browser:
        url = f"http://127.0.0.1:{site.http_port}/api/v1/docs#createStream"
        async with open_page(browser, url) as watched:
            await watched.page.wait_for_selector("#createStream h3")
            assert await watched.page.locator(".operation").count() > 35
            assert watched.faults == []
