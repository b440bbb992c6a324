"""The shape of the database, as numbered steps. A step that was released never changes."""

import sqlite3
from dataclasses import dataclass
from typing import Final

from streamserver.storage.base import StorageInUseError

__all__ = ["MIGRATIONS", "Migration", "migrate"]


@dataclass(frozen=True, slots=True)
class Migration:
    """One step from a version of the database to the next."""

    version: int
    """The version after it; ``PRAGMA user_version`` holds the one that a file has."""

    why: str
    """What it is for."""

    statements: tuple[str, ...]
    """SQL, run in one transaction."""


MIGRATIONS: Final = (
    Migration(
        1,
        "hashes of secrets, and settings",
        (
            """
            CREATE TABLE secret (
                name TEXT PRIMARY KEY,
                hash TEXT NOT NULL,
                created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ'))
            ) STRICT, WITHOUT ROWID
            """,
            """
            CREATE TABLE setting (
                key TEXT PRIMARY KEY,
                value TEXT NOT NULL,
                updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ'))
            ) STRICT, WITHOUT ROWID
            """,
        ),
    ),
    Migration(
        2,
        "publish keys of registered streams, and signed tokens that were taken back",
        (
            """
            CREATE TABLE stream_key (
                app TEXT NOT NULL,
                name TEXT NOT NULL,
                hash TEXT NOT NULL UNIQUE,
                created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ')),
                PRIMARY KEY (app, name)
            ) STRICT, WITHOUT ROWID
            """,
            """
            CREATE TABLE revoked_token (
                id TEXT PRIMARY KEY,
                expires_s INTEGER NOT NULL
            ) STRICT, WITHOUT ROWID
            """,
        ),
    ),
    Migration(
        3,
        "deliveries of webhooks",
        (
            """
            CREATE TABLE webhook_delivery (
                sequence INTEGER PRIMARY KEY AUTOINCREMENT,
                webhook TEXT NOT NULL,
                event_id TEXT NOT NULL,
                event_type TEXT NOT NULL,
                stream TEXT NOT NULL,
                body BLOB NOT NULL,
                state TEXT NOT NULL,
                created_ms INTEGER NOT NULL,
                attempts INTEGER NOT NULL,
                next_ms INTEGER NOT NULL,
                finished_ms INTEGER NOT NULL,
                status INTEGER NOT NULL,
                duration_ms INTEGER NOT NULL,
                error TEXT NOT NULL,
                UNIQUE (webhook, event_id)
            ) STRICT
            """,
            "CREATE INDEX webhook_delivery_state ON webhook_delivery (webhook, state, sequence)",
        ),
    ),
    Migration(
        4,
        "registered streams",
        (
            """
            CREATE TABLE registered_stream (
                app TEXT NOT NULL,
                name TEXT NOT NULL,
                title TEXT NOT NULL,
                metadata TEXT NOT NULL,
                record INTEGER NOT NULL,
                created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ')),
                PRIMARY KEY (app, name)
            ) STRICT, WITHOUT ROWID
            """,
        ),
    ),
    Migration(
        5,
        "answers that may be asked for again",
        (
            """
            CREATE TABLE answer (
                sequence INTEGER PRIMARY KEY AUTOINCREMENT,
                id TEXT NOT NULL UNIQUE,
                fingerprint TEXT NOT NULL,
                body BLOB NOT NULL,
                expires_s INTEGER NOT NULL
            ) STRICT
            """,
            "CREATE INDEX answer_expires_s ON answer (expires_s)",
        ),
    ),
)


def migrate(connection: sqlite3.Connection, migrations: tuple[Migration, ...] = MIGRATIONS) -> None:
    """Brings a database to the newest version, each step wholly or not at all.

    The connection is in autocommit mode. Raises `StorageInUseError` for a database that a newer
    program wrote, and `sqlite3.Error` when a step fails.
    """
    while True:
        # The write lock first: another process may be migrating at the same time.
        connection.execute("BEGIN IMMEDIATE")
        try:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > migrations[-1].version:
                raise StorageInUseError(
                    f"the database has version {version}, and this program knows up to "
                    f"{migrations[-1].version}: a newer streamserver wrote it"
                )
            pending = [step for step in migrations if step.version > version]
            if pending:
                for statement in pending[0].statements:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {pending[0].version:d}")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
        if not pending:
            return
