"""Several statements, wholly or not at all."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["transaction"]


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Takes the write lock, and commits at the end, or rolls back what an error broke off."""
    db.execute("BEGIN IMMEDIATE").close()
    try:
        yield
        # Within: a commit that fails (the disk is full) is rolled back, too.
        db.execute("COMMIT").close()
    except BaseException:
        # Some errors roll back by themselves (SQLite, "Response To Errors Within A Transaction").
        if db.in_transaction:
            db.execute("ROLLBACK").close()
        raise
