"""The signalling of the pages, as functions in a real Chromium."""

import pytest

from streamserver.webrtc.fragment import read_fragment, write_fragment
from streamserver.webrtc.sdp import read_description
from streamserver.webrtc.turn import IceServerOffer
from tests.browser import chromium, open_page
from tests.web.helpers_site import running_site

pytestmark = pytest.mark.peer

CALL = "async ([url, name, values]) => (await import(url))[name](...values)"


@pytest.fixture
async def call():
    """Calls a function of ``whip.js``."""
    async with (
        running_site() as site,
        chromium() as browser,
        open_page(browser, f"{site.url}embed/live/demo") as watched,
    ):
        scripts = [one for one in watched.requests if one.endswith("/js/embed.js")]
        url = scripts[0].replace("embed.js", "whip.js")

        async def ask(name, *values):
            return await watched.page.evaluate(CALL, [url, name, values])

        yield ask


async def test_servers_for_stun_and_turn_are_read_from_links_as_we_write_them(call):
    relay = "turn:b.test:3478?transport=udp"
    offers = [
        IceServerOffer(url="stun:a.test"),
        IceServerOffer(url=relay, username='u;"', credential="c,d>"),
    ]
    links = ", ".join(offer.link() for offer in offers)
    assert await call("readIceServers", f'<x>; rel="next", {links}') == [
        {"urls": "stun:a.test"},
        {"urls": relay, "username": 'u;"', "credential": "c,d>"},
    ]
    assert await call("readIceServers", None) == []


OFFER = "\r\n".join((
    "v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0", "a=group:BUNDLE 0 1",
    "m=video 9 UDP/TLS/RTP/SAVPF 96", "a=mid:0", "a=ice-ufrag:newu",
    "a=ice-pwd:newPasswordOf24Characters", "m=audio 9 UDP/TLS/RTP/SAVPF 111", "a=mid:1",
    "a=ice-ufrag:newu", "a=ice-pwd:newPasswordOf24Characters", "",
))  # fmt: skip
ANSWER = OFFER.replace(
    "a=mid:1", "a=mid:1\r\na=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\na=end-of-candidates"
)


async def test_a_restart_sends_the_new_credentials_and_takes_the_servers(call):
    fragment = read_fragment(await call("fragmentOf", OFFER))
    assert (fragment.ufrag, fragment.password) == ("newu", "newPasswordOf24Characters")
    candidate = "2 1 udp 5 192.0.2.9 9 typ host"
    ours = write_fragment("ours", "ourPasswordOf24Characters", [candidate])
    answer = read_description(await call("restartedAnswer", ANSWER, ours))
    for section in answer.sections:
        assert (section.ufrag, section.password) == ("ours", "ourPasswordOf24Characters")
    assert [section.candidates for section in answer.sections] == [(), (candidate,)]
