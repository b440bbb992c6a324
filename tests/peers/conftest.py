"""Servers that peer tests share, and their logs beside a failure."""

from collections.abc import Generator, Iterator
from typing import Any

import pytest

from tests.peers.server import PUBLISH_KEY, RunningServer


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with its defaults: publishing from this machine is open."""
    with RunningServer(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that wants a publish key, and is strict with those who dawdle."""
    directory = tmp_path_factory.mktemp("guarded")
    settings = ("rtmp.setup_timeout_s=2",)
    with RunningServer(directory, publish_key=PUBLISH_KEY, settings=settings) as running:
        yield running


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Shows what the servers of a failed test have said."""
    report = yield
    if report.failed:
        values: dict[str, Any] = getattr(item, "funcargs", {})
        for name, value in values.items():
            if isinstance(value, RunningServer):
                report.sections.append((f"log of {name}", value.log()[-6000:]))
    return report
