import socket
import ssl

import pytest

from streamserver.errors import LocalProtocolError, RemoteProtocolError
from streamserver.net.guard import ForbiddenAddressError
from streamserver.net.resolver import ResolveError
from streamserver.outputs.destinations.failures import (
    ErrorClass,
    FarSideError,
    classify,
    clean,
)
from streamserver.rtmp.target import parse_target

TARGET = parse_target("rtmp://far.test/live/ab12-secret-key?token=very-secret")


def test_the_classes_are_those_of_the_interface():
    assert list(ErrorClass) == [
        "dns", "refused", "timeout", "tls", "auth", "rejected", "peer_closed", "stalled",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ResolveError("no such host"), ErrorClass.DNS),
        (ConnectionRefusedError(111, "Connection refused"), ErrorClass.REFUSED),
        (OSError(113, "No route to host"), ErrorClass.REFUSED),
        (OSError(101, "Network is unreachable"), ErrorClass.REFUSED),
        (TimeoutError("10.0.0.1 did not answer within 5 s"), ErrorClass.TIMEOUT),
        (TimeoutError(110, "Connection timed out"), ErrorClass.TIMEOUT),
        (ssl.SSLCertVerificationError(1, "certificate verify failed"), ErrorClass.TLS),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong (_ssl.c:1006)"), ErrorClass.TLS),
        (ConnectionResetError(104, "Connection reset by peer"), ErrorClass.PEER_CLOSED),
        (BrokenPipeError(32, "Broken pipe"), ErrorClass.PEER_CLOSED),
        (RemoteProtocolError("version 72"), ErrorClass.PEER_CLOSED),
        (FarSideError(ErrorClass.AUTH, "no"), ErrorClass.AUTH),
    ],
)
def test_every_way_to_fail_has_its_class_and_is_tried_again(error, kind):
    found, words, final = classify(error)
    assert found is kind
    assert words
    assert not final


def test_a_forbidden_address_is_not_tried_again():
    assert classify(ForbiddenAddressError("10.0.0.1 is a private address"))[2]


@pytest.mark.parametrize("bug", [LocalProtocolError("ours"), ValueError(), socket.gaierror()])
def test_a_bug_is_no_failure_of_the_far_side(bug):
    with pytest.raises(type(bug)):
        classify(bug)


def test_openssl_speaks_without_its_line_numbers():
    error = ssl.SSLError(1, "[SSL: TLSV1_ALERT_INTERNAL_ERROR] tlsv1 alert (_ssl.c:1006)")
    assert classify(error)[1] == "no secure connection: tlsv1 alert"


def test_the_words_of_a_far_side_hold_no_secret_and_no_control_character():
    text = clean("key ab12-secret-key?token=very-secret of \x1b[31m'live' is in use\r\n", TARGET)
    assert "secret" not in text
    assert "in use" in text
    assert text.isprintable()


def test_the_words_of_a_far_side_are_bounded():
    assert len(clean("a " * 100_000, TARGET)) == 300
