import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.errors import InvalidNameError
from streamserver.names import StreamKey
from streamserver.rtmp.url import MAX_PARAMETERS, TcUrl, resolve


def found(app: str, key: str, tc_url: str = "") -> tuple[str, dict[str, str]]:
    target = resolve(app, key, tc_url)
    return f"{target.app}/{target.name}", dict(target.params)


@pytest.mark.parametrize(
    ("app", "key", "stream", "params"),
    [
        # OBS: server field and stream key as they are.
        ("live", "cam", "live/cam", {}),
        ("live/", "cam", "live/cam", {}),
        ("/live", "/cam", "live/cam", {}),
        ("live", "cam?token=x&a=1", "live/cam", {"token": "x", "a": "1"}),
        ("live?token=x", "cam", "live/cam", {"token": "x"}),
        # One segment, in every spelling.
        ("live", "", "live/default", {}),
        ("live?token=x", "", "live/default", {"token": "x"}),
        ("live", "?token=x", "live/default", {"token": "x"}),
        ("", "live?token=x", "live/default", {"token": "x"}),
        ("", "live", "live/default", {}),
        ("", "live/cam?token=x", "live/cam", {"token": "x"}),
        # Everything in the server field.
        ("live/cam", "", "live/cam", {}),
        ("live/cam?token=x", "", "live/cam", {"token": "x"}),
        # FMLE and Flash.
        ("live?vhost=v.example", "cam", "live/cam", {"vhost": "v.example"}),
        ("live...vhost...v.example", "cam", "live/cam", {"vhost": "v.example"}),
        ("live...vhost...v?token=x", "cam", "live/cam", {"vhost": "v", "token": "x"}),
        ("live", "cam...vhost...v", "live/cam", {"vhost": "v"}),
        ("live?vhost=v/cam", "", "live/cam", {"vhost": "v"}),
        ("live/_definst_", "cam", "live/cam", {}),
        ("live", "_definst_/cam", "live/cam", {}),
        ("live/_definst_/cam", "", "live/cam", {}),
        ("live#token=x", "cam", "live/cam", {"token": "x"}),
        # ffmpeg: two segments of a longer path are the app; a name may get a prefix.
        ("live", "mp4:cam.mp4", "live/cam.mp4", {}),
        ("live", "flv:cam", "live/cam", {}),
        # Slashes inside a token are part of it.
        ("live", "cam?token=a/b=", "live/cam", {"token": "a/b="}),
        ("live?token=a/b", "cam", "live/cam", {"token": "a/b"}),
        # Decoding.
        ("live", "cam?token=a%20b+c%2Fd", "live/cam", {"token": "a b+c/d"}),
        ("live", "cam?flag&x=", "live/cam", {"flag": "", "x": ""}),
        ("live", "cam?&&=y", "live/cam", {}),
        ("'live'", " cam\n", "live/cam", {}),
        ("live", "cam@720p", "live/cam@720p", {}),
    ],
)
def test_every_spelling_finds_its_stream(app, key, stream, params):
    assert found(app, key) == (stream, params)


def test_the_query_of_the_key_overrides_that_of_the_app_and_that_of_tc_url():
    params = found("live?a=app&b=app", "cam?a=key", "rtmp://h/live?a=url&b=url&c=url")[1]
    assert params == {"a": "key", "b": "app", "c": "url"}


def test_a_connect_without_app_is_read_from_its_tc_url():
    assert found("", "cam", "rtmp://h:1935/live?x=1") == ("live/cam", {"x": "1"})


def test_the_path_of_tc_url_counts_only_where_there_is_no_app():
    assert found("live", "cam", "rtmp://h/other/thing")[0] == "live/cam"


@pytest.mark.parametrize(
    ("app", "key"), [("live/inst", "cam"), ("live", "a/b"), ("a/b/c", ""), ("", "a/b/c")]
)
def test_a_third_segment_is_refused_with_a_clear_sentence(app, key):
    with pytest.raises(InvalidNameError, match="more than two segments") as caught:
        resolve(app, key)
    assert "rtmp://host/{app}" in str(caught.value)


@pytest.mark.parametrize(("app", "key"), [("", ""), ("/", "//"), ("", "?token=x"), ("?", "")])
def test_a_url_without_any_name_is_refused_with_a_clear_sentence(app, key):
    with pytest.raises(InvalidNameError, match="names no stream"):
        resolve(app, key)


@pytest.mark.parametrize(
    ("app", "key"),
    [
        ("..", "cam"),
        ("live", ".."),
        ("live", ".hidden"),
        ("live", "a b"),
        ("live", "a\r\nHost: x"),
        ("live", "a\0"),
        ("live", "x" * 129),
        ("live", "caf\N{LATIN SMALL LETTER E WITH ACUTE}"),
        ("live", "a%2fb"),
        ("li ve", "cam"),
        ("live", "mp4:"),
    ],
)
def test_bad_names_are_refused_without_repeating_them(app, key):
    with pytest.raises(InvalidNameError, match="is not valid") as caught:
        resolve(app, key)
    assert key not in str(caught.value)


def test_words_of_our_urls_are_no_apps():
    with pytest.raises(InvalidNameError, match="'hls' is a word of this server"):
        resolve("hls", "cam")


def test_parameters_are_bounded_and_hold_no_control_characters():
    query = "&".join(f"k{i}=v" for i in range(MAX_PARAMETERS))
    assert len(found("live", f"cam?{query}")[1]) == MAX_PARAMETERS
    with pytest.raises(InvalidNameError, match="parameters"):
        resolve("live", f"cam?{query}&more=1")
    with pytest.raises(InvalidNameError, match="parameters"):
        resolve("live", "cam?" + "&".join(f"k{i}" for i in range(9999)))
    with pytest.raises(InvalidNameError, match="control characters"):
        resolve("live", "cam?token=a%0d%0ab")


def test_secrets_stay_out_of_the_repr():
    assert "hush" not in repr(resolve("live?a=hush", "hush?token=hush"))
    assert "hush" not in repr(TcUrl.parse("rtmp://hush:hush@h/live?token=hush"))


@pytest.mark.parametrize(
    ("text", "host", "path", "query"),
    [
        ("rtmp://Example.COM/live", "example.com", "live", ""),
        ("rtmp://127.0.0.1:1935/live?x=1", "127.0.0.1", "live", "x=1"),
        ("rtmps://[2001:db8::1]:443/live/cam", "2001:db8::1", "live/cam", ""),
        ("'rtmp://h/live'", "h", "live", ""),
        ("rtmp://user:p%40ss@h:1/live", "h", "live", ""),
        ("rtmp://h", "h", "", ""),
        ("rtmp://h?x", "h", "", "x"),
        ("h/live", "h", "live", ""),
        ("", "", "", ""),
        ("rtmp://[broken/live", "", "live", ""),
        ("rtmp://a\r\nb/live", "", "live", ""),
    ],
)
def test_tc_url_is_read_tolerantly(text, host, path, query):
    url = TcUrl.parse(text)
    assert (url.path, url.query) == (path, query)
    if "broken" not in text:
        assert url.host == host


def test_user_and_password_of_tc_url_are_decoded():
    url = TcUrl.parse("rtmp://user%3a:p%40ss:word@h/live")
    assert (url.user, url.password, url.host) == ("user:", "p@ss:word", "h")


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
def test_any_text_gives_a_valid_name_or_an_invalid_name_error(app, key, tc_url):
    try:
        target = resolve(app, key, tc_url)
    except InvalidNameError:
        return
    StreamKey(target.app, target.name)
