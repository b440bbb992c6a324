"""README shows each route of the API once; `tests/peers/test_readme.py` runs what it shows."""

import re

from streamserver.api.routes import ROUTES
from tests.peers.readme import api_commands

_UNSHOWN = {
    ("GET", "/api/v1/openapi.json"),
}
"""Named in the text around."""


def test_readme_has_a_command_for_every_route_of_the_api() -> None:
    shown = set()
    for command in api_commands():
        method = re.search(r"-X (\w+)", command)
        path = re.search(r"\$API(/[^\s\"?]*)", command)
        assert path is not None, command
        made = re.sub(r"/live/(demo|show)", "/{app}/{name}", path[1])
        made = made.replace("/live/*", "/{app}/{scope}")
        made = re.sub(r"\$\w+", "{id}", made)
        verb = method[1] if method else "POST" if " -d " in command else "GET"
        shown.add((verb, "/api/v1" + made))
    routes = {(one.method, one.path) for one in ROUTES if one.path.startswith("/api/")}
    assert shown == routes - _UNSHOWN
