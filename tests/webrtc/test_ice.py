"""The ICE-lite agent, without a socket, in simulated time."""

import itertools

from streamserver.webrtc import stun
from streamserver.webrtc.ice import CONSENT_NS, Credentials, IceLite

SOURCE = ("192.0.2.1", 5000)
_ids = itertools.count()


def check(key: Credentials, *, nominate: bool = False, **options) -> bytes:
    return stun.request(
        next(_ids).to_bytes(12, "big"),
        f"{key.ufrag}:them".encode(),
        options.pop("password", key.password).encode(),
        use_candidate=nominate,
        **({"controlling": 1} | options),
    )


def agent() -> IceLite[str]:
    return IceLite(0)


def test_the_first_valid_path_is_used_until_one_is_nominated():
    ice = agent()
    first = ice.receive(check(ice.credentials), "a", SOURCE, 1)
    assert first.valid
    assert first.selected
    second = ice.receive(check(ice.credentials), "b", SOURCE, 2)
    assert second.valid
    assert not second.selected
    assert ice.selected == "a"
    assert ice.receive(check(ice.credentials, nominate=True), "b", SOURCE, 3).selected
    assert ice.selected == "b"


def test_the_answer_tells_where_the_request_came_from_and_is_signed():
    ice = agent()
    answer = ice.receive(check(ice.credentials), "a", SOURCE, 1).answer
    assert answer is not None
    message = stun.parse(answer)
    assert message.mapped == SOURCE
    assert stun.authentic(answer, message, ice.credentials.password.encode())


def test_a_later_nomination_moves_the_peer():
    ice = agent()
    for path in ("a", "b", "a"):
        assert ice.receive(check(ice.credentials, nominate=True), path, SOURCE, 1).selected
        assert ice.selected == path
    assert not ice.receive(check(ice.credentials, nominate=True), "a", SOURCE, 1).selected


def test_a_wrong_password_gets_no_answer_and_is_no_sign_of_life():
    ice = agent()
    outcome = ice.receive(check(ice.credentials, password="wrong"), "a", SOURCE, 5)
    assert (outcome.answer, outcome.authentic, outcome.valid) == (None, False, False)
    unsigned = b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)
    assert ice.receive(unsigned, "a", SOURCE, 5).answer is None
    assert ice.receive(b"\x01\x01 rubbish", "a", SOURCE, 5).answer is None
    assert ice.consent_ns == 0
    assert not ice.paths


def test_a_peer_that_believes_itself_controlled_is_told_of_the_conflict():
    ice = agent()
    data = check(ice.credentials, controlling=None, controlled=1)
    outcome = ice.receive(data, "a", SOURCE, 1)
    assert outcome.error_code == 487
    assert outcome.authentic
    assert not outcome.valid
    assert ice.selected is None


def test_consent_expires_30_seconds_after_the_last_request():
    ice = agent()
    ice.receive(check(ice.credentials), "a", SOURCE, 10)
    assert not ice.expired(CONSENT_NS + 9)
    assert ice.expired(CONSENT_NS + 10)
    ice.receive(check(ice.credentials), "a", SOURCE, CONSENT_NS)
    assert not ice.expired(CONSENT_NS + 10)


def test_media_goes_on_after_a_restart_until_the_new_credentials_are_used():
    ice = agent()
    old = ice.credentials
    ice.receive(check(old, nominate=True), "a", SOURCE, 1)
    new = ice.restart()
    assert new != old
    assert ice.selected == "a"
    assert ice.receive(check(old, nominate=True), "a", SOURCE, 2).valid
    assert ice.receive(check(new), "b", SOURCE, 3).valid
    # Whoever holds the old credentials decides nothing any more.
    assert not ice.receive(check(old, nominate=True), "c", SOURCE, 4).selected
    assert ice.selected == "a"
    assert ice.receive(check(new, nominate=True), "b", SOURCE, 5).selected
    assert not ice.receive(check(old), "a", SOURCE, 6).authentic


def test_a_second_restart_before_the_first_is_used_keeps_the_living_credentials():
    ice = agent()
    old = ice.credentials
    ice.receive(check(old, nominate=True), "a", SOURCE, 1)
    unused = ice.restart()
    ice.restart()
    assert ice.receive(check(old), "a", SOURCE, 2).valid
    assert not ice.receive(check(unused), "a", SOURCE, 2).authentic


def test_a_peer_holds_a_few_paths_and_the_oldest_unused_one_makes_room():
    ice: IceLite[int] = IceLite(0)
    ice.receive(check(ice.credentials, nominate=True), 0, SOURCE, 0)
    dropped = [
        ice.receive(check(ice.credentials), path, SOURCE, path).dropped for path in range(1, 20)
    ]
    assert dropped == [None] * 7 + list(range(1, 13))
    assert len(ice.paths) == 8
    assert ice.selected == 0


def test_a_path_that_breaks_is_replaced_by_the_one_confirmed_last():
    ice = agent()
    for now, path in enumerate("abc"):
        ice.receive(check(ice.credentials), path, SOURCE, now)
    selected = [(ice.forget(path), ice.selected) for path in "bac"]
    assert selected == [(False, "a"), (True, "c"), (True, None)]
    assert ice.receive(check(ice.credentials), "d", SOURCE, 9).selected


def test_credentials_do_not_show_their_password():
    key = Credentials.new()
    assert key.password not in repr(key)
    assert len(key.ufrag) >= 4
    assert len(key.password) >= 22
