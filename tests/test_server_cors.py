"""Pages of other origins and the API, before a whole server."""

from pathlib import Path

import aiohttp
import pytest

from streamserver.config import InvalidConfigError, load
from tests.endpoints.helpers_site import running

APP = "https://app.example"
EVIL = "https://evil.example"
TOKEN = {"Authorization": "Bearer token-of-the-test"}
ALLOW = "Access-Control-Allow-Origin"


async def test_the_api_is_closed_to_pages_unless_they_are_listed(tmp_path: Path) -> None:
    async with running(tmp_path) as site, aiohttp.ClientSession(headers=TOKEN) as http:
        url = f"http://127.0.0.1:{site.http_port}/api/v1/streams"
        for method in ("GET", "OPTIONS"):
            async with http.request(method, url, headers={"Origin": APP}) as answer:
                assert not [one for one in answer.headers if one.startswith("Access-Control")]


async def test_listed_pages_call_it_with_a_token_and_others_do_not(tmp_path: Path) -> None:
    async with (
        running(tmp_path, f"api.cors_origins={APP}", "http.base_path=/tv") as site,
        aiohttp.ClientSession() as http,
    ):
        base = f"http://127.0.0.1:{site.http_port}/tv"
        url = f"{base}/api/v1/streams"
        ours = {"Origin": APP, "Sec-Fetch-Site": "cross-site"}
        async with http.options(url, headers=ours) as answer:
            assert answer.status == 204
            assert answer.headers[ALLOW] == APP
            assert "POST" in answer.headers["Access-Control-Allow-Methods"]
            allowed = answer.headers["Access-Control-Allow-Headers"]
            assert {"Authorization", "Idempotency-Key"} <= set(allowed.split(", "))
        body = {"app": "live", "name": "show"}
        async with http.post(url, json=body, headers={**ours, **TOKEN}) as answer:
            assert (answer.status, answer.headers[ALLOW]) == (201, APP)
        # That it comes from this machine opens nothing to a page; and it may read why not.
        async with http.get(url, headers=ours) as answer:
            assert (answer.status, answer.headers[ALLOW]) == (401, APP)
        async with http.get(f"{base}/api/v1/events", headers={**ours, **TOKEN}) as answer:
            assert (answer.content_type, answer.headers[ALLOW]) == ("text/event-stream", APP)
        theirs = {"Origin": EVIL, "Sec-Fetch-Site": "cross-site"}
        async with http.get(url, headers={**theirs, **TOKEN}) as answer:
            assert ALLOW not in answer.headers
            assert "Origin" in answer.headers.getall("Vary")
        async with http.post(url, json=body, headers={**theirs, **TOKEN}) as answer:
            assert answer.status == 403
        for path in ("/metrics", "/readyz", "/"):
            async with http.get(base + path, headers={**ours, **TOKEN}) as answer:
                assert ALLOW not in answer.headers


async def test_a_star_opens_it_to_all_pages_that_have_a_token(tmp_path: Path) -> None:
    async with (
        running(tmp_path, "api.cors_origins=*") as site,
        aiohttp.ClientSession(headers={"Origin": EVIL, "Sec-Fetch-Site": "cross-site"}) as http,
    ):
        url = f"http://127.0.0.1:{site.http_port}/api/v1/streams"
        body = {"app": "live", "name": "show"}
        async with http.post(url, json=body, headers=TOKEN) as answer:
            assert (answer.status, answer.headers[ALLOW]) == (201, "*")
        async with http.post(url, json=body) as answer:
            assert answer.status == 401


def test_what_is_no_origin_is_a_fault() -> None:
    with pytest.raises(InvalidConfigError, match=r"api\.cors_origins"):
        load(environ={}, overrides=["api.cors_origins=https://app.example/path"])
