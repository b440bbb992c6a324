"""Certificates for a sink: a good one that signs itself, one for another name, an expired one."""

import os
import ssl
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from streamserver.net.tls import self_signed_pem
from streamserver.sink.misbehavior import Fault, Misbehavior

__all__ = ["SinkCertificate"]

_OTHER_NAME: Final = "another-host.invalid"
_DAYS: Final = 7


@dataclass(frozen=True, slots=True)
class SinkCertificate:
    """A certificate and its key, made for one run."""

    pem: bytes
    """The certificate: what a client must trust in order to get as far as its fault."""

    key_pem: bytes = field(repr=False)
    """Its key."""

    @classmethod
    def make(cls, misbehavior: Misbehavior) -> "SinkCertificate":
        """For ``localhost`` and the loopback, unless it shall be bad."""
        if misbehavior.fault is not Fault.TLS_BAD:
            return cls(*self_signed_pem([], days=_DAYS))
        if misbehavior.expired:
            long_ago = datetime.now(UTC) - timedelta(days=2 * _DAYS)
            return cls(*self_signed_pem([], now=long_ago, days=_DAYS))
        return cls(*self_signed_pem([_OTHER_NAME], days=_DAYS, loopback=False))

    def context(self) -> ssl.SSLContext:
        """A server's context. Touches the disk for a moment, as the ssl module wants it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        descriptor, name = tempfile.mkstemp(prefix="streamserver-sink-", suffix=".pem")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(self.pem + self.key_pem)
            context.load_cert_chain(name)
        finally:
            Path(name).unlink()
        return context
