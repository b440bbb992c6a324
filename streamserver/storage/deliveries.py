"""The deliveries of webhooks in SQLite: statements, without the thread that runs them."""

import sqlite3
from collections.abc import Sequence
from dataclasses import astuple, fields
from typing import Final

from streamserver.storage.base import StoredDelivery
from streamserver.storage.transactions import transaction

__all__ = ["forget_deliveries", "read_deliveries", "write_deliveries"]

_COLUMNS: Final = tuple(field.name for field in fields(StoredDelivery))
_NAMES: Final = ", ".join(_COLUMNS)
_KEY: Final = ("webhook", "event_id")

_WRITE: Final = (
    f"INSERT INTO webhook_delivery ({_NAMES}) VALUES ({', '.join('?' * len(_COLUMNS))}) "
    "ON CONFLICT (webhook, event_id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS if name not in _KEY)
)
_READ: Final = f"SELECT {_NAMES} FROM webhook_delivery ORDER BY sequence"
_PRUNE: Final = """
    DELETE FROM webhook_delivery WHERE webhook = :webhook AND state <> 'pending' AND sequence <= (
        SELECT sequence FROM webhook_delivery WHERE webhook = :webhook AND state <> 'pending'
        ORDER BY sequence DESC LIMIT 1 OFFSET :keep
    )
"""


def write_deliveries(
    db: sqlite3.Connection, deliveries: Sequence[StoredDelivery], keep: int
) -> None:
    """See `streamserver.storage.base.Deliveries`."""
    with transaction(db):
        db.executemany(_WRITE, [astuple(one) for one in deliveries]).close()
        for webhook in {one.webhook for one in deliveries if one.state != "pending"}:
            db.execute(_PRUNE, {"webhook": webhook, "keep": keep}).close()


def read_deliveries(db: sqlite3.Connection) -> list[StoredDelivery]:
    """See `streamserver.storage.base.Deliveries`."""
    return [StoredDelivery(**dict(zip(_COLUMNS, row, strict=True))) for row in db.execute(_READ)]


def forget_deliveries(db: sqlite3.Connection, webhook: str) -> None:
    """See `streamserver.storage.base.Deliveries`."""
    db.execute("DELETE FROM webhook_delivery WHERE webhook = ?", (webhook,)).close()
