"""FFmpeg's own WHIP client, which waits for the server's DTLS hello.

With GnuTLS, as in PyAV's wheels, it makes itself a certificate on P-224, a curve that OpenSSL 4
does not know any more in TLS: no server above it shakes hands with that. With a certificate of
one's own, or FFmpeg above OpenSSL, all is well.
"""

from pathlib import Path

import pytest

from streamserver.net.tls import self_signed_pem
from tests.peers.browser import wait_until
from tests.peers.publishers import publishing, pyav
from tests.peers.server import PUBLISH_KEY, RunningServer

pytestmark = pytest.mark.peer


def test_ffmpeg_publishes_by_whip_with_its_token(guarded: RunningServer, tmp_path: Path):
    url = f"{guarded.base_url}/whip/live/ffmpeg"
    certificate = tmp_path / "own.pem"
    certificate.write_bytes(b"".join(self_signed_pem({"localhost"})))
    command = pyav(
        url, "--audio", "opus", "--token", PUBLISH_KEY, "--certificate", str(certificate)
    )
    with publishing(command, tmp_path / "pyav.log"):
        stream = wait_until(
            lambda: guarded.stream("live/ffmpeg"),
            lambda stream: stream is not None and len(stream["tracks"]) == 2,
            20,
            "the stream",
        )
        assert [track["codec"] for track in stream["tracks"]] == ["h264", "opus"]
        assert stream["publisher"]["protocol"] == "whip"
        assert "Lavf" in stream["publisher"]["user_agent"]
        wait_until(
            lambda: guarded.stream("live/ffmpeg")["publisher"]["link"]["packets"],
            lambda packets: packets > 300,
            20,
            "packets",
        )
    wait_until(
        lambda: guarded.stream("live/ffmpeg"),
        lambda stream: stream is None or stream["state"] == "interrupted",
        40,
        "the end",
    )


def test_ffmpeg_with_a_wrong_token_is_refused(guarded: RunningServer, tmp_path: Path):
    url = f"{guarded.base_url}/whip/live/stranger"
    command = pyav(url, "--audio", "opus", "--token", "wrong-token-of-nobody")
    with publishing(command, tmp_path / "pyav.log") as publisher:
        assert publisher.wait() != 0
    assert guarded.stream("live/stranger") is None
