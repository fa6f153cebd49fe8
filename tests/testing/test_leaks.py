"""`no_pool_leaks` and `no_unseen_failures` fail a block of code that leaves something behind, in any test framework."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from tests.support import echo, fail
from weirpool import WorkerPool
from weirpool.testing import DeterministicLoop, PoolsLeaked, UnseenFailures, no_pool_leaks, no_unseen_failures

METHODS = (WorkerPool.__aenter__, WorkerPool.aclose)


async def test_a_pool_that_is_closed_is_no_leak_and_the_methods_are_as_before() -> None:
    with no_pool_leaks():
        async with WorkerPool() as pool:
            assert await pool.run(echo, 1) == 1
        assert await pool.aclose() is pool.report
        WorkerPool()  # never entered: there is nothing to close
    assert (WorkerPool.__aenter__, WorkerPool.aclose) == METHODS


@pytest.mark.complains
async def test_a_pool_that_is_open_is_a_leak_also_where_its_loop_runs() -> None:
    pool = WorkerPool(name="open")
    with (
        pytest.raises(
            PoolsLeaked, match=r"pool 'open', opened at .*test_leaks.py:.*is open: 1 running(?s:.*)running: sleep#1"
        ),
        no_pool_leaks(),
    ):
        async with pool:
            with pytest.raises(PoolsLeaked, match="pool 'inner'"), no_pool_leaks():
                inner = await WorkerPool(name="inner").__aenter__()
            await inner.aclose()
        pool = await WorkerPool(name="open").__aenter__()
        await pool.submit(asyncio.sleep, 10)
        await asyncio.sleep(0)
    await pool.aclose(timeout=0.01)
    assert (WorkerPool.__aenter__, WorkerPool.aclose) == METHODS


async def test_a_pool_that_was_open_before_is_not_its_concern() -> None:
    pool = await WorkerPool().__aenter__()
    with no_pool_leaks():
        await pool.run(echo, 1)
    with no_pool_leaks():
        await pool.aclose()


def test_a_pool_that_is_dropped_is_a_leak_even_so_and_is_closed() -> None:
    async def main() -> None:
        await WorkerPool(name="dropped").__aenter__()

    with asyncio.Runner() as runner:
        with pytest.raises(PoolsLeaked, match="pool 'dropped', opened at "), no_pool_leaks():
            runner.run(main())
        assert not asyncio.all_tasks(runner.get_loop())


async def test_if_the_block_raises_that_is_all() -> None:
    async def main() -> None:
        with no_pool_leaks(), no_unseen_failures():
            main.pool = await WorkerPool().__aenter__()  # type: ignore[attr-defined]
            await main.pool.submit(fail, ValueError())  # type: ignore[attr-defined]
            raise KeyError("of the test")

    with pytest.raises(KeyError, match="of the test"):
        await main()
    pool: Any = main.pool  # type: ignore[attr-defined]
    handles = pool.running()
    await handles[0].handle.wait()
    assert handles[0].handle.exception()
    await pool.aclose()


async def test_a_pool_that_could_not_be_opened_or_refused_to_close_is_treated_as_it_is() -> None:
    pool = WorkerPool()

    async def closes() -> None:
        with pytest.raises(RuntimeError, match="aclose\\(\\) was called from a job"):
            await pool.aclose()

    with no_pool_leaks():
        await pool.aclose()
        with pytest.raises(RuntimeError, match="used once"):
            await pool.__aenter__()
    with pytest.raises(PoolsLeaked), no_pool_leaks():
        pool = await WorkerPool().__aenter__()
        await pool.run(closes)
    await pool.aclose()


@pytest.mark.complains
def test_what_was_left_open_on_a_loop_that_stands_still_is_closed() -> None:
    with asyncio.Runner(loop_factory=DeterministicLoop) as runner:
        with pytest.raises(PoolsLeaked), no_pool_leaks():
            pool = runner.run(WorkerPool().__aenter__())
            pool = runner.run(_submitted(pool))
        assert pool.report is not None
        assert pool.report.cancelled == 1


@pytest.mark.complains
def test_a_loop_that_can_not_go_on_does_no_harm() -> None:
    class Broken(DeterministicLoop):
        def run_until_complete(self, future: Any) -> Any:
            if getattr(future, "__name__", "") == "aclose":
                future.close()
                raise RuntimeError("out of order")
            return super().run_until_complete(future)

    with asyncio.Runner(loop_factory=Broken) as runner:
        with pytest.raises(PoolsLeaked, match="1 running"), no_pool_leaks():
            pool = runner.run(_submitted(WorkerPool()))
        assert pool.report is None
        runner.run(pool.aclose(timeout=0.1))


async def _submitted(pool: WorkerPool) -> WorkerPool:
    if pool.stats().state.value == "new":
        await pool.__aenter__()
    await pool.submit(asyncio.sleep, 3600)
    return pool


async def test_a_failure_that_somebody_has_asked_about_is_none_that_is_lost() -> None:
    with no_unseen_failures():
        async with WorkerPool() as pool:
            with pytest.raises(ValueError):
                await pool.run(fail, ValueError())
            assert await pool.run(echo, 1) == 1


@pytest.mark.complains
async def test_what_else_the_pool_logs_is_no_failure_that_is_lost() -> None:
    with no_unseen_failures():
        logging.getLogger("weirpool.job").error("something else")


@pytest.mark.complains
async def test_a_failure_that_is_lost_is_shown_with_its_traceback() -> None:
    shown = r"job 'lost' of pool 'pool' failed and nobody asked why:\n(?s:.*)ValueError: why"
    with pytest.raises(UnseenFailures, match=shown), no_unseen_failures():
        async with WorkerPool() as pool:
            await pool.submit(fail, ValueError("why"), name="lost")
