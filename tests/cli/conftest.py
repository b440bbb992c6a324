import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    """The program sets up the logging of its process, which here is that of the tests."""
    root = logging.getLogger()
    loggers = [root, logging.getLogger("streamserver"), logging.getLogger("asyncio")]
    levels, handlers = [each.level for each in loggers], list(root.handlers)
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    for each, level in zip(loggers, levels, strict=True):
        each.setLevel(level)
