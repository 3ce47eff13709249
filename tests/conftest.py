"""What every test needs: property tests that try the same examples each time, and names and processes of its own."""

from __future__ import annotations

import asyncio
import gc
import inspect
import itertools
import logging
import os
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from hypothesis import settings

from tests.engine_harness import Run
from tests.process_harness import Programs
from tests.ring.harness import TIMEOUT_S, path_of

settings.register_profile("chronostream", deadline=None, derandomize=True, database=None)
settings.load_profile("chronostream")

os.environ.pop("PYTHONUNBUFFERED", None)  # Programs buffer what they write as they do for those who use them.

_numbers = itertools.count()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs root where this is another user; .ci/run runs it as root."""
    if os.geteuid() != 0:
        left_out = [item for item in items if item.get_closest_marker("needs_root")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Have a test that is skipped in CI fail: there, everything that a test needs is installed."""
    report = yield
    if report.skipped and "CI" in os.environ and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"It was skipped, and this is CI: {report.longreprtext}"
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine, for a limited time, in an event loop of its fixture `loop_factory`."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters}
    loop_factory: Any = pyfuncitem.funcargs["loop_factory"]
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(asyncio.wait_for(pyfuncitem.obj(**arguments), TIMEOUT_S))
    gc.collect()
    return True


class AsyncioErrors(logging.Handler):
    """What asyncio can only log: a task that was destroyed while it was pending, an exception that nobody retrieved."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))

    def check(self) -> None:
        """Fail for what was logged since the last look."""
        texts, self.texts = self.texts, []
        assert not texts, "asyncio logged errors:\n" + "\n".join(texts)


@pytest.fixture(scope="module", autouse=True)
def asyncio_errors_of_module() -> Iterator[AsyncioErrors]:
    """What asyncio logs during the tests of a module, to the garbage that they leave."""
    errors = AsyncioErrors()
    logger = logging.getLogger("asyncio")
    logger.addHandler(errors)
    yield errors
    gc.collect()
    logger.removeHandler(errors)
    errors.check()


@pytest.fixture(autouse=True)
def no_asyncio_errors(asyncio_errors_of_module: AsyncioErrors) -> Iterator[None]:
    """Have a test fail during which asyncio logged an error."""
    yield
    asyncio_errors_of_module.check()


@pytest.fixture
def name() -> Iterator[str]:
    """A stream name of the test's own; its segment is gone afterwards, whatever happened."""
    name = f"case-{os.getpid()}-{next(_numbers)}"
    yield name
    path_of(name).unlink(missing_ok=True)


@pytest.fixture
def programs() -> Iterator[Programs]:
    """Starts programs; those that still run at the end of the test are killed."""
    with Programs() as programs:
        yield programs


@pytest.fixture
def run() -> Iterator[Run]:
    """A stream of seconds that nobody has started yet, half a second after noon."""
    with Run() as run:
        yield run
