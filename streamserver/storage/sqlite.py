"""The storage in an SQLite file: a thread of its own writes, and another one reads.

So a write that waits for another program, or for the disk, keeps no publisher from being let in.
"""

import asyncio
import logging
import os
import secrets
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from streamserver.names import StreamKey
from streamserver.storage.answers import find_answer, keep_answer
from streamserver.storage.base import (
    StorageError,
    StorageInUseError,
    StoredAnswer,
    StoredDelivery,
    StoredStream,
)
from streamserver.storage.deliveries import (
    forget_deliveries,
    read_deliveries,
    write_deliveries,
)
from streamserver.storage.migrations import migrate
from streamserver.storage.streams import (
    change_stream,
    read_streams,
    register_stream,
    unregister_stream,
)

__all__ = ["SqliteStorage"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

_BUSY_TIMEOUT_S: Final = 5.0
"""How long a call waits for another process that writes."""

_READ_TIMEOUT_S: Final = 1.0

_SIGNING_SECRET: Final = "server.signing_secret"


class SqliteStorage:
    """Implements `streamserver.storage.Storage`. Made by `open`."""

    durable = True

    def __init__(self, path: Path, writer: "_Worker", reader: "_Worker") -> None:
        self._path = path
        self._writer = writer
        self._reader = reader
        self._closed = False

    @classmethod
    async def open(cls, path: Path, *, busy_timeout_s: float = _BUSY_TIMEOUT_S) -> "SqliteStorage":
        """Opens or makes the database file at a path, and brings it to the newest version.

        A file that is corrupt is moved aside (never deleted) and a new one is made, with an error
        in the log. Raises `StorageInUseError` when another process keeps the file locked or a
        newer program wrote it, and `StorageError` when it cannot be made or written.
        """
        writer = await _Worker.open("storage", partial(_open, path, busy_timeout_s))
        try:
            reader = await _Worker.open("storage-reader", partial(_open_reader, path))
        except BaseException as error:
            await writer.close()
            if isinstance(error, sqlite3.Error):
                raise StorageError(f"{path} cannot be read: {_explain(error)}") from error
            raise
        return cls(path, writer, reader)

    async def get_secret_hash(self, name: str) -> str | None:
        """See `Storage`."""
        return await self._read(
            lambda db: _one(db, "SELECT hash FROM secret WHERE name = ?", (name,))
        )

    async def set_secret_hash(self, name: str, hashed: str) -> None:
        """See `Storage`."""
        await self._run(
            lambda db: db.execute(
                "INSERT OR REPLACE INTO secret (name, hash) VALUES (?, ?)", (name, hashed)
            ).close()
        )

    async def get(self, key: str) -> Any:
        """See `Storage`."""
        text = await self._read(
            lambda db: _one(db, "SELECT value FROM setting WHERE key = ?", (key,))
        )
        return None if text is None else msgspec.json.decode(text)

    async def set(self, key: str, value: Any) -> None:
        """See `Storage`."""
        text = msgspec.json.encode(value).decode()
        await self._run(
            lambda db: db.execute(
                "INSERT OR REPLACE INTO setting (key, value) VALUES (?, ?)", (key, text)
            ).close()
        )

    async def delete(self, key: str) -> None:
        """See `Storage`."""
        await self._run(lambda db: db.execute("DELETE FROM setting WHERE key = ?", (key,)).close())

    async def signing_secret(self) -> bytes:
        """See `Storage`."""
        fresh = msgspec.json.encode(secrets.token_hex(32)).decode()

        query = "SELECT value FROM setting WHERE key = ?"

        def keep_or_make(db: sqlite3.Connection) -> str | None:
            kept = _one(db, query, (_SIGNING_SECRET,))
            if kept is not None:
                return kept  # nothing is written: a disk may be full
            # Whoever comes first wins, also among processes.
            db.execute(
                "INSERT OR IGNORE INTO setting (key, value) VALUES (?, ?)", (_SIGNING_SECRET, fresh)
            ).close()
            return _one(db, query, (_SIGNING_SECRET,))

        kept = await self._run(keep_or_make)
        return bytes.fromhex(msgspec.json.decode(kept or fresh))

    async def stream_key_hash(self, stream: StreamKey) -> str | None:
        """See `StreamKeys`."""
        query = "SELECT hash FROM stream_key WHERE app = ? AND name = ?"
        return await self._read(lambda db: _one(db, query, (stream.app, stream.name)))

    async def stream_of_key(self, hashed: str) -> StreamKey | None:
        """See `StreamKeys`."""
        query = "SELECT app || '/' || name FROM stream_key WHERE hash = ?"
        found = await self._read(lambda db: _one(db, query, (hashed,)))
        return None if found is None else StreamKey.parse(found)

    async def set_stream_key(self, stream: StreamKey, hashed: str) -> None:
        """See `StreamKeys`."""
        await self._run(
            lambda db: db.execute(
                "INSERT OR REPLACE INTO stream_key (app, name, hash) VALUES (?, ?, ?)",
                (stream.app, stream.name, hashed),
            ).close()
        )

    async def delete_stream_key(self, stream: StreamKey) -> None:
        """See `StreamKeys`."""
        await self._run(
            lambda db: db.execute(
                "DELETE FROM stream_key WHERE app = ? AND name = ?", (stream.app, stream.name)
            ).close()
        )

    async def registered_streams(self) -> list[StoredStream]:
        """See `StreamRecords`."""
        return await self._read(read_streams)

    async def register_stream(self, stored: StoredStream, hashed: str) -> None:
        """See `StreamRecords`."""
        await self._run(lambda db: register_stream(db, stored, hashed))

    async def change_stream(self, stored: StoredStream) -> None:
        """See `StreamRecords`."""
        await self._run(lambda db: change_stream(db, stored))

    async def unregister_stream(self, stream: StreamKey) -> None:
        """See `StreamRecords`."""
        await self._run(lambda db: unregister_stream(db, stream))

    async def revoke_token(self, token_id: str, expires_s: int) -> None:
        """See `TokenRevocations`."""
        await self._run(
            lambda db: db.execute(
                "INSERT OR REPLACE INTO revoked_token (id, expires_s) VALUES (?, ?)",
                (token_id, expires_s),
            ).close()
        )

    async def revoked_tokens(self, now_s: int) -> list[tuple[str, int]]:
        """See `TokenRevocations`."""

        def read(db: sqlite3.Connection) -> list[tuple[str, int]]:
            with suppress(sqlite3.OperationalError):  # full or locked: they are forgotten later
                db.execute("DELETE FROM revoked_token WHERE expires_s <= ?", (now_s,)).close()
            query = "SELECT id, expires_s FROM revoked_token WHERE expires_s > ?"
            rows = db.execute(query, (now_s,)).fetchall()
            return [(str(ident), int(end)) for ident, end in rows]

        return await self._run(read)

    async def write_deliveries(self, deliveries: Sequence[StoredDelivery], keep: int) -> None:
        """See `Deliveries`."""
        await self._run(lambda db: write_deliveries(db, deliveries, keep))

    async def read_deliveries(self) -> list[StoredDelivery]:
        """See `Deliveries`."""
        return await self._read(read_deliveries)

    async def forget_deliveries(self, webhook: str) -> None:
        """See `Deliveries`."""
        await self._run(lambda db: forget_deliveries(db, webhook))

    async def find_answer(self, ident: str, now_s: int) -> StoredAnswer | None:
        """See `Answers`."""
        return await self._read(lambda db: find_answer(db, ident, now_s))

    async def keep_answer(self, answer: StoredAnswer, *, now_s: int, keep: int) -> None:
        """See `Answers`."""
        await self._run(lambda db: keep_answer(db, answer, now_s=now_s, keep=keep))

    async def close(self) -> None:
        """See `Storage`."""
        if self._closed:
            return
        self._closed = True
        await self._reader.close()
        # The last one: it takes the write-ahead log away.
        await self._writer.close()

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Where something may be written."""
        return await self._do(self._writer, work)

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Sees all that was written before."""
        return await self._do(self._reader, work)

    async def _do(self, worker: "_Worker", work: Callable[[sqlite3.Connection], T]) -> T:
        if self._closed:
            raise StorageError(f"{self._path} is closed")
        try:
            return await worker.run(work)
        except sqlite3.Error as error:
            raise StorageError(f"{self._path}: {_explain(error)}") from error


class _Worker:
    """A connection and the thread that it lives in."""

    def __init__(self, executor: ThreadPoolExecutor, db: sqlite3.Connection) -> None:
        self._executor = executor
        self._db = db

    @classmethod
    async def open(cls, name: str, connect: Callable[[], sqlite3.Connection]) -> "_Worker":
        executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        try:
            db = await asyncio.get_running_loop().run_in_executor(executor, connect)
        except BaseException:
            executor.shutdown(wait=False)
            raise
        return cls(executor, db)

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, work, self._db)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._executor, self._db.close)
        self._executor.shutdown()


def _one(db: sqlite3.Connection, query: str, arguments: tuple[str, ...]) -> str | None:
    row = db.execute(query, arguments).fetchone()
    return None if row is None else str(row[0])


def _open(path: Path, busy_timeout_s: float) -> sqlite3.Connection:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make_private(path)
        try:
            return _connect(path, busy_timeout_s)
        except sqlite3.DatabaseError as error:
            if not _is_corrupt(error):
                raise
            _move_aside(path, error)
        _make_private(path)
        return _connect(path, busy_timeout_s)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or error}") from error
    except sqlite3.Error as error:
        kind = StorageInUseError if _code(error) in _HELD else StorageError
        raise kind(f"{path} cannot be used: {_explain(error)}") from error


def _open_reader(path: Path) -> sqlite3.Connection:
    # In WAL a reader waits for nobody, save for a moment of recovery or checkpoint.
    db = sqlite3.connect(path, timeout=_READ_TIMEOUT_S, isolation_level=None)
    db.execute("PRAGMA query_only = ON").close()
    return db


def _make_private(path: Path) -> None:
    """Makes the file if need be, readable by its owner alone; SQLite's own files follow it."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600))
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)


def _connect(path: Path, busy_timeout_s: float) -> sqlite3.Connection:
    # Transactions are ours (isolation_level None), not begun behind our back.
    db = sqlite3.connect(path, timeout=busy_timeout_s, isolation_level=None)
    try:
        # WAL: readers and the writer do not wait for each other; NORMAL loses nothing when the
        # process dies, and at most the last writes when the machine does.
        db.execute("PRAGMA journal_mode = WAL").close()
        db.execute("PRAGMA synchronous = NORMAL").close()
        db.execute("PRAGMA foreign_keys = ON").close()
        found = _one(db, "PRAGMA quick_check(1)", ())
        if found != "ok":
            raise _CorruptError(found)
        migrate(db)
    except BaseException:
        db.close()
        raise
    return db


class _CorruptError(sqlite3.DatabaseError):
    """The database opens, and its content does not fit together."""


_HELD: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_CORRUPT: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

_ADVICE: Final = {
    sqlite3.SQLITE_FULL: "make room on the disk; until then only what is there can be read",
    **dict.fromkeys(_HELD, "another program keeps it locked: end that, or wait for it"),
    **dict.fromkeys(_CORRUPT, "it is damaged: the next start moves it aside and makes a new one"),
}


def _code(error: sqlite3.Error) -> int:
    """The primary code, which is in the low byte of an extended one; 0: none of SQLite's."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _explain(error: sqlite3.Error) -> str:
    """SQLite's words, and what to do."""
    advice = _ADVICE.get(_code(error))
    return f"{error} ({advice})" if advice else str(error)


def _is_corrupt(error: sqlite3.DatabaseError) -> bool:
    return isinstance(error, _CorruptError) or _code(error) in _CORRUPT


def _move_aside(path: Path, error: Exception) -> None:
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
    aside = path.with_name(f"{path.name}.corrupt-{stamp}")
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    logger.error(
        "%s is corrupt (%s): it was moved to %s, and a new one is made; keys that were generated "
        "before are generated anew",
        path,
        error,
        aside,
    )
