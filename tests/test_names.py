import pytest

from streamserver.errors import InvalidNameError
from streamserver.names import StreamKey


@pytest.mark.parametrize("text", ["live/cam", "a/b.c-d_e", "-x/_y", "live/cam@720p"])
def test_names_that_are_names(text):
    assert str(StreamKey.parse(text)) == text


def test_one_segment_is_the_default_stream_of_an_app():
    assert StreamKey.parse("live") == StreamKey("live", "default")
    assert StreamKey.parse("/live/") == StreamKey("live", "default")


@pytest.mark.parametrize(
    "text",
    [
        "", "/", "a//b", "a/b/c", "../etc", "a/..", "a/.hidden", "a/b\0", "a/b\n", "ä/b", "a/b?c",
        "hls/x", "api/v1", "a/" + "x" * 129, "a/x@", "a/@x", "a/x@y@z", "a b/c", "a/%2e%2e",
    ],
)  # fmt: skip
def test_names_that_are_not(text):
    with pytest.raises(InvalidNameError):
        StreamKey.parse(text)
