import pytest

from streamserver.errors import UnavailableError
from streamserver.webrtc import private, private_srtp
from streamserver.webrtc.self_test import self_test


def test_the_installed_libraries_are_what_we_take_them_for():
    self_test()


@pytest.mark.parametrize(
    ("module", "name"),
    [(private_srtp, "srtp_protect"), (private, "new_dtls"), (private_srtp, "srtp_handle")],
)
def test_a_private_name_that_is_gone_is_told_in_a_sentence(module, name, monkeypatch):
    monkeypatch.delattr(module, name)
    with pytest.raises(UnavailableError, match="install the versions of aiortc"):
        self_test()


def test_protection_that_does_not_protect_is_noticed(monkeypatch):
    monkeypatch.setattr(private_srtp, "srtp_protect", lambda *_: 0)
    with pytest.raises(UnavailableError, match="did not come through"):
        self_test()
