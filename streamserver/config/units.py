"""Numbers of settings, with their bounds."""

from typing import Annotated

from msgspec import Meta

__all__ = ["Bytes", "Count", "Port", "Seconds"]

Port = Annotated[int, Meta(ge=0, le=65535)]
Seconds = Annotated[float, Meta(gt=0, le=3600)]
Count = Annotated[int, Meta(ge=1, le=10_000_000)]
Bytes = Annotated[int, Meta(ge=1024, le=1 << 40)]
