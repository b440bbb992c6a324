"""Metrics of a whole server are those that are documented; the dashboard asks for no others."""

import asyncio
import json
import re
from pathlib import Path

import aiohttp

from tests.endpoints.helpers_site import running
from tests.peers.proxies import write_certificate

GRAFANA = Path(__file__).parents[1] / "examples" / "grafana"


async def test_every_metric_is_documented_and_nothing_else(tmp_path: Path) -> None:
    async with running(tmp_path) as site, aiohttp.ClientSession() as http:
        await site.publish()
        url = f"http://127.0.0.1:{site.http_port}/metrics"
        async with http.get(url) as answer:
            text = await answer.text()
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    rows = [
        f"| `{name}` | {types[name]} | {meaning} |"
        for name, meaning in re.findall(r"^# HELP (\S+) (.*)$", text, re.MULTILINE)
    ]
    documented = (GRAFANA / "README.md").read_text().splitlines()
    assert [line for line in documented if line.startswith("| `")] == rows
    dashboard = json.loads((GRAFANA / "streamserver.json").read_text())
    asked = [one["expr"] for panel in dashboard["panels"] for one in panel["targets"]]
    assert len(asked) > 10
    for expression in asked:
        for name in re.findall(r"\b(?:streamserver|process)_\w+", expression):
            assert name.removesuffix("_bucket") in types, expression


async def test_a_handshake_that_comes_to_nothing_is_counted(tmp_path: Path) -> None:
    cert, key = write_certificate(tmp_path)
    files = f"rtmp.cert_file={cert}", f"rtmp.key_file={key}"
    async with (
        running(tmp_path, "rtmp.tls_port=0", *files) as site,
        aiohttp.ClientSession() as http,
    ):
        ports = {one.name: one.port for one in site.server.facts.listeners}
        reader, writer = await asyncio.open_connection("127.0.0.1", ports["rtmps"])
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await reader.read()
        writer.close()
        async with http.get(f"http://127.0.0.1:{site.http_port}/metrics") as answer:
            text = await answer.text()
    assert 'streamserver_tls_handshakes_total{outcome="failed"} 1' in text
