"""Registered streams in SQLite: statements, without the thread that runs them."""

import sqlite3

import msgspec

from streamserver.names import StreamKey
from streamserver.storage.base import StoredStream
from streamserver.storage.transactions import transaction

__all__ = ["change_stream", "read_streams", "register_stream", "unregister_stream"]


def read_streams(db: sqlite3.Connection) -> list[StoredStream]:
    """See `streamserver.storage.base.StreamRecords`."""
    rows = db.execute(
        "SELECT app, name, title, metadata, record FROM registered_stream ORDER BY app, name"
    ).fetchall()
    return [
        StoredStream(
            stream=StreamKey(app, name),
            title=title,
            metadata=msgspec.json.decode(metadata, type=dict),
            record=bool(record),
        )
        for app, name, title, metadata, record in rows
    ]


def register_stream(db: sqlite3.Connection, stored: StoredStream, hashed: str) -> None:
    """See `streamserver.storage.base.StreamRecords`."""
    app, name = stored.stream.app, stored.stream.name
    metadata = msgspec.json.encode(stored.metadata).decode()
    with transaction(db):
        db.execute(
            "INSERT OR REPLACE INTO registered_stream (app, name, title, metadata, record) "
            "VALUES (?, ?, ?, ?, ?)",
            (app, name, stored.title, metadata, stored.record),
        ).close()
        db.execute(
            "INSERT OR REPLACE INTO stream_key (app, name, hash) VALUES (?, ?, ?)",
            (app, name, hashed),
        ).close()


def change_stream(db: sqlite3.Connection, stored: StoredStream) -> None:
    """See `streamserver.storage.base.StreamRecords`."""
    db.execute(
        "UPDATE registered_stream SET title = ?, metadata = ?, record = ? "
        "WHERE app = ? AND name = ?",
        (
            stored.title,
            msgspec.json.encode(stored.metadata).decode(),
            stored.record,
            stored.stream.app,
            stored.stream.name,
        ),
    ).close()


def unregister_stream(db: sqlite3.Connection, stream: StreamKey) -> None:
    """See `streamserver.storage.base.StreamRecords`."""
    with transaction(db):
        for table in ("registered_stream", "stream_key"):
            db.execute(
                f"DELETE FROM {table} WHERE app = ? AND name = ?", (stream.app, stream.name)
            ).close()
