"""The reference for a fan-out: a loop that does nothing but write the same bytes to each socket.

``python -m benchmarks.bare JOIN_MS``: prints its port, takes whoever connects, and sends the clip
in real time as RTMP chunks, joined for so many milliseconds.
"""

import socket
import sys
import time

from benchmarks import clip
from benchmarks.publish import chunks

_CHUNK = 65536


def main() -> None:
    """Serves until it is killed."""
    join_s = int(sys.argv[1]) / 1000
    media = clip.load()
    wire = [
        (ms / 1000, bytes(chunks(4 if kind == 8 else 6, kind, ms, 1, body, _CHUNK)))
        for kind, ms, body in media.messages
    ]
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    listener.setblocking(False)
    print(listener.getsockname()[1], flush=True)
    viewers: list[socket.socket] = []
    began, at, loops = time.monotonic(), 0, 0
    next_s = began
    while True:
        # From beginning to beginning, as ours: with the time of its writes on top it would write
        # less often, and larger pieces.
        now = time.monotonic()
        next_s = max(next_s + join_s, now)
        time.sleep(next_s - now)
        while True:
            try:
                viewer, _ = listener.accept()
            except BlockingIOError:
                break
            viewer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            viewers.append(viewer)
        now = time.monotonic() - began - loops * media.duration_ms / 1000
        due: list[bytes] = []
        while at < len(wire) and wire[at][0] <= now:
            due.append(wire[at][1])
            at += 1
        if at == len(wire):
            at, loops = 0, loops + 1
        block = b"".join(due)
        for viewer in list(viewers) if block else ():
            try:
                viewer.send(block)
            except OSError:
                viewers.remove(viewer)
                viewer.close()


if __name__ == "__main__":
    main()
