"""The demonstration stream, kept up: so that a newcomer sees video without an encoder."""

import asyncio
import logging
from typing import Final

from streamserver.clock import Clock
from streamserver.control.publishing import Publication, Publishing
from streamserver.errors import RefusedError, StreamServerError
from streamserver.ingest.demo import DemoSource
from streamserver.names import StreamKey

__all__ = ["DEMO", "demonstrate"]

DEMO: Final = StreamKey("live", "demo")
"""Where the demonstration is published."""

_RETRY_S: Final = 2

logger = logging.getLogger(__name__)


async def demonstrate(publishing: Publishing, clock: Clock) -> None:
    """Publishes the test picture until cancelled; begins again when it fails or is stopped."""
    while True:
        await _publish(publishing, clock)
        await asyncio.sleep(_RETRY_S)


async def _publish(publishing: Publishing, clock: Clock) -> None:
    publication: Publication | None = None
    try:
        publication = await publishing.open_internal(DEMO, lambda reason: None)
        await DemoSource(publication.lease, clock).run()
    except RefusedError as refusal:
        logger.info("the demonstration waits: %s", refusal)
    except (StreamServerError, OSError) as error:
        logger.warning("the demonstration stopped: %s", error)
    finally:
        if publication is not None:
            publication.close("the demonstration stopped")
