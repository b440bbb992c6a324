"""One object asked for as fast as it comes, with a browser's headers; needs ``wrk``."""

import re
import subprocess

from benchmarks.load import UselessRunError
from benchmarks.procfs import usage
from benchmarks.servers import Running

__all__ = ["microseconds_per_request"]

_HEADERS = {
    "sec-ch-ua": '"Chromium";v="126", "Not.A/Brand";v="24"',
    "sec-ch-ua-mobile": "?0",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/126.0.0.0 Safari/537.36",
    "sec-ch-ua-platform": '"Linux"',
    "Accept": "*/*",
    "Sec-Fetch-Site": "same-origin",
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Dest": "empty",
    "Referer": "http://localhost:8080/play/live/demo",
    # Both servers send plain bytes then: they compare the same number of them.
    "Accept-Encoding": "identity",
    "Accept-Language": "en-US,en;q=0.9",
}


def microseconds_per_request(
    server: Running, path: str, connections: int, seconds: int
) -> tuple[float, int]:
    """The server's CPU time per request, and requests. Raises `UselessRunError`."""
    headers = [word for pair in _HEADERS.items() for word in ("-H", f"{pair[0]}: {pair[1]}")]
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", *headers, server.url(path)]
    before = usage(server.pid).cpu_ms
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    spent_ms = usage(server.pid).cpu_ms - before
    found = re.search(r"(\d+) requests in", said)
    if found is None or "Non-2xx" in said or "Socket errors" in said:
        raise UselessRunError(f"wrk says: {said}")
    count = int(found.group(1))
    if not count:
        raise UselessRunError(f"no answer to {path}")
    return spent_ms * 1000 / count, count
