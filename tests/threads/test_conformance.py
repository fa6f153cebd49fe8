"""CPython's own tests of executors, run on a pool as an executor.

They are those that come with the Python that runs this, since 3.13, where they became a package of mixins. What does not apply
is listed in `LEFT_OUT`, each with the reason. The last test holds that each upstream test of executors, of thread pools, of
waiting and of futures is either run here or listed there, so that none vanishes in silence.

To save time, what sleeps and what waits for that does so for a quarter of the time.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.threads.support import Home
from weirpool._crossing import Crossing
from weirpool._job_future import JobFuture

executor, util, as_completed, wait, shutdown, thread_pool, future = (
    pytest.importorskip(f"test.test_concurrent_futures.{name}", reason="needs the tests of Python itself, 3.13 or later")
    for name in ("executor", "util", "test_as_completed", "test_wait", "test_shutdown", "test_thread_pool", "test_future")
)

if TYPE_CHECKING:
    from unittest import TestCase
else:
    TestCase = util.BaseTestCase

pytestmark = [pytest.mark.realtime, pytest.mark.complains]  # of failures that nobody asks for: upstream looks at few

SHARE = 0.25
NAMED = "is about a class of concurrent.futures that a script of its own calls by name; see test_executor.py for the facade"
THREADS = "is about the threads of a ThreadPoolExecutor, which it names, keeps and counts; those of a pool are anyio's"
OWN_CLASS = "makes a ThreadPoolExecutor itself; see test_executor.py for the facade"
LEFT_OUT = {
    "test_max_workers_negative": "max_workers is an argument of the pool, which refuses it in words of its own",
    "test_default_workers": "the number of workers is the pool's",
    "test_saturation": THREADS,
    "test_idle_thread_reuse": THREADS,
    "test_threads_terminate": THREADS,
    "test_thread_names_assigned": THREADS,
    "test_thread_names_default": THREADS,
    "test_hang_global_shutdown_lock": "is about a lock of ThreadPoolExecutor's in a forked process, which has no event loop",
    "test_interpreter_shutdown": NAMED,
    "test_submit_after_interpreter_shutdown": NAMED,
    "test_hang_gh83386": NAMED,
    "test_cancel_futures_wait_false": NAMED,
    "test_context_manager_shutdown": OWN_CLASS,
    "test_del_shutdown": OWN_CLASS,
    "test_shutdown_no_wait": OWN_CLASS,
}


class Quick:
    """The module `time`, with a sleep that takes a part of what is asked for."""

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    @staticmethod
    def sleep(seconds: float) -> None:
        time.sleep(seconds * SHARE)


class Facade(TestCase):
    """Have upstream's tests make a pool as an executor, where they make a ThreadPoolExecutor."""

    executor: Any

    def setUp(self) -> None:
        self.homes: list[Home] = []
        self.patch = pytest.MonkeyPatch()
        for module in (executor, as_completed, wait, shutdown):
            self.patch.setattr(module, "time", Quick())
        super().setUp()

    def tearDown(self) -> None:
        self.executor.shutdown()
        for home in self.homes:
            home.close()
        self.patch.undo()
        super().tearDown()

    def executor_type(self, max_workers: int) -> Any:
        home = Home(max_workers=max_workers)
        self.homes.append(home)
        made: Any = home.pool.from_thread.executor()
        map_as_told = made.map

        def map_in_time(*args: Any, timeout: float | None = None, **options: Any) -> Any:
            return map_as_told(*args, timeout=None if timeout is None else timeout * SHARE, **options)

        made.map = map_in_time
        return made


class Futures(TestCase):
    """Have upstream's tests of futures make a job's future, where they make one of concurrent.futures."""

    def setUp(self) -> None:
        super().setUp()
        self.home = Home()
        crossing = Crossing("pool", self.home.loop)

        class Future(JobFuture[Any]):
            def __init__(self) -> None:
                super().__init__(crossing)

        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(future, "Future", Future)
        self.patch.setattr(util, "Future", Future)
        log = logging.getLogger("concurrent.futures")
        self.patch.setattr(log, "handlers", [logging.lastResort])  # as where nobody has set up logging

    def tearDown(self) -> None:
        self.patch.undo()
        self.home.close()
        super().tearDown()


def names_in(kind: type) -> set[str]:
    """Return the names of the tests that a class has."""
    return {name for name in dir(kind) if name.startswith("test_") and getattr(kind, name) is not None}


def adapted(name: str, *kinds: type) -> type:
    """Make a class of upstream's tests of those that apply."""
    adapted = type(name, kinds, {"__module__": __name__})
    for test in names_in(adapted) & set(LEFT_OUT):
        setattr(adapted, test, None)
    return adapted


TestThreadPool = adapted("TestThreadPool", Facade, thread_pool.ThreadPoolExecutorTest)
TestShutdown = adapted("TestShutdown", Facade, shutdown.ThreadPoolShutdownTest)
TestAsCompleted = adapted("TestAsCompleted", Facade, as_completed.ThreadPoolAsCompletedTest)
TestWait = adapted("TestWait", Facade, wait.ThreadPoolWaitTests)
TestFutures = adapted("TestFutures", Futures, future.FutureTests)


def test_each_upstream_test_is_run_or_left_out_for_a_reason() -> None:
    run = {TestThreadPool, TestShutdown, TestAsCompleted, TestWait, TestFutures}
    upstream = {
        kind
        for module in (executor, as_completed, wait, shutdown, thread_pool, future)
        for name, kind in vars(module).items()
        if isinstance(kind, type) and name.endswith(("Test", "Tests")) and not name.startswith("Process")
    }
    assert {kind.__name__ for kind in upstream} == {
        *("ExecutorTest", "ThreadPoolExecutorTest", "AsCompletedTests", "ThreadPoolAsCompletedTest", "WaitTests"),
        *("ThreadPoolWaitTests", "ExecutorShutdownTest", "ThreadPoolShutdownTest", "FutureTests"),
    }
    tests = set().union(*map(names_in, upstream))
    assert tests - set().union(*map(names_in, run)) == set(LEFT_OUT)
    assert sum(len(names_in(kind)) for kind in run) >= 48
    assert len(LEFT_OUT) == 15
