"""The plugin for pytest fails what leaks and nothing else, with each way to run async tests: pytest in pytest."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pytest

import weirpool.testing  # noqa: F401  # here, as what the inner pytest imports first is forgotten after it
from weirpool import WorkerPool

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.complains, pytest.mark.realtime]

PLUGIN = 'pytest_plugins = ["weirpool.testing.pytest_plugin"]\n'
CHECKED = "weirpool_no_pool_leaks = true\nweirpool_no_unseen_failures = true\n"
ASYNCIO = ("-p", "no:anyio")
ANYIO = ("-p", "no:asyncio", "-p", "no:looptime_plugin", "-p", "no:looptime_chronometers", "-p", "no:looptime_timeproxies")
MODE = "asyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
START = """
import asyncio, contextlib, unittest
import pytest
from weirpool import JobTimeout, WorkerPool

async def opened(name):
    return await WorkerPool(name=name).__aenter__()

async def stubborn(swallows):
    for _ in range(swallows):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(10)

async def boom():
    raise ValueError("boom")
"""


class Reports:
    """What became of the tests: of each that failed, the text."""

    def __init__(self) -> None:
        self.passed: list[str] = []
        self.failed: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        test = report.nodeid.rpartition("::")[2]
        if report.failed:
            self.failed[test] = f"{report.when}: {report.longreprtext}"
        elif report.when == "call":
            self.passed.append(test)


@pytest.fixture(autouse=True)
def unchanged() -> Iterator[None]:
    before = (WorkerPool.__aenter__, WorkerPool.aclose)
    yield
    assert (WorkerPool.__aenter__, WorkerPool.aclose) == before


def outcome(pytester: pytest.Pytester, code: str, *options: str, ini: str = CHECKED, start: str = START) -> Reports:
    """Run tests, with warnings as errors."""
    if "no:asyncio" not in options:
        ini += MODE
    pytester.makefile(".ini", pytest=f"[pytest]\nfilterwarnings = error\n{ini}")
    pytester.makeconftest(PLUGIN)
    pytester.makepyfile(start + textwrap.dedent(code))
    reports = Reports()
    pytester.inline_run("-q", "--strict-markers", "--strict-config", "-p", "no:cacheprovider", *options, plugins=[reports])
    return reports


def test_a_test_fails_that_leaves_a_pool_open_and_its_jobs_are_named_with_the_line_where_they_are(
    pytester: pytest.Pytester,
) -> None:
    reports = outcome(
        pytester,
        """
        async def test_leaks():
            pool = await WorkerPool(name="forgotten", max_workers=1).__aenter__()
            await pool.submit(stubborn, 1)
            await pool.submit(asyncio.sleep, 1)
            await asyncio.sleep(0)

        @pytest.mark.asyncio(loop_scope="module")
        async def test_leaks_on_a_loop_that_goes_on():
            pool = await WorkerPool(name="forgotten", max_workers=1).__aenter__()
            for _ in range(12):
                pool.submit_nowait(asyncio.sleep, 10)

        @pytest.mark.asyncio(loop_scope="module")
        async def test_that_comes_after_it_is_alone():
            assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]

        async def test_only_closes_the_intake():
            (await opened("half")).close_intake()

        async def test_still_closes():
            pool = await opened("slow")
            await pool.submit(asyncio.sleep, 10)
            test_still_closes.task = asyncio.create_task(pool.aclose())
            await asyncio.sleep(0)
        """,
        *ASYNCIO,
    )
    assert sorted(reports.failed) == ["test_leaks", "test_leaks_on_a_loop_that_goes_on", "test_only_closes_the_intake"]
    assert len(reports.passed) == 5
    text = reports.failed["test_leaks"]
    assert text.startswith("teardown: pool 'forgotten', opened at ")
    assert "in test_leaks, was never closed" in text
    assert "until its event loop ended: pool 'forgotten' closed: 2 accepted = " in text
    assert "running: stubborn#1 (running for " in text
    assert "in stubborn: await asyncio.sleep(10)" in text
    assert "async with WorkerPool(...) as pool" in text
    text = reports.failed["test_leaks_on_a_loop_that_goes_on"]
    assert "was never closed, and is open: 1 running, 11 queued, 0 waiting for room, 0 abandoned\n  running: sleep#1" in text
    assert "was never closed" in reports.failed["test_only_closes_the_intake"]


def test_a_fixture_of_the_test_may_open_a_pool_and_has_to_close_it(pytester: pytest.Pytester) -> None:
    reports = outcome(
        pytester,
        """
        @pytest.fixture
        async def pool():
            async with WorkerPool() as pool:
                yield pool

        @pytest.fixture
        async def entered_by_a_stack():
            async with contextlib.AsyncExitStack() as stack:
                yield await stack.enter_async_context(WorkerPool())

        @pytest.fixture
        async def closed_by_hand():
            pool = await opened("by hand")
            yield pool
            await pool.aclose()

        @pytest.fixture
        async def leaky():
            return await opened("leaky")

        @pytest.fixture(autouse=True)
        async def for_all():
            async with WorkerPool() as pool:
                yield pool

        async def test_clean(pool, entered_by_a_stack, closed_by_hand):
            await pool.run(asyncio.sleep, 0)

        async def test_leaky(leaky):
            pass

        async def test_opened_in_a_stack():
            stack = test_opened_in_a_stack.stack = contextlib.AsyncExitStack()
            await stack.enter_async_context(WorkerPool(name="in a stack"))

        async def test_opened_in_a_task():
            await asyncio.create_task(WorkerPool(name="in a task").__aenter__())
        """,
        *ASYNCIO,
    )
    assert sorted(reports.failed) == ["test_leaky", "test_opened_in_a_stack", "test_opened_in_a_task"]
    assert "in opened, was never closed" in reports.failed["test_leaky"]
    assert "in test_opened_in_a_stack, was never closed" in reports.failed["test_opened_in_a_stack"]
    assert "pool 'in a task' was never closed" in reports.failed["test_opened_in_a_task"]


def test_a_pool_of_a_wider_fixture_is_not_the_tests_but_has_to_be_closed_by_the_end(pytester: pytest.Pytester) -> None:
    reports = outcome(
        pytester,
        """
        import pytest_asyncio

        @pytest_asyncio.fixture(scope="module", loop_scope="session")
        async def of_the_module():
            async with WorkerPool() as pool:
                yield pool

        @pytest_asyncio.fixture(scope="session", loop_scope="session")
        async def never_closed():
            return await opened("of the session")

        @pytest.mark.asyncio(loop_scope="session")
        async def test_one(of_the_module):
            await of_the_module.run(asyncio.sleep, 0)

        @pytest.mark.asyncio(loop_scope="session")
        async def test_two(of_the_module):
            await of_the_module.run(asyncio.sleep, 0)

        def test_three(request):
            request.getfixturevalue("never_closed")

        def test_four(never_closed):
            pass
        """,
        *ASYNCIO,
    )
    assert list(reports.failed) == ["test_four"]
    assert "pool 'of the session'" in reports.failed["test_four"]
    assert reports.failed["test_four"].count("never closed") == 1


def test_a_job_that_is_abandoned_and_still_runs_fails_the_test(pytester: pytest.Pytester) -> None:
    reports = outcome(
        pytester,
        """
        def make():
            return WorkerPool(shutdown_timeout=0.02, cancel_grace=0.01)

        async def test_stray():
            async with make() as pool:
                await pool.submit(stubborn, 2)

        @pytest.fixture
        async def pool():
            async with make() as pool:
                yield pool

        async def test_stray_of_a_fixture(pool):
            await pool.submit(stubborn, 2)

        def test_stray_of_a_loop_that_is_gone():
            async def main():
                async with make() as pool:
                    await pool.submit(stubborn, 2)
                    await asyncio.sleep(0)
            loop = asyncio.new_event_loop()
            with contextlib.closing(loop):
                loop.run_until_complete(main())
                tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task._log_destroy_pending = False

        async def test_abandoned_but_ended():
            async with make() as pool:
                await pool.submit(stubborn, 2)
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
                await asyncio.wait([task])

        def test_abandoned_and_ended_with_its_loop():
            async def main():
                async with make() as pool:
                    await pool.submit(stubborn, 2)
            asyncio.run(main())
        """,
        *ASYNCIO,
    )
    assert sorted(reports.failed) == ["test_stray", "test_stray_of_a_fixture", "test_stray_of_a_loop_that_is_gone"]
    for text in reports.failed.values():
        assert "was closed, but jobs that it has abandoned still run:\n  abandoned: stubborn#1 (running for " in text
        assert ", shutdown) at " in text
        assert "in stubborn: await asyncio.sleep(10)" in text


def test_tests_without_a_plugin_are_checked_which_run_a_loop_of_their_own(pytester: pytest.Pytester) -> None:
    reports = outcome(
        pytester,
        """
        def test_clean():
            async def main():
                async with WorkerPool() as pool:
                    await pool.run(asyncio.sleep, 0)
            asyncio.run(main())

        def test_leaks():
            async def main():
                pool = await opened("run")
                await pool.submit(asyncio.sleep, 10)
            asyncio.run(main())

        class TestCase(unittest.IsolatedAsyncioTestCase):
            async def asyncSetUp(self):
                self.pool = await self.enterAsyncContext(WorkerPool())

            async def test_clean_case(self):
                await self.pool.run(asyncio.sleep, 0)

            async def test_leaking_case(self):
                await opened("case")

        @pytest.fixture(scope="module")
        def elsewhere():
            import threading
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=loop.run_forever)
            thread.start()
            pools = []
            yield lambda pool: pools.append(asyncio.run_coroutine_threadsafe(pool, loop).result())
            asyncio.run_coroutine_threadsafe(pools[0].aclose(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

        def test_leaves_one_open_in_another_thread(elsewhere):
            elsewhere(opened("thread"))
        """,
        *ASYNCIO,
    )
    assert sorted(reports.failed) == ["test_leaking_case", "test_leaks", "test_leaves_one_open_in_another_thread"]
    assert "pool 'run', opened at " in reports.failed["test_leaks"]
    assert "until its event loop ended: pool 'run' closed: 1 accepted" in reports.failed["test_leaks"]
    assert "pool 'case'" in reports.failed["test_leaking_case"]
    assert "and is open" in reports.failed["test_leaves_one_open_in_another_thread"]


def test_it_works_with_anyios_plugin(pytester: pytest.Pytester) -> None:
    reports = outcome(
        pytester,
        """
        pytestmark = pytest.mark.anyio

        @pytest.fixture(scope="module")
        def anyio_backend():
            return "asyncio"

        @pytest.fixture
        async def pool(anyio_backend):
            async with WorkerPool() as pool:
                yield pool

        @pytest.fixture(scope="module")
        async def of_the_module(anyio_backend):
            async with WorkerPool() as pool:
                yield pool

        @pytest.fixture
        async def leaky(anyio_backend):
            yield await opened("leaky")

        async def test_clean(pool, of_the_module):
            assert await pool.run(asyncio.sleep, 0, 5) == await of_the_module.run(asyncio.sleep, 0, 5)

        async def test_leaky(leaky):
            await leaky.submit(asyncio.sleep, 10)
            await asyncio.sleep(0)

        async def test_leaks():
            await opened("forgotten")

        async def test_stray():
            async with WorkerPool(shutdown_timeout=0.02, cancel_grace=0.01) as pool:
                await pool.submit(stubborn, 2)
                await asyncio.sleep(0)

        async def test_loses_a_failure(pool):
            await pool.submit(boom)
        """,
        *ANYIO,
    )
    assert sorted(reports.failed) == ["test_leaks", "test_leaky", "test_loses_a_failure", "test_stray"]
    assert "1 running, 0 queued" in reports.failed["test_leaky"]
    assert "pool 'forgotten'" in reports.failed["test_leaks"]
    assert "abandoned: stubborn#1" in reports.failed["test_stray"]


def test_a_test_fails_in_which_a_job_fails_and_nobody_asks_why(pytester: pytest.Pytester) -> None:
    reports = outcome(
        pytester,
        """
        @pytest.fixture
        async def pool():
            async with WorkerPool() as pool:
                yield pool

        async def test_loses_a_failure(pool):
            await pool.submit(boom)

        async def test_loses_a_timeout_in_a_cycle(pool):
            cycle = [await pool.submit(asyncio.sleep, 10, timeout=0.001)]
            cycle.append(cycle)
            await cycle[0].wait()

        async def test_looks_at_it(pool):
            with pytest.raises(ValueError):
                await pool.run(boom)
            handle = await pool.submit(boom)
            await handle.wait()
            assert handle.exception()

        @pytest.mark.allow_unseen_failures
        async def test_may_lose_it(pool):
            await pool.submit(boom)
        """,
        *ASYNCIO,
    )
    assert sorted(reports.failed) == ["test_loses_a_failure", "test_loses_a_timeout_in_a_cycle"]
    text = reports.failed["test_loses_a_failure"]
    assert "job 'boom#1' of pool 'pool' failed and nobody asked why:\nTraceback " in text
    assert 'raise ValueError("boom")' in text
    assert text.count("ValueError: boom") == 1


def test_without_the_settings_only_tests_that_ask_for_the_fixtures_are_checked(pytester: pytest.Pytester) -> None:
    reports = outcome(
        pytester,
        """
        @pytest.fixture
        async def leaky(request):
            request.module.pool = await opened("leaky")  # so that it ends with its loop
            await request.module.pool.submit(boom)

        async def test_not_checked(leaky):
            pass

        @pytest.mark.usefixtures("no_pool_leaks")
        async def test_checked(leaky):
            pass

        async def test_checked_by_name(no_unseen_failures, leaky):
            pass
        """,
        *ASYNCIO,
        ini="",
    )
    assert sorted(reports.failed) == ["test_checked", "test_checked_by_name"]


def test_a_test_that_is_marked_may_leak_and_nobody_is_told_later(pytester: pytest.Pytester) -> None:
    reports = outcome(
        pytester,
        """
        import pytest_asyncio

        @pytest_asyncio.fixture(scope="module", loop_scope="module")
        async def wide():
            async with WorkerPool() as pool:
                yield pool

        @pytest.mark.allow_pool_leaks
        async def test_may_leak(wide, no_pool_leaks):
            await opened("allowed")

        @pytest.mark.allow_pool_leaks
        def test_may_leak_by_itself():
            asyncio.run(opened("allowed"))
        """,
        *ASYNCIO,
    )
    assert reports.failed == {}
    assert len(reports.passed) == 2
