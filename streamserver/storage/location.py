"""Where the storage lives, and what becomes of a place that cannot be written."""

import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from streamserver.storage.base import Storage, StorageError, StorageInUseError
from streamserver.storage.memory import MemoryStorage
from streamserver.storage.sqlite import SqliteStorage

__all__ = ["DATABASE_NAME", "open_storage", "state_directory"]

logger = logging.getLogger(__name__)

DATABASE_NAME: Final = "streamserver.sqlite"
"""The file in the state directory."""


def state_directory(
    environ: Mapping[str, str], *, home: Path | None, platform: str = sys.platform
) -> Path | None:
    """Where a service keeps its state: what systemd gives, else the platform's place for a user.

    None when there is no home directory to put it in.
    """
    given = environ.get("STATE_DIRECTORY")
    if given:
        # systemd.exec(5): several directories are separated by colons; the first is ours.
        return Path(given.partition(":")[0])
    xdg = environ.get("XDG_STATE_HOME")
    # XDG Base Directory Specification: a relative path is to be ignored.
    if xdg and Path(xdg).is_absolute():
        return Path(xdg) / "streamserver"
    if platform == "win32" and environ.get("LOCALAPPDATA"):
        return Path(environ["LOCALAPPDATA"]) / "streamserver"
    if home is None:
        return None
    if platform == "darwin":
        return home / "Library" / "Application Support" / "streamserver"
    return home / ".local" / "state" / "streamserver"


async def open_storage(path: str, environ: Mapping[str, str]) -> Storage:
    """The storage in a directory, or in the platform's when the path is empty.

    Where nothing can be written (no right to, a full disk), a warning says so and the answer
    forgets everything with the process. A damaged file is moved aside. One that another program
    holds, or a newer one wrote, raises `StorageInUseError`.
    """
    directory = Path(path) if path else state_directory(environ, home=_home())
    if directory is None:
        return _forgetful("there is no home directory")
    try:
        return await SqliteStorage.open(directory / DATABASE_NAME)
    except StorageInUseError:
        raise
    except StorageError as error:
        return _forgetful(str(error))


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:
        # A container's user may have none.
        return None


def _forgetful(reason: str) -> MemoryStorage:
    logger.warning(
        "nothing outlives this process, so generated keys change at each start: %s "
        "(set [storage] path to a directory that can be written)",
        reason,
    )
    return MemoryStorage()
