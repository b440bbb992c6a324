"""Which file a stream gets."""

from pathlib import Path

import pytest

from streamserver.config import InvalidConfigError, load
from streamserver.control.slating import slate_of
from streamserver.names import StreamKey

TEXT = """
[server]
slate = "server.png"
[streams."tv/*"]
slate = "app.png"
[streams."tv/one"]
slate = "own.png"
[streams."tv/far"]
source = "rtmp://far.example/a/b"
"""


def test_a_stream_has_its_own_or_its_apps_or_the_servers(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(TEXT)
    config = load(environ={}, directory=tmp_path).config
    keys = [StreamKey("tv", "one"), StreamKey("tv", "far"), StreamKey("live", "one")]
    assert [slate_of(config, key) for key in keys] == ["own.png", "app.png", "server.png"]


def test_without_a_word_there_is_none(tmp_path: Path) -> None:
    config = load(environ={}, directory=tmp_path).config
    assert slate_of(config, StreamKey("live", "one")) == ""


def test_an_app_has_a_slate_but_no_source(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[streams."tv/*"]\nsource = "rtmp://h/a/b"\n')
    with pytest.raises(InvalidConfigError, match="is for one stream"):
        load(environ={}, directory=tmp_path)
