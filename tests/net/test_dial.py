import ssl

from streamserver.net.dial import worst


def test_the_address_that_answered_tells_more_than_the_one_that_did_not():
    refused, late = ConnectionRefusedError(), TimeoutError()
    wrong = ssl.SSLCertVerificationError(1, "x")
    assert worst([wrong, refused, late]) is wrong
    assert worst([late, refused]) is refused
