#!/usr/bin/env python3
"""Tells who is live and how many watch, and each change of it, from the API.

    python examples/api_watch.py [http://localhost:8080] [--token TOKEN]

From another machine than the server's the API wants its token: --token, or $STREAMSERVER_TOKEN.
Needs nothing but Python.
"""

import argparse
import contextlib
import json
import os
import time
import urllib.error
import urllib.request


def streams(base_url: str, token: str) -> dict[str, dict]:
    """The live streams by their name."""
    request = urllib.request.Request(f"{base_url.rstrip('/')}/api/v1/streams?state=live")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=10) as answer:
        items = json.load(answer)["items"]
    return {f"{item['app']}/{item['name']}": item for item in items}


def describe(stream: dict) -> str:
    """One line about a stream."""
    words = [f"{stream['viewers']['total']} watching"]
    for track in stream["tracks"]:
        size = f" {track['width']}x{track['height']}" if track["kind"] == "video" else ""
        words.append(f"{track['codec']}{size}")
    words.append(f"{stream['bit_rate'] / 1_000_000:.1f} Mbit/s")
    return ", ".join(words)


def main() -> None:
    """Asks again and again, and prints what has changed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", nargs="?", default="http://localhost:8080")
    parser.add_argument("--token", default=os.environ.get("STREAMSERVER_TOKEN", ""))
    parser.add_argument("--every", type=float, default=2, metavar="SECONDS")
    options = parser.parse_args()
    before: dict[str, dict] = {}
    while True:
        try:
            now = streams(options.url, options.token)
        except urllib.error.HTTPError as error:
            raise SystemExit(f"the API answers {error.code}: {error.read().decode()}") from None
        except OSError as error:
            print(f"no answer from {options.url}: {error}", flush=True)
            time.sleep(options.every)
            continue
        for name in before.keys() - now.keys():
            print(f"{name} has ended", flush=True)
        for name, stream in now.items():
            old = before.get(name)
            if old is None or old["session_id"] != stream["session_id"]:
                print(f"{name} is live: {describe(stream)}", flush=True)
            elif old["viewers"]["total"] != stream["viewers"]["total"]:
                print(f"{name}: {stream['viewers']['total']} watching", flush=True)
        before = now
        time.sleep(options.every)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
