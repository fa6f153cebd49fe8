"""R20: the number of workers changes without interrupting a job, a pool can be held and let go, and says when it is idle."""

from __future__ import annotations

import asyncio
import gc
import math
import random
from typing import Any

import pytest

from tests.support import FOREVER, Clock, Gate, Stubborn, balanced, echo, refusals, sleep, turns
from weirpool import JobCancelled, JobState, PoolClosed, PoolOverloaded, PoolState, WorkerPool
from weirpool.events import Observer, PoolResized

# Resizing -----------------------------------------------------------------------------------------------------------------


async def test_a_larger_pool_starts_what_waits_at_once() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1) as pool:
        for _ in range(5):
            await pool.submit(gate)
        await pool.resize(max_workers=3)
        await turns()
        assert (gate.inside, pool.stats().running, pool.stats().queued) == (3, 3, 2)
        assert (pool.stats().min_workers, pool.stats().workers, pool.stats().max_workers) == (3, 3, 3)
        gate.open()


async def test_a_smaller_pool_interrupts_nobody_and_starts_nobody_until_there_is_a_place() -> None:
    gates = [Gate() for _ in range(4)]
    async with WorkerPool(max_workers=3) as pool:
        handles = [await pool.submit(gate) for gate in gates]
        resizing = asyncio.create_task(pool.resize(max_workers=1))
        await turns()
        assert not resizing.done()
        assert (pool.stats().running, pool.stats().workers) == (3, 1)
        for gate in gates[:2]:
            assert (gates[3].inside, resizing.done()) == (0, False)
            gate.open()
            await turns()
        assert resizing.done()
        assert gates[3].inside == 0
        gates[2].open()
        await turns()
        assert gates[3].inside == 1
        gates[3].open()
        for handle in handles:
            await handle
        await resizing


async def test_resizing_lets_a_submitter_in_that_waits_for_room() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=0) as pool:
        await pool.submit(gate)
        waiting = asyncio.create_task(pool.submit(gate))
        await turns()
        assert not waiting.done()
        await pool.resize(max_workers=2)
        await turns()
        assert waiting.done()
        gate.open()


async def test_who_waits_for_a_smaller_pool_hears_when_a_paused_one_becomes_larger() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=3) as pool:
        for _ in range(3):
            await pool.submit(gate)
        pool.pause()
        smaller = asyncio.create_task(pool.resize(max_workers=1))
        await turns()
        assert not smaller.done()
        await pool.resize(max_workers=5)
        await turns()
        assert smaller.done()
        pool.resume()
        gate.open()


async def test_a_cancelled_resize_has_happened_all_the_same() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=2) as pool:
        for _ in range(2):
            await pool.submit(gate)
        resizing = asyncio.create_task(pool.resize(max_workers=1))
        await turns()
        resizing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await resizing
        assert pool.stats().workers == 1
        gate.open()


async def test_jobs_may_resize_their_own_pool_and_wait_for_that() -> None:
    async with WorkerPool(max_workers=3, queue_size=0) as pool:
        handles = [await pool.submit(lambda: pool.resize(max_workers=1)) for _ in range(3)]
        for handle in handles:
            await handle
        assert (pool.stats().workers, pool.stats().lending) == (1, 0)


async def test_observers_hear_of_each_change_and_why() -> None:
    class Ear(Observer):
        def pool_resized(self, event: PoolResized) -> None:
            heard.append((event.pool, event.was, event.now, event.reason))

    heard: list[tuple[str, int, int, str]] = []
    async with WorkerPool(max_workers=2, name="webhooks", observers=[Ear()]) as pool:
        await pool.resize(max_workers=5)
        await pool.resize(max_workers=5)
        await pool.resize(max_workers=1)
    assert heard == [("webhooks", 2, 5, "resize"), ("webhooks", 5, 1, "resize")]


async def test_an_observer_that_does_not_want_to_hear_of_changes_does_not() -> None:
    async with WorkerPool(max_workers=2, observers=[Observer()]) as pool:
        await pool.resize(max_workers=5)


async def test_what_an_observer_of_a_change_submits_does_not_get_a_place_that_is_gone() -> None:
    class Eager(Observer):
        def pool_resized(self, event: PoolResized) -> None:
            pool.submit_nowait(gate)

    gate = Gate()
    async with WorkerPool(max_workers=2, observers=[Eager()]) as pool:
        await pool.submit(gate)
        await pool.resize(max_workers=1)
        assert (pool.stats().running, pool.stats().queued) == (1, 1)
        gate.open()


async def test_a_resize_that_makes_no_sense_changes_nothing() -> None:
    async with WorkerPool(max_workers=3) as pool:
        with pytest.raises(TypeError, match="needs min_workers, max_workers or both"):
            await pool.resize()
        for bad in (0, -1, 1_000_001):
            with pytest.raises(ValueError, match="max_workers must be an int of at least 1"):
                await pool.resize(max_workers=bad)
        for worse in (2.0, True, "3", math.nan):
            with pytest.raises(TypeError, match="max_workers must be an int"):
                await pool.resize(max_workers=worse)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"min_workers must be max_workers \(3\) in a pool that was made with a fixed"):
            await pool.resize(min_workers=2)
        assert pool.stats().workers == 3


@pytest.mark.virtual
@pytest.mark.parametrize("seed", range(20))
async def test_random_changes_of_size_never_let_more_run_than_may_start_and_lose_no_job(seed: int) -> None:
    dice = random.Random(seed)
    running = 0
    async with WorkerPool(max_workers=4, queue_size=5, submit_timeout=None) as pool:

        async def job() -> None:
            nonlocal running
            running += 1
            await asyncio.sleep(dice.choice([0, 0.01, 0.02]))
            running -= 1

        async def submitter() -> None:
            for _ in range(20):
                handle = await pool.submit(job)
                if dice.random() < 0.2:
                    handle.cancel()

        async def steerer() -> None:
            for _ in range(30):
                before = running
                size = dice.randint(1, 8)
                await pool.resize(max_workers=size)
                assert pool.stats().running <= max(size, before)
                if dice.random() < 0.2:
                    pool.pause()
                    await asyncio.sleep(0.01)
                    pool.resume()
                assert balanced(pool)
                await asyncio.sleep(0.003)

        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(submitter())
            group.create_task(steerer())
        await pool.wait_idle()
        stats = pool.stats()
        assert stats.accepted == stats.succeeded + stats.cancelled == 80
        assert pool._crew.free == stats.workers


# Pausing ------------------------------------------------------------------------------------------------------------------


async def test_a_paused_pool_accepts_and_starts_nothing_and_what_runs_goes_on() -> None:
    gate, later = Gate(), Gate()
    async with WorkerPool(max_workers=2, queue_size=2) as pool:
        running = await pool.submit(gate)
        pool.pause()
        pool.pause()
        for _ in range(2):
            await pool.submit(later)
        with pytest.raises(PoolOverloaded):
            pool.submit_nowait(later)
        gate.open()
        await running
        await turns()
        assert (later.inside, pool.stats().queued, pool.stats().paused) == (0, 2, True)
        pool.resume()
        pool.resume()
        await turns()
        assert (later.inside, pool.stats().queued, pool.stats().paused) == (2, 0, False)
        later.open()


async def test_a_paused_pool_without_a_queue_accepts_nothing_until_it_goes_on() -> None:
    async with WorkerPool(max_workers=2, queue_size=0) as pool:
        pool.pause()
        waiting = asyncio.create_task(pool.submit(echo, 1))
        await turns()
        assert not waiting.done()
        pool.resume()
        assert await (await waiting) == 1


async def test_a_paused_pool_of_another_size_starts_nothing() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1) as pool:
        pool.pause()
        await pool.submit(gate)
        await pool.resize(max_workers=5)
        await turns()
        assert gate.inside == 0
        pool.resume()
        await turns()
        assert gate.inside == 1
        gate.open()


async def test_a_job_of_a_paused_pool_has_its_lent_place_back() -> None:
    gate = Gate()

    async def parent() -> int:
        await pool.run(gate)
        return 7

    async with WorkerPool(max_workers=1) as pool:
        job = await pool.submit(parent)
        await turns()
        pool.pause()
        gate.open()
        assert await job == 7


async def test_a_job_has_its_lent_place_back_when_a_paused_pool_gets_another() -> None:
    hold = Gate()
    children: list[Any] = []

    async def parent() -> str:
        pool.submit_nowait(hold)
        children.append(pool.submit_nowait(echo, 1))
        with pytest.raises(JobCancelled):
            await children[0]
        return "told"

    async with WorkerPool(max_workers=1) as pool:
        job = await pool.submit(parent)
        await turns()
        pool.pause()
        children[0].cancel()
        await turns()
        assert not job.done()
        await pool.resize(max_workers=2)
        assert await job == "told"
        hold.open()


async def test_a_paused_pool_that_is_dropped_runs_what_was_accepted_and_leaves_nothing() -> None:
    before = asyncio.all_tasks()
    pool = WorkerPool()
    await pool.__aenter__()
    pool.pause()
    job = await pool.submit(echo, 7)
    with pytest.warns(ResourceWarning, match="never closed"):  # noqa: PT031
        del pool
        gc.collect()
    assert await job == 7
    await turns()
    assert asyncio.all_tasks() == before


async def test_closing_a_paused_pool_runs_what_was_accepted(clock: Clock) -> None:
    async with WorkerPool(max_workers=1) as pool:
        pool.pause()
        handles = [await pool.submit(echo, n) for n in range(3)]
        clock.start()
    assert clock.passed < 1
    assert [handle.state for handle in handles] == [JobState.SUCCEEDED] * 3


@pytest.mark.complains
async def test_a_paused_pool_that_is_closed_at_once_starts_nothing_on_the_way() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, cancel_grace=1.0) as pool:
        pool.pause()
        handles = [await pool.submit(gate) for _ in range(3)]
        report = await pool.aclose(timeout=0.5)
    assert report.cancelled_queued == 3
    assert [handle.state for handle in handles] == [JobState.CANCELLED] * 3


async def test_a_pool_whose_intake_is_closed_can_go_on() -> None:
    async with WorkerPool(max_workers=1) as pool:
        pool.pause()
        handle = await pool.submit(echo, 1)
        pool.close_intake()
        pool.resume()
        assert await handle == 1


@pytest.mark.parametrize("steer", ["pause", "resume", "resize"])
async def test_a_pool_can_be_steered_only_while_it_is_open(steer: str) -> None:
    async def call() -> None:
        if steer == "resize":
            await pool.resize(max_workers=2)
        else:
            getattr(pool, steer)()

    pool = WorkerPool()
    with pytest.raises(RuntimeError, match=f"WorkerPool.{steer}\\(\\) needs a pool that was entered"):
        await call()
    async with pool:
        await call()
        with pytest.raises(RuntimeError, match="must be called on the event loop"):
            await asyncio.to_thread(asyncio.run, call())
    with pytest.raises(PoolClosed):
        await call()
    unused = pool = WorkerPool()
    await unused.aclose()
    with pytest.raises(PoolClosed):
        await call()


async def test_a_pool_that_is_still_being_opened_can_not_be_steered_and_says_so() -> None:
    pool = WorkerPool()
    opening = asyncio.create_task(pool.__aenter__())
    await asyncio.sleep(0)
    if pool.state is PoolState.NEW:  # with eager tasks it is open by now
        with pytest.raises(RuntimeError, match="still being opened"):
            pool.pause()
    await opening
    await pool.aclose()


# Idle ---------------------------------------------------------------------------------------------------------------------


async def test_waiting_for_an_idle_pool_ends_when_nothing_is_queued_or_runs(clock: Clock) -> None:
    async with WorkerPool(max_workers=1) as pool:
        await pool.wait_idle()
        clock.start()
        for _ in range(3):
            await pool.submit(sleep, 0.1)
        await asyncio.gather(pool.wait_idle(), pool.wait_idle())
        assert clock.shows(0.3)
        assert (pool.stats().running, pool.stats().queued) == (0, 0)
    await pool.wait_idle()


async def test_cancelling_who_waits_for_an_idle_pool_touches_nothing() -> None:
    gate = Gate()
    async with WorkerPool() as pool:
        handle = await pool.submit(gate)
        waiting = asyncio.create_task(pool.wait_idle())
        await turns()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert handle.state is JobState.RUNNING
        gate.open()


async def test_who_waits_for_an_idle_pool_is_woken_when_it_is_closed() -> None:
    pool = WorkerPool()
    await pool.__aenter__()
    await pool.submit(sleep, 0.1)
    waiting = asyncio.create_task(pool.wait_idle())
    await turns()
    await pool.aclose()
    await waiting


async def test_a_job_that_waits_for_its_own_pool_to_be_idle_is_told_so() -> None:
    async with WorkerPool() as pool:
        with pytest.raises(RuntimeError, match="would wait for itself"):
            await pool.run(pool.wait_idle)
    unused = WorkerPool()
    with pytest.raises(RuntimeError, match="needs a pool that was entered"):
        await unused.wait_idle()
    await unused.aclose()
    await unused.wait_idle()


# Strays -------------------------------------------------------------------------------------------------------------------


@pytest.mark.complains
async def test_beyond_a_number_of_strays_nothing_is_started_and_submissions_are_refused_until_they_end() -> None:
    stubborn = [Stubborn() for _ in range(3)]
    async with WorkerPool(max_workers=1, queue_size=5, cancel_grace=0.01, max_strays=2) as pool:
        handles: list[Any] = [await pool.submit(job, timeout=0.05) for job in stubborn]
        queued = await pool.submit(echo, 7)
        for handle in handles:
            await handle.wait()
            handle.exception()
        assert (pool.stats().strays, queued.state) == (3, JobState.QUEUED)
        for refused in (pool.submit(echo, 1), pool.run(echo, 1)):
            with pytest.raises(PoolOverloaded) as error:
                await refused
            assert (error.value.reason, error.value.depth, error.value.limit) == ("strays", 3, 2)
        with pytest.raises(PoolOverloaded, match="starts no jobs while 3 abandoned ones still run"):
            pool.submit_nowait(echo, 1)
        assert pool.stats().refused == refusals(strays=3)
        await stubborn[0].release()
        assert await queued == 7
        assert await pool.run(echo, 1) == 1
        for job in stubborn[1:]:
            await job.release()


@pytest.mark.complains
async def test_no_place_goes_to_the_next_job_in_the_moment_in_which_there_are_too_many_strays() -> None:
    stubborn = Stubborn()
    async with WorkerPool(max_workers=1, cancel_grace=0.01, max_strays=0, shutdown_timeout=0.2) as pool:
        handle = await pool.submit(stubborn, timeout=0.05)
        queued = await pool.submit(sleep, FOREVER)
        await handle.wait()
        handle.exception()
        await turns()
        assert pool.stats().queued == 1
    assert queued.state is JobState.CANCELLED
    await stubborn.release()
