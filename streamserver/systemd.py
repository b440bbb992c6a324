"""What systemd is told of the process: sd_notify(3) and the watchdog, without its library.

Both are silent where nobody listens: `NOTIFY_SOCKET` and `WATCHDOG_USEC` are systemd's to set.
"""

import contextlib
import os
import socket
from collections.abc import Mapping
from typing import Final

__all__ = ["READY", "STOPPING", "ServiceManager"]

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"
_ALIVE: Final = "WATCHDOG=1"


class ServiceManager:
    """The service manager of this process, if it has one."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        # sd_watchdog_enabled(3): meant for another process where the number is not ours.
        ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        usec = environ.get("WATCHDOG_USEC", "")
        watched = ours and usec.isdecimal() and bool(self._address)
        self.watchdog_s: float | None = int(usec) / 2e6 if watched and int(usec) else None
        """How often `alive` is to be said, in seconds: twice in its time-out. None: never."""

    def tell(self, state: str) -> None:
        """Sends a state; a manager that does not listen is no fault of ours."""
        if self._address[:1] not in ("/", "@"):
            return
        # A leading @ stands for Linux's abstract name space.
        address = self._address.replace("@", "\0", 1) if self._address[0] == "@" else self._address
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock,
        ):
            sock.setblocking(False)
            sock.sendto(state.encode(), address)

    def alive(self) -> None:
        """Pets the watchdog."""
        self.tell(_ALIVE)
