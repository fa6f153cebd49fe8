"""`wait_closed` waits for the end of a pool, and does nothing to bring it about (R15)."""

from __future__ import annotations

import asyncio

import pytest

from tests.support import Gate, echo, turns
from weirpool import PoolState, WorkerPool


async def test_it_waits_until_somebody_has_closed_the_pool() -> None:
    gate = Gate()
    async with WorkerPool() as pool:
        await pool.submit(gate)
        waiting = [asyncio.create_task(pool.wait_closed()) for _ in range(2)]
        closing = asyncio.create_task(pool.aclose())
        await turns()
        assert pool.state is PoolState.DRAINING
        assert not any(task.done() for task in waiting)
        gate.open()
        await asyncio.gather(*waiting)
        assert pool.report is not None
        assert await closing is pool.report
        await pool.wait_closed()


async def test_cancelling_it_touches_nothing() -> None:
    gate = Gate()
    async with WorkerPool() as pool:
        handle = await pool.submit(gate, 7)
        for close in (False, True):
            if close:
                closing = asyncio.create_task(pool.aclose())
            waiting = asyncio.create_task(pool.wait_closed())
            await turns()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        gate.open()
        assert await handle == 7
        assert (await closing).succeeded == 1


async def test_a_pool_that_was_closed_without_being_entered_is_closed() -> None:
    pool = WorkerPool(name="a")
    with pytest.raises(RuntimeError, match=r"wait_closed\(\) needs a pool that was entered"):
        await pool.wait_closed()
    await pool.aclose()
    await pool.wait_closed()


async def test_a_job_may_wait_for_the_end_of_another_pool_and_not_for_that_of_its_own() -> None:
    async with WorkerPool(name="a") as a, WorkerPool(name="b") as b:
        waiting = await a.submit(b.wait_closed)
        await turns()
        with pytest.raises(RuntimeError, match=r"wait_closed\(\) was called from a job of <WorkerPool 'a' .*, and would wait"):
            await a.run(a.wait_closed)
        assert await b.run(echo, 1) == 1
        assert a.stats().running == 1
        await b.aclose()
        await waiting
        assert waiting.done()
