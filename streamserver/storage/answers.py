"""Answers that may be asked for again, in SQLite: statements, without their thread."""

import sqlite3

from streamserver.storage.base import StoredAnswer
from streamserver.storage.transactions import transaction

__all__ = ["find_answer", "keep_answer"]


def find_answer(db: sqlite3.Connection, ident: str, now_s: int) -> StoredAnswer | None:
    """See `streamserver.storage.base.Answers`."""
    row = db.execute(
        "SELECT id, fingerprint, body, expires_s FROM answer WHERE id = ? AND expires_s > ?",
        (ident, now_s),
    ).fetchone()
    if row is None:
        return None
    ident, fingerprint, body, expires_s = row
    return StoredAnswer(id=ident, fingerprint=fingerprint, body=body, expires_s=expires_s)


def keep_answer(db: sqlite3.Connection, answer: StoredAnswer, *, now_s: int, keep: int) -> None:
    """See `streamserver.storage.base.Answers`."""
    with transaction(db):
        db.execute("DELETE FROM answer WHERE expires_s <= ?", (now_s,)).close()
        db.execute(
            "INSERT OR REPLACE INTO answer (id, fingerprint, body, expires_s) VALUES (?, ?, ?, ?)",
            (answer.id, answer.fingerprint, answer.body, answer.expires_s),
        ).close()
        db.execute(
            "DELETE FROM answer WHERE sequence <= "
            "(SELECT sequence FROM answer ORDER BY sequence DESC LIMIT 1 OFFSET ?)",
            (keep,),
        ).close()
