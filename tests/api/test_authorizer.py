from functools import partial

import pytest

from streamserver.api import ChainAuthorizer
from streamserver.auth import Chain, Decision, DefaultPolicy, is_loopback_request
from streamserver.auth.hashes import hash_secret
from streamserver.errors import AccessDeniedError
from tests.api.helpers_api import ApiWorld

STOP = "/api/v1/streams/live/demo/stop"
RIGHT = {"Authorization": "Bearer right"}
WRONG = {"Authorization": "Bearer wrong"}
ELSEWHERE = {"Host": "tv.example"}


def chain_authorizer(*, behind_proxy=False, deciders=()):
    chain = Chain(deciders, DefaultPolicy(api_hash=hash_secret("right")))
    return ChainAuthorizer(
        chain, partial(is_loopback_request, trusted_proxies_configured=behind_proxy)
    )


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/api/v1/server", {}, 200),
        ("GET", "/metrics", {}, 200),
        ("GET", "/api/v1/server", WRONG, 401),
        ("GET", "/api/v1/server", RIGHT, 200),
        ("GET", "/api/v1/server", ELSEWHERE, 401),
        ("GET", "/metrics", ELSEWHERE, 401),
        ("GET", "/api/v1/server", ELSEWHERE | RIGHT, 200),
        ("GET", "/api/v1/server", {"X-Forwarded-For": "127.0.0.1"}, 401),
        ("GET", "/api/v1/server", {"Via": "1.1 proxy"}, 401),
        ("GET", "/api/v1/server", {"Origin": "https://evil.example"}, 401),
        ("GET", "/healthz", ELSEWHERE, 200),
        ("POST", STOP, {}, 401),
        ("POST", STOP, WRONG, 401),
        ("POST", STOP, RIGHT, 204),
        ("POST", STOP, ELSEWHERE | RIGHT, 204),
        ("POST", STOP, {"Authorization": "Basic OnJpZ2h0"}, 204),
    ],
)
async def test_access_is_as_the_interface_promises(method, path, headers, status):
    world = ApiWorld()
    await world.publish()
    async with world.ask(method, path, headers=headers, authorizer=chain_authorizer()) as response:
        assert response.status == status
        assert ("WWW-Authenticate" in response.headers) == (status == 401)


async def test_behind_a_proxy_nobody_is_local():
    async with ApiWorld().ask(
        "GET", "/api/v1/server", authorizer=chain_authorizer(behind_proxy=True)
    ) as response:
        assert response.status == 401


class Denies:
    name = "token"

    async def decide(self, request):
        return Decision(False, "this token reads nothing", self.name)


async def test_a_decider_that_knows_the_credential_and_refuses_is_403():
    async with ApiWorld().ask(
        "GET", "/api/v1/server", headers=RIGHT, authorizer=chain_authorizer(deciders=[Denies()])
    ) as response:
        assert response.status == 403
        assert (await response.json())["detail"] == "this token reads nothing"


async def test_a_long_user_agent_is_cut():
    seen = []

    class Looks:
        async def decide(self, request):
            seen.append(request)
            return Decision(True, "yes", "looks")

    authorizer = ChainAuthorizer(Looks(), lambda ip, headers, host: False)
    async with ApiWorld().client(authorizer=authorizer) as client:
        headers = {"User-Agent": "x" * 5000}
        async with client.get("/api/v1/server", headers=headers) as response:
            assert response.status == 200
    [request] = seen
    assert len(request.user_agent) == 256
    assert (request.protocol, request.write, request.local) == ("http", False, False)


def test_a_refusal_for_lack_of_a_credential_is_an_access_error():
    from streamserver.api import UnauthenticatedError

    assert issubclass(UnauthenticatedError, AccessDeniedError)
