"""Every way in which a far side says no, or sends us elsewhere."""

import pytest

from streamserver.rtmp.client_events import (
    PublishAccepted,
    ReconnectWith,
    Redirected,
    Rejected,
    RetryHint,
)
from streamserver.rtmp.client_states import ClientState
from streamserver.rtmp.command import command, error, result
from streamserver.rtmp.events import Closed
from tests.rtmp.helpers_client import FarSide
from tests.rtmp.pair import Pair

REJECTED = "NetConnection.Connect.Rejected"
NEED = "[ AccessManager.Reject ] : [ code=403 need auth; authmod=adobe ] : "
CHALLENGE = (
    "[ AccessManager.Reject ] : [ authmod=adobe ] : "
    "?reason=needauth&user=me&salt=S&challenge=C&opaque=O"
)
FAILED = "[ AccessManager.Reject ] : [ authmod=adobe ] : ?reason=authfailed&opaque=O"
WITH_USER = "rtmp://me:pw@h/live/cam"


def asking(url: str = "rtmp://h/live/cam") -> FarSide:
    far = FarSide(url).shake()
    far.connected()
    far.say(result(4, None, 5))
    return far


class TestRejected:
    def test_a_refused_connect_has_code_and_words(self):
        far = FarSide().shake()
        assert far.refuse_connect("no such app") == [
            Rejected(REJECTED, "no such app", RetryHint.LATER)
        ]
        assert far.client.state is ClientState.CLOSING
        assert far.client.close_after_flush
        assert far.connected() == []

    @pytest.mark.parametrize(
        ("code", "level", "hint"),
        [
            ("NetStream.Publish.BadName", "error", RetryHint.BUSY),
            # Some servers forget the level.
            ("NetStream.Publish.BadName", "status", RetryHint.BUSY),
            ("NetStream.Publish.Denied", "error", RetryHint.AUTH),
            ("NetStream.Publish.Rejected", "", RetryHint.LATER),
            ("NetConnection.Connect.Closed", "status", RetryHint.LATER),
            ("Our.Own.Code", "error", RetryHint.LATER),
        ],
    )
    def test_a_refused_publish_tells_what_a_next_try_may_hope_for(self, code, level, hint):
        assert asking().status(code, "why", level) == [Rejected(code, "why", hint)]

    @pytest.mark.parametrize("transaction_id", [4, 5])
    def test_an_error_to_create_stream_or_publish_is_a_refusal(self, transaction_id):
        events = asking().say(error(transaction_id, "NetStream.Failed", "too many"))
        assert events == [Rejected("NetStream.Failed", "too many", RetryHint.LATER)]

    def test_a_server_may_say_no_while_we_are_live(self):
        far = FarSide().accepted()
        (event,) = far.status("NetStream.Publish.Denied", "your time is over", "error")
        assert event == Rejected("NetStream.Publish.Denied", "your time is over", RetryHint.AUTH)
        assert not far.client.send_media("video", 0, b"")

    def test_a_close_command_is_a_refusal(self):
        (event,) = FarSide().accepted().call("close", 0, None)
        assert event == Rejected("", "the far side asked to close the connection", RetryHint.LATER)

    def test_a_yes_that_says_error_is_a_no(self):
        (event,) = FarSide().shake().connected(level="error", code=REJECTED, description="full")
        assert event == Rejected(REJECTED, "full", RetryHint.LATER)

    @pytest.mark.parametrize("answer", [None, "five", 0, -1, 2.0**40, True])
    def test_a_stream_that_has_no_number_is_a_refusal(self, answer):
        far = FarSide().shake()
        far.connected()
        (event,) = far.say(result(4, None, answer))
        assert isinstance(event, Rejected)
        assert event.description == "the far side gave no message stream"

    def test_silence_gets_words_of_ours_and_a_mere_text_is_taken(self):
        (event,) = asking().status("NetStream.Failed", "", "error")
        assert isinstance(event, Rejected)
        assert event.description == "the far side refused without saying why"
        far = FarSide().shake()
        (event,) = far.say(command(0, "_error", 1, None, "go away"))
        assert event == Rejected("", "go away", RetryHint.LATER)

    def test_words_are_one_line_of_a_bounded_length_without_our_key(self):
        far = asking("rtmp://u:hunter2@h/live/abcdefghijkl?token=zzzzzz")
        text = "no\r\n\x00 abcdefghijkl?token=zzzzzz, pw hunter2 " + "x" * 9000
        (event,) = far.status("NetStream.Publish.BadName", text, "error")
        assert isinstance(event, Rejected)
        assert event.description.startswith("no abc****, pw **** xxx")
        assert len(event.description) == 300
        far.client.connection_lost()
        (closed,) = far.client.events()
        assert isinstance(closed, Closed)
        for text in (repr(event), closed.reason, repr(far.client.settings)):
            for secret in ("abcdefgh", "zzzzzz", "hunter2"):
                assert secret not in text


class TestAuthentication:
    def test_three_connections_lead_in(self):
        far = FarSide(WITH_USER).shake()
        (first,) = far.refuse_connect(NEED)
        assert isinstance(first, ReconnectWith)
        assert first.settings.connect_app == "live?authmod=adobe&user=me"
        assert first.settings.connect_tc_url == "rtmp://h/live?authmod=adobe&user=me"

        far = FarSide(WITH_USER, auth_query=first.settings.auth_query).shake()
        (second,) = far.refuse_connect(CHALLENGE)
        assert isinstance(second, ReconnectWith)
        app = second.settings.connect_app
        assert app.startswith("live?authmod=adobe&user=me&challenge=0123abcd&response=")
        assert app.endswith("&opaque=O")

        pair = Pair(second.settings).pump()
        assert pair.connect.app == app
        assert pair.told(PublishAccepted)

    def test_the_answer_is_in_no_rendering(self):
        far = FarSide(WITH_USER, auth_query="authmod=adobe&user=me").shake()
        (event,) = far.refuse_connect(CHALLENGE)
        assert isinstance(event, ReconnectWith)
        assert "response" in event.settings.auth_query
        assert "response" not in repr(event)
        assert "pw" not in repr(event)

    def test_the_password_itself_is_never_sent(self):
        far = FarSide("rtmp://me:hunter2hunter2@h/live/cam", auth_query="authmod=adobe&user=me")
        far.shake()
        (event,) = far.refuse_connect(CHALLENGE)
        assert isinstance(event, ReconnectWith)
        again = FarSide(auth_query=event.settings.auth_query)
        again.shake()
        assert all(b"hunter2" not in message.body for message in again.heard())

    def test_llnw_answers_its_own_challenge(self):
        far = FarSide(WITH_USER, auth_query="authmod=llnw&user=me").shake()
        (event,) = far.refuse_connect("[ authmod=llnw ] : ?reason=needauth&user=me&nonce=N")
        assert isinstance(event, ReconnectWith)
        assert "&nonce=N&cnonce=0123abcd&nc=00000001&response=" in event.settings.auth_query

    @pytest.mark.parametrize(
        ("url", "before", "description", "says"),
        [
            ("rtmp://h/live/cam", "", NEED, "rtmp://user:password@host/app/key"),
            (WITH_USER, "", FAILED, "does not take this user and password"),
            # The same step twice means that the last one failed.
            (WITH_USER, "authmod=adobe&user=me", NEED, "does not take"),
            (WITH_USER, "authmod=adobe&user=me&response=x", CHALLENGE, "does not take"),
            (WITH_USER, "", NEED.replace("adobe", "kerberos"), "unknown kind 'kerberos'"),
        ],
    )
    def test_what_cannot_succeed_ends(self, url, before, description, says):
        far = FarSide(url, auth_query=before).shake()
        (event,) = far.refuse_connect(description)
        assert isinstance(event, Rejected)
        assert event.retry_hint is RetryHint.AUTH
        assert says in event.description

    def test_an_application_with_a_query_goes_on_with_it(self):
        far = FarSide("rtmp://me:pw@h/live?x=1/cam").shake()
        (event,) = far.refuse_connect(NEED)
        assert isinstance(event, ReconnectWith)
        assert event.settings.connect_app == "live?x=1&authmod=adobe&user=me"


class TestRedirects:
    @pytest.mark.parametrize(
        "ex",
        [
            {"code": 302, "redirect": "rtmp://other.example:1936/app"},
            {"code": 302, "redirect2": "rtmp://other.example:1936/app/theirs"},
        ],
    )
    def test_302_leads_to_another_server_with_our_key(self, ex):
        far = FarSide("rtmp://h/live/cam?x=1").shake()
        info = {"level": "error", "code": REJECTED, "description": "moved", "ex": ex}
        (event,) = far.say(command(0, "_error", 1, None, info))
        assert isinstance(event, Redirected)
        assert (event.closing, event.description) == (True, "moved")
        target = event.settings.target
        assert (target.host, target.port, target.app) == ("other.example", 1936, "app")
        assert target.key == "cam?x=1"
        assert far.client.close_after_flush

    @pytest.mark.parametrize("where", ["http://h/x", "", "rtmp://h"])
    def test_302_to_nowhere_is_a_refusal(self, where):
        far = FarSide("rtmps://h/live/cam").shake()
        ex = {"code": 302, "redirect": where}
        (event,) = far.say(command(0, "_error", 1, None, {"level": "error", "ex": ex}))
        assert isinstance(event, Rejected)
        assert event.description.startswith("the far side redirects to where we cannot go: ")

    def test_a_reconnect_request_without_url_means_here(self):
        far = FarSide(WITH_USER, auth_query="authmod=adobe&user=me&response=x").accepted()
        (event,) = far.status("NetConnection.Connect.ReconnectRequest", "soon")
        assert isinstance(event, Redirected)
        assert not event.closing
        assert event.settings.target == far.client.settings.target
        # Its answer was good for one challenge.
        assert event.settings.auth_query == ""
        assert far.client.state is ClientState.LIVE

    def test_a_reconnect_request_may_be_relative_and_bad_ones_are_ignored(self):
        far = FarSide("rtmps://h/live/cam").accepted()
        code = "NetConnection.Connect.ReconnectRequest"
        assert far.status(code, tcUrl="rtmp://h/live") == []
        assert far.client.messages_ignored == 1
        (event,) = far.status(code, tcUrl="/other")
        assert isinstance(event, Redirected)
        assert event.settings.target.tc_url == "rtmps://h/other"
        assert far.status(code, tcUrl="/third") == []

    def test_a_reconnect_request_before_we_are_live_ends_this_connection(self):
        far = asking()
        (event,) = far.status("NetConnection.Connect.ReconnectRequest", tcUrl="rtmp://x/live")
        assert isinstance(event, Redirected)
        assert event.closing
        assert far.client.close_after_flush
