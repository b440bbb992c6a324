from pathlib import Path

import pytest

from streamserver.storage import MemoryStorage, SqliteStorage, open_storage, state_directory

HOME = Path("/home/u")


@pytest.mark.parametrize(
    ("environ", "home", "platform", "expected"),
    [
        ({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}, HOME, "linux", "/var/lib/a"),
        ({"XDG_STATE_HOME": "/x"}, HOME, "linux", "/x/streamserver"),
        ({"XDG_STATE_HOME": "x"}, HOME, "linux", "/home/u/.local/state/streamserver"),
        ({}, HOME, "linux", "/home/u/.local/state/streamserver"),
        ({}, HOME, "darwin", "/home/u/Library/Application Support/streamserver"),
        ({"LOCALAPPDATA": "/l"}, HOME, "win32", "/l/streamserver"),
        ({"STATE_DIRECTORY": "/s"}, None, "linux", "/s"),
        ({}, None, "linux", None),
    ],
)
def test_the_state_directory_is_the_platforms(
    environ: dict[str, str], home: Path | None, platform: str, expected: str | None
) -> None:
    found = state_directory(environ, home=home, platform=platform)
    assert found == (None if expected is None else Path(expected))


async def test_a_given_path_is_made_and_used(tmp_path: Path) -> None:
    storage = await open_storage(str(tmp_path / "a" / "b"), {})
    assert isinstance(storage, SqliteStorage)
    assert (tmp_path / "a" / "b" / "streamserver.sqlite").is_file()
    await storage.close()


async def test_without_a_path_the_environment_names_it(tmp_path: Path) -> None:
    storage = await open_storage("", {"STATE_DIRECTORY": str(tmp_path)})
    await storage.close()
    assert (tmp_path / "streamserver.sqlite").is_file()


async def test_a_place_that_cannot_be_written_is_a_warning_and_is_forgotten(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    storage = await open_storage(str(tmp_path / "file"), {})
    assert isinstance(storage, MemoryStorage)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "nothing outlives this process" in caplog.text


async def test_without_a_home_there_is_a_warning_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    assert isinstance(await open_storage("", {}), MemoryStorage)
    assert "there is no home directory" in caplog.text
