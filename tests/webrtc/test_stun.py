"""Our STUN against aioice's."""

import pytest
from aioice import stun as reference
from hypothesis import given
from hypothesis import strategies as st

from streamserver.errors import RemoteProtocolError
from streamserver.webrtc import stun

ID = bytes(range(12))
PASSWORD = b"a-password-of-enough-bytes"


def reference_request(**attributes) -> bytes:
    message = reference.Message(reference.Method.BINDING, reference.Class.REQUEST, ID)
    message.attributes |= {"USERNAME": "ours:theirs", "PRIORITY": 12, "ICE-CONTROLLING": 2**63}
    message.attributes |= attributes
    message.add_message_integrity(PASSWORD)
    return bytes(message)


def test_a_request_of_another_implementation_is_understood():
    data = reference_request(**{"USE-CANDIDATE": None})
    message = stun.parse(data)
    assert message.kind is stun.Kind.REQUEST
    assert message.transaction_id == ID
    assert message.username == b"ours:theirs"
    assert stun.username_of(data) == b"ours:theirs"
    assert (message.priority, message.controlling, message.controlled) == (12, 2**63, None)
    assert message.use_candidate
    assert stun.authentic(data, message, PASSWORD)
    assert not stun.authentic(data, message, b"another")


@pytest.mark.parametrize("address", [("192.0.2.7", 40000), ("2001:db8::7", 1), ("0.0.0.0", 65535)])
def test_another_implementation_understands_our_answer(address):
    data = stun.success(ID, address, PASSWORD)
    message = reference.parse_message(data)
    assert message.attributes["XOR-MAPPED-ADDRESS"] == address
    assert message.check_message_integrity(PASSWORD)
    ours = stun.parse(data)
    assert ours.mapped == address
    assert stun.authentic(data, ours, PASSWORD)


def test_another_implementation_understands_our_errors_and_requests():
    data = stun.error(ID, stun.ROLE_CONFLICT, "Role Conflict", PASSWORD)
    message = reference.parse_message(data)
    assert message.attributes["ERROR-CODE"] == (487, "Role Conflict")
    assert message.check_message_integrity(PASSWORD)
    assert stun.parse(data).error_code == 487
    request = stun.request(ID, b"a:b", PASSWORD, priority=9, controlling=3, use_candidate=True)
    message = reference.parse_message(request)
    assert message.attributes["USERNAME"] == "a:b"
    assert message.attributes["ICE-CONTROLLING"] == 3
    assert message.check_message_integrity(PASSWORD)
    assert stun.parse(stun.request(ID, b"a:b", PASSWORD, controlled=4)).controlled == 4


def test_an_address_of_a_link_is_told_without_its_zone():
    data = stun.success(ID, ("fe80::1%eth0", 5), PASSWORD)
    assert stun.parse(data).mapped == ("fe80::1", 5)


def test_attributes_behind_the_signature_count_for_nothing():
    signed = stun.request(ID, b"a:b", PASSWORD)[:-8]  # without the fingerprint
    use_candidate = b"\x00\x25\x00\x00"
    longer = signed[:2] + (len(signed) - 20 + 4).to_bytes(2, "big") + signed[4:] + use_candidate
    message = stun.parse(longer)
    assert not message.use_candidate
    assert stun.authentic(longer, message, PASSWORD)


def test_attributes_that_must_be_understood_are_named():
    attribute = b"\x00\x7f\x00\x01x\x00\x00\x00"
    data = b"\x00\x01" + len(attribute).to_bytes(2, "big") + b"\x21\x12\xa4\x42" + ID + attribute
    assert stun.parse(data).unknown == (0x7F,)
    answer = stun.error(ID, stun.UNKNOWN_ATTRIBUTE, "Unknown Attribute", PASSWORD, (0x7F,))
    assert answer[48:54] == b"\x00\x0a\x00\x02\x00\x7f"


def changed(data: bytes, at: int) -> bytes:
    return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]


@given(at=st.integers(0, len(reference_request()) - 1))
def test_a_changed_byte_anywhere_is_noticed(at):
    original = reference_request()
    data = changed(original, at)
    try:
        message = stun.parse(data)
    except RemoteProtocolError:
        return
    # The fingerprint may turn into an attribute of no meaning.
    assert message == stun.parse(original) or not stun.authentic(data, message, PASSWORD)


@given(data=st.binary(max_size=200))
def test_bytes_raise_nothing_but_what_is_promised(data):
    for text in (data, stun.request(ID, b"a:b", PASSWORD)[:20] + data, data.ljust(1400, b"x")):
        stun.username_of(text)
        with pytest.raises(RemoteProtocolError):
            stun.parse(text)


@given(attributes=st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=24)), max_size=40))
def test_any_attributes_are_read_or_refused(attributes):
    body = b"".join(
        kind.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value + bytes(-len(value) % 4)
        for kind, value in attributes
    )
    data = b"\x00\x01" + len(body).to_bytes(2, "big") + b"\x21\x12\xa4\x42" + ID + body
    stun.username_of(data)
    try:
        message = stun.parse(data)
    except RemoteProtocolError:
        return
    assert len(message.unknown) <= 8
    assert not stun.authentic(data, message, PASSWORD)
