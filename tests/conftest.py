"""What holds for every test."""

from collections.abc import Iterator

import pytest

from tests.priority import be_ordinary


@pytest.fixture(autouse=True)
def ordinary_priority() -> Iterator[None]:
    """No test leaves the process at the priority that an encoder gave it."""
    yield
    be_ordinary()
