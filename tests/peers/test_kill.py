"""Kill -9 in the middle of many API writes: all that was answered is there after the restart."""

import hashlib
import http.client
import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from tests.peers.server import RunningServer

pytestmark = [pytest.mark.peer, pytest.mark.timeout(240)]

_WRITES: Final = 1000
_WRITERS: Final = 8
_KILL_AFTER: Final = 500


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    with RunningServer(tmp_path) as running:
        yield running


class Writers:
    """Threads that write until the server is gone, and remember what was answered."""

    def __init__(self, server: RunningServer) -> None:
        self._server = server
        self._numbers = iter(range(_WRITES))
        self._lock = threading.Lock()
        self.enough = threading.Event()
        self.answered = 0
        self.keys: dict[str, str] = {}
        self.titles: dict[str, str] = {}
        self.destinations: dict[str, str] = {}
        self.webhooks: set[str] = set()
        self.removed: set[str] = set()

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._server.http_port, timeout=30)
        with closing(connection):
            while True:
                with self._lock:
                    number = next(self._numbers, None)
                if number is None:
                    return
                try:
                    self._write(connection, f"s{number // 5 * 5}-{number}", number % 5)
                except (OSError, http.client.HTTPException):
                    return  # killed

    def _write(self, connection: http.client.HTTPConnection, name: str, kind: int) -> None:
        made = self._ask(connection, "POST", "streams", {"app": "live", "name": name})
        self.keys[name] = made["publish_key"]
        path = f"streams/live/{name}"
        if kind == 1:
            self._ask(connection, "PATCH", path, {"title": f"title of {name}"})
            self.titles[name] = f"title of {name}"
        elif kind == 2:
            # From here on the old key is not promised any more.
            del self.keys[name]
            self.keys[name] = self._ask(connection, "POST", f"{path}/key")["publish_key"]
        elif kind == 3:
            if len(self.destinations) < 200:
                body = {"url": f"rtmp://127.0.0.1:9/live/{name}"}
                made = self._ask(connection, "POST", f"{path}/destinations", body)
                self.destinations[name] = made["id"]
        elif len(self.webhooks) < 10:
            hook = {"url": f"http://127.0.0.1:9/{name}", "enabled": False}
            self.webhooks.add(self._ask(connection, "POST", "webhooks", hook)["id"])
        else:
            del self.keys[name]
            self._ask(connection, "DELETE", path)
            self.removed.add(name)

    def _ask(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: Any = None
    ) -> Any:
        headers = {"Authorization": f"Bearer {self._server.api_token}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        text = None if body is None else json.dumps(body)
        connection.request(method, f"/api/v1/{path}", text, headers)
        response = connection.getresponse()
        answer = response.read()
        assert response.status < 300, answer
        with self._lock:
            self.answered += 1
            if self.answered >= _KILL_AFTER:
                self.enough.set()
        return json.loads(answer) if answer else None


def test_what_was_answered_is_there_after_a_kill(server: RunningServer) -> None:
    writers = Writers(server)
    threads = [threading.Thread(target=writers.run) for _ in range(_WRITERS)]
    for thread in threads:
        thread.start()
    assert writers.enough.wait(60)
    assert any(thread.is_alive() for thread in threads)
    server.kill()
    for thread in threads:
        thread.join()
    assert writers.answered >= _KILL_AFTER
    assert min(map(len, (writers.titles, writers.destinations, writers.webhooks))) > 0
    server.start()

    found = {}
    for offset in range(0, 2000, 1000):
        page = server.api(f"streams?limit=1000&offset={offset}")
        found.update({one["name"]: one for one in page["items"]})
    assert writers.keys.keys() <= found.keys()
    assert not writers.removed & found.keys()
    for name, title in writers.titles.items():
        assert found[name]["title"] == title
    for name, ident in writers.destinations.items():
        assert ident in [one["id"] for one in found[name]["destinations"]]
    assert writers.webhooks <= {one["id"] for one in server.api("webhooks")["items"]}
    path = server.directory / "state" / "streamserver.sqlite"
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        hashes = dict(db.execute("SELECT name, hash FROM stream_key"))
    for name, key in writers.keys.items():
        assert hashes[name] == f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"
