from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserver.errors import InvalidNameError, NotFoundError, RefusedError
from streamserver.names import StreamKey
from streamserver.outputs.hls.paths import Form, MediaUrl, MultivariantUrl, ObjectUrl, parse_path

CAM = StreamKey("live", "cam")
DEFAULT = StreamKey("live", "default")


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("/live/cam/index.m3u8", MultivariantUrl(CAM, Form.LOW_LATENCY, "")),
        ("/live/cam/ts.m3u8", MultivariantUrl(CAM, Form.TS, "")),
        ("/live/index.m3u8", MultivariantUrl(DEFAULT, Form.LOW_LATENCY, "default/")),
        ("/live/ts.m3u8", MultivariantUrl(DEFAULT, Form.TS, "default/")),
        ("/live/cam/s/abc/video.m3u8", MediaUrl(CAM, Form.LOW_LATENCY, "abc")),
        ("/live/cam/s/abc/ts.m3u8", MediaUrl(CAM, Form.TS, "abc")),
        ("/live/s/index.m3u8", MultivariantUrl(StreamKey("live", "s"), Form.LOW_LATENCY, "")),
        ("/live/cam/token/123.4.m4s", ObjectUrl()),
        ("/live/cam/video.m3u8", ObjectUrl()),
    ],
)
def test_every_kind_of_url_is_recognised(path, url):
    assert parse_path(path) == url


@pytest.mark.parametrize(
    "path", ["", "/", "/live", "/index.m3u8", "/a/b/c/d/e/f", "x", "/a/b/s/c/d"]
)
def test_other_shapes_are_not_found(path):
    with pytest.raises(NotFoundError):
        parse_path(path)


@pytest.mark.parametrize("path", ["/../etc/index.m3u8", "/api/x/index.m3u8", "//index.m3u8"])
def test_what_is_no_name_is_refused(path):
    with pytest.raises(RefusedError):
        parse_path(path)


@given(
    st.lists(
        st.sampled_from(
            ["live", "cam", "s", "..", "", "index.m3u8", "ts.m3u8", "\ud800", "%", "é"]
        ),
        max_size=7,
    )
)
def test_any_path_is_an_url_or_refused(segments):
    with suppress(InvalidNameError, NotFoundError):
        parse_path("/".join(segments))
