import pytest

from streamserver.config.secret import Secret
from streamserver.errors import ConfigError
from streamserver.webrtc.turn import IceServer

NOW_NS = 1_800_000_000 * 1_000_000_000


def test_a_credential_is_the_signature_of_its_user_name_and_expiry():
    server = IceServer(url="turn:turn.example.net:3478?transport=udp", secret=Secret("s3cret"))
    offer = server.offer(NOW_NS, user="live/cam", valid_s=600)
    assert offer.username == "1800000600:livecam"
    # printf 1800000600:livecam | openssl dgst -sha1 -hmac s3cret -binary | base64
    assert offer.credential == "qKk51NhAXTg1drJ5oGpjl0oFyd8="


def test_the_link_header_quotes_and_names_the_relation():
    server = IceServer(
        url="turns:turn.example.net", username='a"b', credential=Secret("back\\slash")
    )
    assert server.offer(NOW_NS).link() == (
        '<turns:turn.example.net>; rel="ice-server"; username="a\\"b"; '
        'credential="back\\\\slash"; credential-type="password"'
    )
    stun = IceServer(url="stun:stun.example.net:19302").offer(NOW_NS)
    assert stun.link() == '<stun:stun.example.net:19302>; rel="ice-server"'
    assert stun.as_ice_server() == {"urls": ["stun:stun.example.net:19302"]}


@pytest.mark.parametrize(
    "url", ["", "http://a", "turn:", "turn:a b", "stun:a>; rel=x", "turn:a\r\nX: y", "stun:a:1/x"]
)
def test_what_is_no_server_is_refused(url):
    with pytest.raises(ConfigError):
        IceServer(url=url, secret=Secret("x"))


def test_a_relay_without_login_is_refused_and_no_secret_is_shown():
    with pytest.raises(ConfigError, match="needs a secret"):
        IceServer(url="turn:turn.example.net")
    server = IceServer(url="turn:turn.example.net", secret=Secret("s3cret"))
    assert "s3cret" not in repr(server)
    offer = server.offer(NOW_NS)
    assert offer.username == "1800086400"
    assert offer.credential not in repr(offer)
