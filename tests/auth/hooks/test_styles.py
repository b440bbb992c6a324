import uuid
from dataclasses import replace

import pytest

from streamserver.auth import Action
from streamserver.auth.hooks import Notice
from streamserver.config import HookAction
from streamserver.names import StreamKey
from tests.auth.helpers_auth import api, play, publish, request
from tests.auth.hooks.helpers_hooks import World

DETAILS = {
    "app": "live",
    "tc_url": "rtmp://host/live",
    "swf_url": "rtmp://host/live",
    "page_url": "https://page.test/",
}


class TestMediaMtx:
    async def test_it_gets_exactly_its_ten_fields_in_its_words(self) -> None:
        world = World("mediamtx", "publish play api")
        await world.hook.decide(play("k" * 8, protocol="whep", token="t", user_agent="Firefox"))
        sent = world.far_side.json
        assert str(uuid.UUID(sent.pop("id")))
        assert sent == {
            "ip": "203.0.113.9",
            "user": "",
            "password": "",
            "token": "t",
            "action": "read",
            "path": "live/demo",
            "protocol": "webrtc",
            "query": "key=kkkkkkkk",
            "userAgent": "Firefox",
        }

    async def test_one_segment_stays_one_and_user_and_password_come_from_the_query(self) -> None:
        world = World("mediamtx")
        query = {"user": "anna", "pass": "secret"}
        await world.hook.decide(
            request(Action.PUBLISH, stream=StreamKey("cam1", "default"), query=query)
        )
        sent = world.far_side.json
        assert (sent["path"], sent["action"], sent["protocol"]) == ("cam1", "publish", "rtmp")
        assert (sent["user"], sent["password"], sent["token"]) == ("anna", "secret", "secret")

    async def test_without_a_stream_path_protocol_and_id_are_empty(self) -> None:
        world = World("mediamtx", "api")
        await world.hook.decide(api("t"))
        sent = world.far_side.json
        assert (sent["path"], sent["protocol"], sent["id"], sent["action"]) == ("", "", None, "api")

    @pytest.mark.parametrize(("status", "allowed"), [(200, True), (204, True), (401, False)])
    async def test_the_status_alone_counts(self, status: int, allowed: bool) -> None:
        world = World("mediamtx")
        world.far_side.answers(status, b'{"stream": "x/y"}')
        decision = await world.hook.decide(play())
        assert decision is not None
        assert (decision.allowed, decision.stream) == (allowed, None)


class TestNginx:
    async def test_publish_is_a_form_with_its_fields_in_order(self) -> None:
        world = World("nginx-rtmp")
        await world.hook.decide(publish("abc", user_agent="FMLE/3.0" * 9, details=DETAILS))
        assert list(world.far_side.form.items()) == [
            ("app", "live"),
            ("flashver", ("FMLE/3.0" * 9)[:32]),
            ("swfurl", "rtmp://host/live"),
            ("tcurl", "rtmp://host/live"),
            ("pageurl", "https://page.test/"),
            ("addr", "203.0.113.9"),
            ("clientid", "s1"),
            ("call", "publish"),
            ("name", "demo"),
            ("type", "live"),
            ("key", "abc"),
        ]
        assert world.far_side.asked[-1][2]["Content-Type"] == "application/x-www-form-urlencoded"

    async def test_a_client_cannot_lie_about_its_address_by_an_argument(self) -> None:
        world = World("nginx-rtmp")
        query = {"addr": "127.0.0.1", "call": "play", "name": "other", "x": "1"}
        await world.hook.decide(request(Action.PUBLISH, query=query))
        form = world.far_side.form
        assert (form["addr"], form["call"], form["name"]) == ("203.0.113.9", "publish", "demo")
        assert form["x"] == "1"
        assert (world.far_side.asked[-1][3] or b"").count(b"addr=") == 1

    async def test_play_and_connect_have_theirs(self) -> None:
        world = World("nginx-rtmp", "connect play", method="GET")
        await world.hook.decide(play(details=DETAILS))
        assert world.far_side.query["start"] == "4294965296"
        await world.hook.decide(request(Action.CONNECT, details=DETAILS, query={"t": "1"}))
        query = world.far_side.query
        assert (query["call"], query["app"], query["t"]) == ("connect", "live", "1")

    async def test_a_redirect_to_a_plain_name_renames(self) -> None:
        world = World("nginx-rtmp")
        world.far_side.answers(302, location="public-name")
        decision = await world.hook.decide(publish())
        assert decision is not None
        assert decision.allowed
        assert decision.stream == StreamKey("live", "public-name")

    async def test_a_redirect_to_rtmp_sends_a_publisher_on(self) -> None:
        world = World("nginx-rtmp")
        world.far_side.answers(301, location="rtmp://192.0.2.1/app/name")
        decision = await world.hook.decide(publish())
        assert decision is not None
        assert decision.allowed
        assert decision.destinations == ("rtmp://192.0.2.1/app/name",)
        refused = await world.hook.decide(play())
        assert refused is not None
        assert not refused.allowed

    @pytest.mark.parametrize(
        "location", ["", "../x", "a/b", "https://evil.test/", "x\r\ny", "' OR 1=1", "é", "a" * 999]
    )
    async def test_any_other_redirect_refuses(self, location: str) -> None:
        world = World("nginx-rtmp", fail="closed")
        world.far_side.answers(302, location=location)
        decision = await world.hook.decide(publish())
        assert decision is not None
        assert not decision.allowed

    @pytest.mark.parametrize("status", [400, 403, 404, 500, 503])
    async def test_4xx_and_5xx_refuse_and_count(self, status: int) -> None:
        world = World("nginx-rtmp")
        world.far_side.answers(status)
        decision = await world.hook.decide(publish())
        assert decision is not None
        assert (decision.allowed, decision.innocent) == (False, False)

    @pytest.mark.parametrize(
        ("action", "asked", "call"),
        [
            (HookAction.PUBLISH_DONE, publish("abc"), "publish_done"),
            (HookAction.PLAY_DONE, play(), "play_done"),
            (HookAction.UPDATE, publish(), "update_publish"),
            (HookAction.UPDATE, play(), "update_play"),
        ],
    )
    async def test_notices(self, action: HookAction, asked: object, call: str) -> None:
        world = World("nginx-rtmp", "publish_done play_done update")
        notice = Notice(action=action, request=asked, seconds=30, log_ms=29_900)  # type: ignore[arg-type]
        assert await world.hook.tell(notice)
        form = world.far_side.form
        assert (form["call"], form["name"]) == (call, "demo")
        if action is HookAction.UPDATE:
            assert (form["time"], form["timestamp"]) == ("30", "29900")
        world.far_side.answers(404)
        assert not await world.hook.tell(notice)


class TestSrs:
    async def test_it_gets_its_fields(self) -> None:
        world = World("srs")
        await world.hook.decide(publish("abc", details=DETAILS))
        assert world.far_side.json == {
            "server_id": "streamserver",
            "service_id": "streamserver",
            "action": "on_publish",
            "client_id": "s1",
            "ip": "203.0.113.9",
            "vhost": "__defaultVhost__",
            "app": "live",
            "tcUrl": "rtmp://host/live",
            "stream": "demo",
            "param": "?key=abc",
            "stream_url": "__defaultVhost__/live/demo",
            "stream_id": "live/demo",
        }
        await world.hook.decide(play(details=DETAILS))
        assert world.far_side.json["action"] == "on_play"
        assert world.far_side.json["pageUrl"] == "https://page.test/"

    @pytest.mark.parametrize(
        ("status", "body", "allowed"),
        [
            (200, b"0", True),
            (200, b' {"code": 0, "msg": "OK"}', True),
            (201, b"0\n", True),
            (200, b"", False),
            (200, b"ok", False),
            (200, b"1", False),
            (200, b'{"code": 1}', False),
            (200, b'{"code": false}', False),
            (200, b"{}", False),
            (200, b"[0]", False),
            (204, b"0", False),
            (302, b"0", False),
            (500, b"0", False),
        ],
    )
    async def test_only_code_0_allows(self, status: int, body: bytes, allowed: bool) -> None:
        world = World("srs")
        world.far_side.answers(status, body)
        decision = await world.hook.decide(play())
        assert decision is not None
        assert decision.allowed is allowed

    async def test_notices(self) -> None:
        world = World("srs", "publish_done play_done")
        for action, asked, name in (
            (HookAction.PUBLISH_DONE, publish(), "on_unpublish"),
            (HookAction.PLAY_DONE, play(), "on_stop"),
        ):
            await world.hook.tell(Notice(action=action, request=asked, seconds=1))
            assert world.far_side.json["action"] == name

    async def test_the_end_of_a_connection_has_its_bytes_and_no_stream(self) -> None:
        world = World("srs", "disconnect")
        asked = replace(play(details={**DETAILS, "connection": "c7"}), stream=None)
        notice = Notice(action=HookAction.DISCONNECT, request=asked, received_bytes=7, sent_bytes=9)
        await world.hook.tell(notice)
        told = world.far_side.json
        assert (told["action"], told["client_id"], told["stream"]) == ("on_close", "c7", "")
        assert (told["recv_bytes"], told["send_bytes"]) == (7, 9)
