"""The operations on registered streams."""

import asyncio
from dataclasses import replace
from typing import Final

import msgspec

from streamserver.auth.hashes import hash_secret, make_secret
from streamserver.auth.stream_keys import looks_like_secret
from streamserver.control.apps import Apps
from streamserver.control.control import Control
from streamserver.control.credentials import CredentialControl
from streamserver.control.models import StreamInfo
from streamserver.control.records import Records
from streamserver.control.stream_models import (
    NewStream,
    PublishKey,
    RegisteredStream,
    StreamChange,
)
from streamserver.errors import InvalidNameError, NotFoundError, RefusedError
from streamserver.names import StreamKey
from streamserver.storage import StoredStream

__all__ = ["AlreadyRegisteredError", "MetadataError", "Registering"]

_MAX_METADATA_BYTES: Final = 16 * 1024


class AlreadyRegisteredError(RefusedError):
    """There is a registered stream of this name."""

    http_status = 409


class MetadataError(RefusedError):
    """More metadata than is kept."""

    http_status = 400


class Registering:
    """Registers streams, changes them, and gives them keys.

    What is not registered raises `NotFoundError`. Any call may raise `StorageError`; nothing has
    changed then.
    """

    def __init__(
        self,
        control: Control,
        records: Records,
        credentials: CredentialControl,
        *,
        apps: Apps | None = None,
    ) -> None:
        self._control = control
        self._records = records
        self._credentials = credentials
        self._apps = apps or Apps()
        # One change after the other: what is asked and what is done about it lie apart in time.
        self._changing = asyncio.Lock()

    async def create(self, new: NewStream) -> RegisteredStream:
        """Registers a stream; the answer, and no other, tells its key.

        Raises `InvalidNameError`, `AlreadyRegisteredError`, `LimitError`, and for a destination
        that cannot be what `DestinationControl.add` raises; nothing is registered then.
        """
        key = self._name(new.app, new.name)
        stored = StoredStream(
            stream=key, title=new.title, metadata=_bounded(new.metadata), record=new.record
        )
        async with self._changing:
            if self._records.get(key) is not None:
                raise AlreadyRegisteredError(f"{key} is registered already")
            secret = make_secret()
            await self._records.add(stored, hash_secret(secret))
            try:
                await self._control.destinations.add_all(key, new.destinations)
            except BaseException:
                await self._records.remove(key)
                raise
        info = await self._control.stream(key)
        return RegisteredStream(**msgspec.structs.asdict(info), publish_key=secret)

    async def change(self, key: StreamKey, change: StreamChange) -> StreamInfo:
        """Changes what is given. Raises `MetadataError`."""
        async with self._changing:
            stored = self._registered(key)
            if change.title is not None:
                stored = replace(stored, title=change.title)
            if change.metadata is not None:
                stored = replace(stored, metadata=_bounded(change.metadata))
            if change.record is not None:
                stored = replace(stored, record=change.record)
            await self._records.change(stored)
        return await self._control.stream(key)

    async def remove(self, key: StreamKey) -> None:
        """Forgets a stream, its key and its destinations, and ends its broadcast.

        A stream that is only live ends; one that is neither raises `NotFoundError`.
        """
        async with self._changing:
            if self._records.get(key) is None:
                await self._control.stop(key)
                return
            await self._credentials.remove_stream_key(key, forget=self._records.remove)
            await self._control.destinations.remove_added(key)
        try:
            await self._control.stop(key)
        except NotFoundError:
            return  # it was not live, or ended with its key

    async def new_key(self, key: StreamKey) -> PublishKey:
        """A new key; the old one stops working, and whoever publishes with it is disconnected."""
        async with self._changing:
            self._registered(key)
            secret = await self._credentials.new_stream_key(key)
        return PublishKey(app=key.app, name=key.name, publish_key=secret)

    def _registered(self, key: StreamKey) -> StoredStream:
        stored = self._records.get(key)
        if stored is None:
            raise NotFoundError(f"{key} is not registered; POST /api/v1/streams does it")
        return stored

    def _name(self, app: str, name: str) -> StreamKey:
        key = StreamKey(app, name)
        self._apps.check(app)
        if looks_like_secret(app) or looks_like_secret(name):
            raise InvalidNameError("this name looks like a key, and names are shown to everyone")
        return key


def _bounded(metadata: dict[str, object]) -> dict[str, object]:
    if len(msgspec.json.encode(metadata)) > _MAX_METADATA_BYTES:
        raise MetadataError(f"metadata has at most {_MAX_METADATA_BYTES} bytes")
    return metadata
