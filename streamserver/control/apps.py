"""The apps that exist."""

from collections.abc import Iterable

from streamserver.errors import InvalidNameError

__all__ = ["Apps"]


class Apps:
    """Asked by whoever makes streams; the names may be exchanged while running."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.names = tuple(names)
        """The only ones; empty for any."""

    def check(self, app: str) -> None:
        """Raises `InvalidNameError` for an app that does not exist."""
        if self.names and app not in self.names:
            # The word may be a key in the wrong field: it is not repeated.
            raise InvalidNameError(f"there is no such app; this server has {', '.join(self.names)}")
