"""``[[destinations]]`` and ``[outgoing]``."""

from pathlib import Path

import pytest

from streamserver.config import InvalidConfigError, load


def write(directory: Path, text: str) -> Path:
    path = directory / "config.toml"
    path.write_text(text, "utf-8")
    return path


def faults_of(path: Path) -> list[str]:
    with pytest.raises(InvalidConfigError) as caught:
        load(path)
    return str(caught.value).splitlines()


def test_destinations_are_tables_of_their_own(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '[rtmp]\nport = 1\n[[destinations]]\nstream = "live/a"\nurl = "rtmp://far/live/key-1"\n'
        '[[destinations]]\nstream = "live/a"\nurl = "rtmps://far/live/key-2"\nname = "Two"\n'
        "enabled = false\n[outgoing]\nallow_private = false\n",
    )
    loaded = load(path)
    first, second = loaded.config.destinations
    assert (first.stream, first.url.reveal(), first.enabled) == (
        "live/a", "rtmp://far/live/key-1", True,
    )  # fmt: skip
    assert (second.name, second.enabled) == ("Two", False)
    assert not loaded.config.outgoing.allow_private
    assert {"key-1", "key-2"} <= set(loaded.secrets())
    assert "key-1" not in repr(loaded)


def test_faults_of_destinations_name_the_line_of_each(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '[[destinations]]\nstream = "live/a"\nurl = "http://far/live/key"\n'
        '[[destinations]]\nstream = "a/b/c"\nurl = "rtmp://far/live/key"\n'
        '[[destinations]]\nstream = "live/b"\nurl = "rtmp://far/live/key"\n'
        '[[destinations]]\nstream = "live/b"\nurl = "rtmp://far/live/key"\nenable = true\n',
    )
    faults = faults_of(path)
    assert [fault for fault in faults if ":3:" in fault and "destinations[0].url" in fault]
    assert [fault for fault in faults if ":5:" in fault and "destinations[1].stream" in fault]
    assert [fault for fault in faults if ":12:" in fault and "already" in fault]
    assert [fault for fault in faults if ":13:" in fault and "enabled" in fault]
    assert not [fault for fault in faults if "live/key" in fault]
