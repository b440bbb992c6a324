"""What holds for every test."""

import logging
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.priority import be_ordinary

# A busy machine is no bug: tests assert no times, and this library would by itself.
settings.register_profile("streamserver", deadline=None)
settings.load_profile("streamserver")


@pytest.fixture(autouse=True)
def ordinary_priority() -> Iterator[None]:
    """No test leaves the process at the priority that an encoder gave it."""
    yield
    be_ordinary()


@pytest.fixture(autouse=True)
def own_log_level() -> Iterator[None]:
    """No test leaves the process at the level that a server or command of its own wanted."""
    package = logging.getLogger("streamserver")
    level = package.level
    yield
    package.setLevel(level)
