from pathlib import Path

import pytest

from streamserver.config import InvalidConfigError, load


def faults(directory: Path, text: str) -> str:
    file = directory / "config.toml"
    file.write_text(text)
    with pytest.raises(InvalidConfigError) as caught:
        load(file, environ={})
    return str(caught.value)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("public_addresses = []", "lists nothing"),
        ('public_addresses = ["a b"]', "no address or host name"),
        ("port = 8080", "is the port of http.port too"),
        ("ice_servers = [{ urls = [] }]", "lists nothing"),
        ('ice_servers = [{ urls = ["http://x"] }]', "no stun:, turn: or turns: URL"),
        ('ice_servers = [{ urls = ["stun:x>; y"] }]', "no stun:, turn: or turns: URL"),
        ('ice_servers = [{ urls = ["turn:x"] }]', "needs username and credential"),
        (
            'ice_servers = [{ urls = ["turn:x"], secret = "a", credential = "b" }]',
            "beside a credential",
        ),
        (
            "ice_servers = [{ urls = ['turn:x'], username = 'a\"b', credential = 'c' }]",
            "holds quotes",
        ),
    ],
)
def test_what_cannot_work_is_a_fault_with_its_line(tmp_path: Path, line: str, says: str):
    found = faults(tmp_path, f"[webrtc]\n{line}\n")
    assert says in found
    assert "config.toml:2: " in found


def test_servers_and_addresses_are_read_and_secrets_masked(tmp_path: Path):
    file = tmp_path / "config.toml"
    file.write_text(
        '[webrtc]\npublic_addresses = ["203.0.113.7", "media.example.org", "2001:db8::1"]\n'
        '[[webrtc.ice_servers]]\nurls = ["stun:stun.example.org:3478"]\n'
        '[[webrtc.ice_servers]]\nurls = ["turns:turn.example.org?transport=tcp"]\nsecret = "hush"\n'
    )
    config = load(file, environ={}).config.webrtc
    assert config.public_addresses[1] == "media.example.org"
    assert config.ice_servers[1].secret.reveal() == "hush"
    assert "hush" not in repr(config)
