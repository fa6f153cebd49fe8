"""R10: closing shuts the intake before anything is awaited: nobody is accepted any more, and nobody is half-accepted."""

from __future__ import annotations

import asyncio
import types
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import LOOP
from tests.support import FOREVER, Clock, Gate, adds_up, balanced, echo, refusals, sleep, turns
from weirpool import JobHandle, JobState, PoolClosed, PoolState, WorkerPool
from weirpool.events import Observer, PoolMoved

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator


@types.coroutine
def looking_after_the_first_step(coroutine: Coroutine[Any, Any, Any], look: Callable[[], None]) -> Generator[Any, Any, Any]:
    """Await a coroutine, and look at the moment when it first gives way to the loop."""
    steps = coroutine.__await__()
    waited_for = next(steps)
    look()
    yield waited_for
    return (yield from steps)


async def test_aclose_closes_the_intake_before_its_first_await() -> None:
    gate = Gate()
    seen = []

    def look() -> None:
        seen.append(pool.state)
        with pytest.raises(PoolClosed):
            pool.submit_nowait(echo, 1)
        gate.open()

    async with WorkerPool() as pool:
        await pool.submit(gate)
        await turns()
        await looking_after_the_first_step(pool.aclose(), look)
    assert seen == [PoolState.DRAINING]


async def test_leaving_the_block_closes_the_intake_before_its_first_await() -> None:
    gate = Gate()
    seen = []

    def look() -> None:
        seen.append(pool.state)
        gate.open()

    pool = WorkerPool()
    await pool.__aenter__()
    await pool.submit(gate)
    await turns()
    await looking_after_the_first_step(pool.__aexit__(None, None, None), look)
    assert seen == [PoolState.DRAINING]
    assert pool.state is PoolState.CLOSED


async def test_whoever_submits_while_the_pool_drains_gets_pool_closed() -> None:
    gate = Gate()
    async with WorkerPool(name="webhooks", max_workers=1) as pool:
        await pool.submit(gate)
        closing = asyncio.create_task(pool.aclose())
        await turns()
        before = pool.stats()
        with pytest.raises(PoolClosed, match="'webhooks' takes no more jobs") as late:
            await pool.submit(echo, 1)
        with pytest.raises(PoolClosed):
            pool.submit_nowait(echo, 1)
        with pytest.raises(PoolClosed):
            await pool.run(echo, 1)
        after = pool.stats()
        gate.open()
        await closing
    assert late.value.pool == "webhooks"
    assert after.accepted == before.accepted == 1
    assert after.refused["closed"] == 3


async def test_whoever_submits_after_the_pool_is_closed_gets_pool_closed() -> None:
    async with WorkerPool() as pool:
        pass
    with pytest.raises(PoolClosed):
        await pool.submit(echo, 1)
    with pytest.raises(PoolClosed):
        pool.submit_nowait(echo, 1)
    with pytest.raises(PoolClosed):
        await pool.run(echo, 1)
    assert pool.stats().refused["closed"] == 3
    assert pool.stats().accepted == 0


async def test_a_submit_that_was_called_before_but_awaited_after_gets_pool_closed() -> None:
    async with WorkerPool() as pool:
        submitting = pool.submit(echo, 1)
        pool.close_intake()
        with pytest.raises(PoolClosed):
            await submitting
    assert pool.stats().accepted == 0


@pytest.mark.parametrize("patience", [None, FOREVER])
async def test_every_submitter_that_waits_gets_pool_closed_at_once(clock: Clock, patience: float | None) -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=1, submit_timeout=patience) as pool:
        accepted = [await pool.submit(gate, i) for i in range(2)]
        waiting = [asyncio.create_task(pool.submit(echo, i)) for i in range(5)]
        await turns()
        assert pool.stats().waiting == 5
        clock.start()
        closing = asyncio.create_task(pool.aclose())
        refused = await asyncio.gather(*waiting, return_exceptions=True)
        assert clock.shows(0)
        assert [type(error) for error in refused] == [PoolClosed] * 5
        stats = pool.stats()
        assert (stats.accepted, stats.waiting, stats.refused["closed"]) == (2, 0, 5)
        assert balanced(pool)
        gate.open()
        await closing
    assert [await handle for handle in accepted] == [0, 1]


async def test_those_who_wait_are_turned_away_even_if_a_queued_job_leaves_afterwards() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=1) as pool:
        await pool.submit(gate)
        queued = await pool.submit(echo, 1)
        waiting = asyncio.create_task(pool.submit(echo, 2))
        await turns()
        pool.close_intake()
        queued.cancel()
        with pytest.raises(PoolClosed):
            await waiting
        gate.open()
    assert adds_up(pool.report)
    assert pool.stats().accepted == 2


async def test_a_submitter_is_either_accepted_or_turned_away_at_whatever_moment_the_intake_closes() -> None:
    # The moment wanders over the turn in which room is handed to the submitter, and the one in which it wakes with it.
    outcomes = set()
    for moment in range(10):
        gate = Gate()
        async with WorkerPool(max_workers=1, queue_size=0) as pool:
            await pool.submit(gate)
            waiting = asyncio.create_task(pool.submit(echo, 2))
            await turns()
            gate.open()
            await turns(moment)
            pool.close_intake()
            accepted = pool.stats().accepted
            assert balanced(pool)
            await asyncio.wait([waiting])
            outcome = None if waiting.cancelled() else waiting.exception() or waiting.result()
            assert pool.stats().accepted == accepted, "nobody is accepted once the intake is closed"
            assert pool.stats().waiting == 0
            if isinstance(outcome, JobHandle):
                assert accepted == 2
                assert await outcome == 2
            else:
                assert type(outcome) is PoolClosed
                assert accepted == 1
                assert pool.stats().refused["closed"] == 1
            outcomes.add(JobHandle if isinstance(outcome, JobHandle) else type(outcome))
        assert adds_up(pool.report)
    assert outcomes == {JobHandle, PoolClosed}


async def test_a_submitter_that_is_cancelled_while_the_intake_closes_is_cancelled_and_leaves_no_trace() -> None:
    for moment in range(6):
        gate = Gate()
        async with WorkerPool(max_workers=1, queue_size=0) as pool:
            await pool.submit(gate)
            waiting = asyncio.create_task(pool.submit(echo, 2))
            await turns()
            if moment >= 3:
                gate.open()
                await turns(moment - 3)
            waiting.cancel()
            pool.close_intake()
            await asyncio.wait([waiting])
            outcome = None if waiting.cancelled() else waiting.exception() or waiting.result()
            gate.open()
            stats = pool.stats()
            assert stats.waiting == 0
            assert balanced(pool)
            if isinstance(outcome, JobHandle):
                assert stats.accepted == 2
            else:
                assert outcome is None
                assert stats.accepted == 1
                assert stats.refused == refusals(cancelled=1)
        assert adds_up(pool.report)


async def test_closing_while_submitters_hammer_a_full_queue_leaves_each_with_a_handle_or_pool_closed() -> None:
    for moment in range(1, 25, 3):
        handles: list[JobHandle[Any]] = []
        turned_away = 0

        async def hammer(pool: WorkerPool) -> None:
            nonlocal turned_away
            try:
                while True:
                    handles.append(await pool.submit(echo, len(handles)))  # noqa: B023
            except PoolClosed:
                turned_away += 1

        async with WorkerPool(max_workers=2, queue_size=2, submit_timeout=None) as pool:
            hammers = [asyncio.create_task(hammer(pool)) for _ in range(4)]
            await turns(moment)
            report = await pool.aclose()
            await asyncio.gather(*hammers)
        assert turned_away == 4
        assert report.accepted == report.succeeded == len(handles) == pool.stats().accepted
        assert all(handle.state is JobState.SUCCEEDED for handle in handles)


async def test_a_job_that_runs_while_its_pool_drains_cannot_submit_to_it() -> None:
    gate = Gate()

    async def submit_more() -> str:
        await gate()
        with pytest.raises(PoolClosed):
            await pool.submit(echo, 1)
        with pytest.raises(PoolClosed):
            pool.submit_nowait(echo, 1)
        return "refused"

    async with WorkerPool() as pool:
        handle = await pool.submit(submit_more)
        closing = asyncio.create_task(pool.aclose())
        await turns()
        gate.open()
        report = await closing
    assert await handle == "refused"
    assert report.accepted == 1


async def test_close_intake_turns_submitters_away_and_lets_what_was_accepted_go_on() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=1) as pool:
        running = await pool.submit(gate, "running")
        queued = await pool.submit(gate, "queued")
        waiting = asyncio.create_task(pool.submit(echo, 1))
        await turns()
        pool.close_intake()
        states = [pool.state]
        with pytest.raises(PoolClosed):
            await waiting
        with pytest.raises(PoolClosed):
            pool.submit_nowait(echo, 1)
        gate.open()
        assert await running == "running"
        assert await queued == "queued"
        await turns()
        states.append(pool.state)
        reports = [pool.report]
    reports.append(pool.report)
    states.append(pool.state)
    assert states == [PoolState.DRAINING, PoolState.DRAINING, PoolState.CLOSED]
    assert reports[0] is None, "only aclose() closes a pool"
    assert reports[1] is not None
    assert reports[1].drained == 2


async def test_close_intake_sets_no_limit_to_what_was_accepted(clock: Clock) -> None:
    async with WorkerPool(shutdown_timeout=0.1, cancel_grace=0.05) as pool:
        handle = await pool.submit(sleep, 0.4, "slow")
        clock.start()
        pool.close_intake()
        assert await handle == "slow"
        assert clock.shows(0.4)


async def test_close_intake_may_be_called_by_a_job_and_more_than_once() -> None:
    async def last_one() -> str:
        pool.close_intake()
        pool.close_intake()
        await asyncio.sleep(0.01)
        return "done"

    async with WorkerPool() as pool:
        assert await pool.run(last_one) == "done"
        with pytest.raises(PoolClosed):
            await pool.submit(echo, 1)
        pool.close_intake()
    pool.close_intake()
    assert pool.state is PoolState.CLOSED


async def test_intake_closed_by_an_observer_in_the_moment_of_opening_leaves_a_pool_that_opens_and_closes() -> None:
    class Hasty(Observer):
        def pool_moved(self, event: PoolMoved) -> None:
            if event.now is PoolState.OPEN:
                pool.close_intake()

    pool = WorkerPool(observers=[Hasty()])
    async with pool:
        with pytest.raises(PoolClosed):
            pool.submit_nowait(echo, 1)
    assert pool.state is PoolState.CLOSED


async def test_a_pool_that_was_closed_without_being_entered_takes_no_jobs() -> None:
    pool = WorkerPool()
    await pool.aclose()
    with pytest.raises(PoolClosed):
        pool.submit_nowait(echo, 1)
    with pytest.raises(PoolClosed):
        await pool.submit(echo, 1)
    pool.close_intake()  # it is closed
    assert pool.stats().refused["closed"] == 2


@pytest.mark.skipif(LOOP == "eager", reason="with eager tasks a pool is open at once")
async def test_the_intake_of_a_pool_that_is_still_being_opened_can_not_be_closed_and_says_so() -> None:
    pool = WorkerPool(name="webhooks")
    opening = asyncio.create_task(pool.__aenter__())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="pool 'webhooks' is still being opened: await its __aenter__"):
        pool.close_intake()
    await opening
    assert await pool.run(echo, 1) == 1
    pool.close_intake()
    await pool.aclose()


@pytest.mark.skipif(LOOP == "eager", reason="with eager tasks a pool is open at once")
async def test_closing_the_intake_of_a_pool_that_is_closed_while_it_is_being_opened_changes_nothing() -> None:
    pool = WorkerPool()
    opening = asyncio.create_task(pool.__aenter__())
    await asyncio.sleep(0)
    closing = asyncio.create_task(pool.aclose())
    await looking_after_the_first_step(pool.aclose(), pool.close_intake)
    assert adds_up(await closing)
    with pytest.raises(RuntimeError, match="before it was open"):
        await opening
