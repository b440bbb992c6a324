from streamserver.rtmp.amf import AmfValue
from streamserver.rtmp.command import command, parse_command
from streamserver.rtmp.connect import offered_four_ccs, read_connect, speaks_enhanced
from streamserver.rtmp.events import ConnectReceived


def read(values: AmfValue, *more: AmfValue) -> ConnectReceived:
    return read_connect(parse_command(command(0, "connect", 1, values, *more)))


def test_the_object_of_obs_is_read():
    connect = read(
        {
            "app": "live",
            "type": "nonprivate",
            "flashVer": "FMLE/3.0 (compatible; FMSc/1.0)",
            "swfUrl": "rtmp://Host:1935/live",
            "tcUrl": "rtmp://Host:1935/live",
        }
    )
    assert (connect.app, connect.host) == ("live", "host")
    assert connect.flash_ver == "FMLE/3.0 (compatible; FMSc/1.0)"
    assert connect.swf_url == connect.tc_url == "rtmp://Host:1935/live"
    assert connect.object_encoding == 0
    assert not speaks_enhanced(connect)


def test_everything_may_be_missing():
    nothings: tuple[AmfValue, ...] = ({}, None, "no object")
    for values in nothings:
        connect = read(values)
        assert (connect.app, connect.tc_url, connect.host, connect.flash_ver) == ("", "", "", "")


def test_values_of_another_type_count_as_missing():
    connect = read({"app": 5, "tcUrl": None, "fourCcList": "hvc1", "capsEx": "x", "flashVer": {}})
    assert (connect.app, connect.tc_url, connect.four_ccs, connect.caps_ex) == ("", "", (), 0)


def test_tc_url_may_be_spelled_in_lower_case_and_quoted():
    assert read({"tcurl": "'rtmp://h/live'"}).host == "h"


def test_what_follows_the_object_may_be_anything():
    assert read({"app": "live"}, "text", 5, None).app == "live"


def test_user_and_password_come_from_tc_url_and_nothing_secret_is_shown():
    connect = read({"app": "live?token=hush", "tcUrl": "rtmp://hush:hush2@h/live?token=hush"})
    assert (connect.user, connect.password) == ("hush", "hush2")
    assert "hush" not in repr(connect)


def test_enhanced_capabilities_are_read_in_the_spelling_of_the_specification():
    connect = read(
        {
            "fourCcList": ["Hvc1", "Avc1", "opus", "*", 5, "xxxx"],
            "videoFourCcInfoMap": {"AV01": 1, "*": 4},
            "audioFourCcInfoMap": {"FLAC": 2, "Opus": "x"},
            "capsEx": 15,
            "videoFunction": 4,
        }
    )
    assert connect.four_ccs == ("hvc1", "avc1", "Opus", "*", "xxxx")
    assert connect.video_four_ccs == {"av01": 1, "*": 4}
    assert connect.audio_four_ccs == {"fLaC": 2, "Opus": 0}
    assert (connect.caps_ex, connect.video_function) == (15, 4)
    assert speaks_enhanced(connect)


def test_lists_of_codecs_are_bounded():
    connect = read(
        {"fourCcList": ["hvc1"] * 999, "videoFourCcInfoMap": {f"k{i}": 1 for i in range(999)}}
    )
    assert len(connect.four_ccs) == len(connect.video_four_ccs) == 64


def test_the_offer_of_a_server_is_what_it_decodes_or_forwards():
    assert offered_four_ccs({}) == frozenset()
    assert offered_four_ccs(
        {
            "fourCcList": ["Avc1", 7],
            "videoFourCcInfoMap": {"hvc1": 1, "av01": 2, "vp09": 6},
            "audioFourCcInfoMap": {"Opus": 4, "fLaC": 0},
        }
    ) == {"avc1", "hvc1", "vp09", "Opus"}
