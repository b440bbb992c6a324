"""``python -m benchmarks.answer``: from a browser's offer to the answer, over a connection each.

Offers of Chromium to publish, one after the other, to a server process that does nothing else. On
a machine with other work the time is mostly that of waiting for a processor, which stands beside.
"""

import argparse
import http.client
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.procfs import usage
from benchmarks.servers import Running, streamserver

_OFFER = Path(__file__).parent.parent / "tests" / "data" / "sdp" / "chromium_publish.sdp"
_PAUSE_S = 0.01


def _waited_ms(pid: int) -> float:
    """For how long its threads were ready and had no processor."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[1]) for task in tasks) / 1e6


def _exchange(server: Running, offer: bytes) -> tuple[float, float, float]:
    """Milliseconds from the connection to the answer: in all, of processor, and without one."""
    cpu_ms, waited_ms = usage(server.pid).cpu_ms, _waited_ms(server.pid)
    began = time.perf_counter()
    client = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=20)
    client.request("POST", "/whip/live/answer", offer, {"Content-Type": "application/sdp"})
    answer = client.getresponse()
    answer.read()
    took_ms = (time.perf_counter() - began) * 1000
    spent = took_ms, usage(server.pid).cpu_ms - cpu_ms, _waited_ms(server.pid) - waited_ms
    if answer.status != 201:
        raise SystemExit(f"the offer was answered {answer.status}")
    client.request("DELETE", answer.headers["Location"])
    client.getresponse().read()
    client.close()
    return spent


def main() -> None:
    """Prints a line for each kind of time."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.answer", description=__doc__)
    parser.add_argument("--count", type=int, default=300, help="of offers (300)")
    count = parser.parse_args().count
    offer = _OFFER.read_bytes()
    spent = []
    with (
        tempfile.TemporaryDirectory() as directory,
        streamserver(Path(directory) / "ours") as server,
    ):
        for _ in range(count):
            spent.append(_exchange(server, offer))
            time.sleep(_PAUSE_S)
    for name, values in zip(
        ("in all", "processor", "without one"), zip(*spent, strict=True), strict=True
    ):
        p50, p99 = np.percentile(values, (50, 99))
        print(f"{name:12} p50 {p50:5.1f}  p99 {p99:5.1f}  max {max(values):5.1f} ms")


if __name__ == "__main__":
    main()
