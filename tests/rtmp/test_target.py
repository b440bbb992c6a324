"""URLs as people paste them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.rtmp.target import InvalidTargetError, PublishTarget, mask_key, parse_target

FACEBOOK_KEY = "FB-10157-0-AbyX9?s_bl=1&s_psm=1&s_sw=0&a=AbwXyZ/3+k="


@pytest.mark.parametrize(
    ("url", "tls", "host", "port", "app", "key"),
    [
        ("rtmp://a.rtmp.youtube.com/live2/abcd-efgh-ijkl", False,
         "a.rtmp.youtube.com", 1935, "live2", "abcd-efgh-ijkl"),
        ("rtmps://a.rtmps.youtube.com:443/live2/abcd-efgh", True,
         "a.rtmps.youtube.com", 443, "live2", "abcd-efgh"),
        ("rtmps://a.rtmps.youtube.com/live2/abcd-efgh", True,
         "a.rtmps.youtube.com", 443, "live2", "abcd-efgh"),
        ("rtmp://b.rtmp.youtube.com/live2?backup=1/abcd-efgh", False,
         "b.rtmp.youtube.com", 1935, "live2?backup=1", "abcd-efgh"),
        ("rtmp://fra05.contribute.live-video.net/app/live_12_Ab?bandwidthtest=true", False,
         "fra05.contribute.live-video.net", 1935, "app", "live_12_Ab?bandwidthtest=true"),
        (f"rtmps://live-api-s.facebook.com:443/rtmp/{FACEBOOK_KEY}", True,
         "live-api-s.facebook.com", 443, "rtmp", FACEBOOK_KEY),
        ("rtmps://x.global-contribute.live-video.net:443/app/sk_eu", True,
         "x.global-contribute.live-video.net", 443, "app", "sk_eu"),
        ("rtmp://wowza.example/live/_definst_/cam", False,
         "wowza.example", 1935, "live/_definst_", "cam"),
        ("rtmp://h/a/b/c/d?x=/y", False, "h", 1935, "a/b", "c/d?x=/y"),
        ("rtmp://h/app?vhost=v/stream?token=a/b", False, "h", 1935,
         "app?vhost=v", "stream?token=a/b"),
        ("  'RTMP://EXAMPLE.org:1936/live/Key'\n", False, "example.org", 1936, "live", "Key"),
        ("rtmp://[::1]:1936/live/key", False, "::1", 1936, "live", "key"),
        ("rtmp://[2001:DB8:0::1]/live/key", False, "2001:db8::1", 1935, "live", "key"),
        ("rtmp://h//live///key", False, "h", 1935, "live", "key"),
        ("rtmp://h/live/a%2Fb%20c", False, "h", 1935, "live", "a%2Fb%20c"),
    ],
)  # fmt: skip
def test_one_string_names_host_application_and_key(url, tls, host, port, app, key):
    target = parse_target(url)
    assert (target.tls, target.host, target.port) == (tls, host, port)
    assert (target.app, target.key) == (app, key)


def test_a_key_apart_leaves_the_whole_path_to_the_application():
    target = parse_target("rtmps://live-api-s.facebook.com:443/rtmp/", f" {FACEBOOK_KEY}\n")
    assert (target.app, target.key) == ("rtmp", FACEBOOK_KEY)
    target = parse_target("rtmp://h/a/b/c?x=1", "key")
    assert (target.app, target.key) == ("a/b/c?x=1", "key")


def test_user_and_password_are_decoded_and_no_part_of_the_address():
    target = parse_target("rtmp://me%40home:p%3Ass:w@wowza.example:1936/live/cam")
    assert (target.user, target.password) == ("me@home", "p:ss:w")
    assert (target.host, target.port) == ("wowza.example", 1936)
    assert target.tc_url == "rtmp://wowza.example:1936/live"
    # An @ in a key is a key's.
    assert parse_target("rtmp://h/live/a@b").user == ""


@pytest.mark.parametrize(
    ("url", "tc_url"),
    [
        ("rtmp://h:1935/live/key", "rtmp://h/live"),
        ("rtmps://h:443/live/key", "rtmps://h/live"),
        ("rtmps://h:1936/live/key", "rtmps://h:1936/live"),
        ("rtmp://[::1]/live/_definst_/key?a=b", "rtmp://[::1]/live/_definst_"),
        ("rtmp://h/live2?backup=1/key", "rtmp://h/live2?backup=1"),
    ],
)
def test_tc_url_has_no_key_and_no_default_port(url, tc_url):
    assert parse_target(url).tc_url == tc_url


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("a.rtmp.youtube.com/live2/key", "begin with rtmp:// or rtmps://"),
        ("", "begin with rtmp:// or rtmps://"),
        ("secret-key://x", "begin with rtmp:// or rtmps://"),
        ("http://h/live/key", "http:// is no RTMP URL"),
        ("srt://h:9000?streamid=secret-key", "srt:// is no RTMP URL"),
        ("rtmpe://h/live/secret-key", "not spoken here; use rtmp://"),
        ("rtmp:///live/secret-key", "names no host"),
        ("rtmp://h/live", "no stream key: write it behind the application"),
        ("rtmp://h/live?token=secret-key", "no stream key"),
        ("rtmp://h", "names no application"),
        ("rtmp://h/?token=secret-key", "names no application"),
        ("rtmp://h:0/live/secret-key", "no number from 1 to 65535"),
        ("rtmp://h:99999/live/secret-key", "no number from 1 to 65535"),
        ("rtmp://h:/live/secret-key", "no number from 1 to 65535"),
        ("rtmp://h:x/live/secret-key", "no number from 1 to 65535"),
        ("rtmp://::1/live/secret-key", "in brackets"),
        ("rtmp://[::1/live/secret-key", "no IPv6 address"),
        ("rtmp://[::1]x/live/secret-key", "behind the ]"),
        ("rtmp://[fe80::1%25eth0]/live/secret-key", "IPv6 address"),
        ("rtmp://a b/live/secret-key", "a space or a control character"),
        ("rtmp://h/live/secret-\x00key", "a space or a control character"),
        ("rtmp://bücher.example/live/secret-key", "no host name"),
        ("rtmp://-h/live/secret-key", "no host name"),
        ("rtmp://h/live/" + "secret-key" * 500, "longer than 4096"),
    ],
)
def test_a_bad_url_is_refused_with_what_to_write_and_without_its_secrets(url, says):
    with pytest.raises(InvalidTargetError, match=says.replace("]", r"\]")) as caught:
        parse_target(url)
    assert "secret-key" not in str(caught.value)


@pytest.mark.parametrize("key", ["", "  ", "a b", "a\nb"])
def test_a_bad_key_apart_is_refused(key):
    with pytest.raises(InvalidTargetError, match="stream key"):
        parse_target("rtmp://h/live", key)


class TestMasks:
    def test_the_mask_keeps_host_and_application_and_four_characters(self):
        target = parse_target("rtmps://me:pass@h/rtmp/FB-10157-0-AbyX9?s_bl=1&x=2")
        assert target.masked() == "rtmps://h/rtmp/FB-1****"
        assert repr(target) == "PublishTarget('rtmps://h/rtmp/FB-1****')"
        assert str(target) == repr(target)

    def test_a_short_key_shows_a_quarter_of_itself_at_most(self):
        assert [mask_key(key) for key in ("", "abc", "abcd", "abcdefgh", "a" * 99)] == [
            "****", "****", "a****", "ab****", "aaaa****",
        ]  # fmt: skip

    def test_a_query_of_the_application_is_masked(self):
        assert parse_target("rtmp://h/a?token=tttt/key-key-key-key-").masked() == (
            "rtmp://h/a?****/key-****"
        )

    @given(st.text("abcdefgh0123?&=/-_", min_size=12), st.text("xyz", min_size=5))
    def test_neither_key_nor_password_is_in_any_rendering(self, key, password):
        target = PublishTarget("h.example", 1935, False, "live", key, "user", password)
        for text in (repr(target), str(target), target.masked(), f"{target}", f"{[target]}"):
            assert key not in text
            assert password not in text

    def test_words_of_the_far_side_lose_what_they_repeat(self):
        target = parse_target("rtmp://u:hunter22@h/live/secretsecret?token=abcdef&n=1")
        said = "no secretsecret?token=abcdef here; token abcdef, name secretsecret, pw hunter22"
        hidden = target.hide(said)
        for secret in ("secretsecret", "abcdef", "hunter22"):
            assert secret not in hidden
        assert hidden == "no sec****?token=**** here; token ****, name sec****, pw ****"
        assert parse_target("rtmp://h/live/k?n=1").hide("1 kick") == "1 kick"


class TestFollow:
    ours = parse_target("rtmp://u:p@h:1936/live/inst/key?x=1")

    @pytest.mark.parametrize(
        ("url", "host", "port", "app"),
        [
            ("", "h", 1936, "live/inst"),
            ("rtmp://other.example/app", "other.example", 1935, "app"),
            ("rtmps://other.example/app/two", "other.example", 443, "app/two"),
            ("//other.example/app", "other.example", 1935, "app"),
            ("/app", "h", 1936, "app"),
            ("app", "h", 1936, "live/app"),
            ("?vhost=v", "h", 1936, "live/?vhost=v"),
        ],
    )
    def test_the_key_and_the_credentials_stay(self, url, host, port, app):
        there = self.ours.follow(url)
        assert (there.host, there.port, there.app) == (host, port, app)
        assert (there.key, there.user, there.password) == ("key?x=1", "u", "p")

    @pytest.mark.parametrize("url", ["http://h/app", "rtmp://h", "/", "../x", "a\x01b"])
    def test_what_leads_nowhere_is_refused(self, url):
        with pytest.raises(InvalidTargetError):
            self.ours.follow(url)

    def test_tls_is_not_left(self):
        ours = parse_target("rtmps://h/live/key")
        with pytest.raises(InvalidTargetError, match="RTMPS to RTMP"):
            ours.follow("rtmp://h/live")
        assert ours.follow("//x/live").tls


@given(st.text(max_size=60))
def test_any_text_is_a_target_or_refused(text):
    for url in (text, f"rtmp://{text}", f"rtmp://h/{text}"):
        try:
            target = parse_target(url)
        except InvalidTargetError:
            continue
        # What it says of itself leads to the same place.
        again = parse_target(target.tc_url, target.key)
        assert (again.host, again.port, again.app, again.key) == (
            target.host, target.port, target.app, target.key,
        )  # fmt: skip
