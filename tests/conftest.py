"""What every test gets: the event loop that was asked for, virtual time, and proof that nothing was left behind.

WEIRPOOL_TEST_LOOP chooses the loop: "" (the stock one, in virtual time), "eager" (the stock one with asyncio's eager task
factory, in virtual time) or "uvloop" (in real time: its clock can't be replaced). Tests take less than a second of their
loop's time, so that they run on either; a test that needs more is marked `virtual`, and one that has threads, sockets or
processes `realtime`.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import Clock, Stubborn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping

pytest_plugins = ["pytester"]  # of pytest in pytest, for tests/testing/test_pytest_plugin.py

LOOP = os.environ.get("WEIRPOOL_TEST_LOOP", "")
SLOW = "Executing %s took %.3f seconds"  # what asyncio says in its debug mode, of anything on a busy machine


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers."""
    config.addinivalue_line("markers", "realtime: has threads, sockets or processes; runs on the real clock")
    config.addinivalue_line("markers", "virtual: takes more loop time than anybody wants to wait; needs the virtual clock")
    config.addinivalue_line("markers", "complains: makes the pool log warnings or errors on purpose")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Choose the clock of each test."""
    for item in items:
        if item.get_closest_marker("realtime") is None:
            item.add_marker(pytest.mark.looptime)
        if LOOP == "uvloop" and item.get_closest_marker("virtual") is not None:
            item.add_marker(pytest.mark.skip(reason="needs a virtual clock, which uvloop can't have; runs on the stock loop"))


def pytest_collection_finish() -> None:
    """Exempt all that exists by now from garbage collection: each test collects garbage, and should find only its own."""
    gc.collect()
    gc.freeze()


def pytest_runtest_logfinish() -> None:
    """And so what pytest keeps of each test: else the collections of the later ones take most of the time."""
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make a test fail in CI that is skipped for want of something that CI should have installed."""
    report = yield
    if report.skipped and os.environ.get("CI") and "missing: " in str(report.longrepr):
        report.outcome = "failed"
    return report


def _eager_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]  # 3.12+
    return loop


def _uvloop() -> asyncio.AbstractEventLoop:
    uvloop: Any = pytest.importorskip("uvloop", reason="missing: pip install uvloop")
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


if LOOP:

    def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
        """Run the asyncio tests on the loop that was asked for."""
        return {LOOP: {"eager": _eager_loop, "uvloop": _uvloop}[LOOP]}


@pytest.fixture
def clock(request: pytest.FixtureRequest) -> Clock:
    """Tell how much of the loop's time has passed, exactly in virtual time and about in real time."""
    real = LOOP == "uvloop" or request.node.get_closest_marker("realtime") is not None
    return Clock(tolerance=0.15 if real else 1e-6)


@pytest.fixture(autouse=True)
def quiet(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail a test in which weirpool or asyncio complained, unless it is marked `complains`."""
    caplog.set_level(logging.INFO)
    yield
    gc.collect()
    if request.node.get_closest_marker("complains") is None:
        loud = [
            r
            for r in caplog.get_records("call")
            if r.levelno >= logging.WARNING and r.msg != SLOW and r.name != "weirpool.admission"  # refusals are no mistakes
        ]
        assert not loud, [r.getMessage() for r in loud]


@pytest.fixture(autouse=True)
async def nothing_left() -> AsyncIterator[None]:
    """Fail a test that leaves a task behind, or makes the loop's exception handler be called."""
    loop = asyncio.get_running_loop()
    complaints: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    before = asyncio.all_tasks()
    yield
    await asyncio.sleep(0)
    left = {task for task in asyncio.all_tasks() - before - {asyncio.current_task()} if not task.done()}
    for task in left:
        task.cancel()
    for stubborn in [stubborn for stubborn, its in Stubborn.living.items() if its is loop]:
        await stubborn.release()  # or the loop, which is about to close, would wait for it for ever
    gc.collect()
    assert not left
    assert not complaints
