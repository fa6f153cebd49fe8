"""R2: running jobs never exceed `max_workers`, waiting jobs never `queue_size`, on any schedule; 0 means no waiting room."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import FOREVER, Gate, Stubborn, adds_up, balanced, echo, fail, sleep, turns
from weirpool import JobState, PoolError, PoolOverloaded, WorkerPool
from weirpool.events import Observer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from weirpool import JobHandle


class Auditor(Observer):
    """Check the books at every event, which is more often than any task could."""

    def __init__(self) -> None:
        self.pool: WorkerPool | None = None
        self.events = 0
        self.violations: list[Any] = []

    def _check(self, event: object) -> None:
        self.events += 1
        if self.pool is not None and not balanced(self.pool):
            self.violations.append((event, self.pool.stats()))

    job_accepted = job_started = job_ended = stray_ended = submit_refused = pool_moved = _check


class Meter:
    """Count how many of the jobs that it measures are running."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0
        self.started = 0

    async def measure(self, fn: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        self.inside += 1
        self.started += 1
        self.most = max(self.most, self.inside)
        try:
            return await fn(*args)
        finally:
            self.inside -= 1


async def cleaning_up(seconds: float) -> None:
    """Take some time to end after a cancellation, and hold the place meanwhile."""
    try:
        await asyncio.sleep(FOREVER)
    finally:
        await asyncio.sleep(seconds)


async def test_an_idle_pool_accepts_one_job_per_worker_and_per_waiting_place_at_once() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=3, queue_size=2) as pool:
        for _ in range(5):
            pool.submit_nowait(gate)
        with pytest.raises(PoolOverloaded):
            pool.submit_nowait(gate)
        assert (pool.stats().running, pool.stats().queued) == (3, 2)
        await turns()
        assert gate.inside == 3
        gate.open()
    assert gate.most_inside == 3


async def test_one_worker_runs_one_job_after_the_other() -> None:
    spans: list[tuple[str, int]] = []

    async def job(number: int) -> None:
        spans.append(("start", number))
        await asyncio.sleep(0.001 * (number % 3))
        spans.append(("end", number))

    async with WorkerPool(max_workers=1) as pool:
        for number in range(10):
            await pool.submit(job, number)
    assert spans == [(what, number) for number in range(10) for what in ("start", "end")]


@pytest.mark.complains
@pytest.mark.parametrize(("max_workers", "queue_size"), [(1, 0), (1, 1), (2, 0), (3, 2), (7, 20)])
@pytest.mark.parametrize("seed", range(2))
async def test_the_bounds_hold_over_a_mixed_load(max_workers: int, queue_size: int, seed: int) -> None:
    dice = random.Random(seed)
    loop = asyncio.get_running_loop()
    meter, auditor = Meter(), Auditor()

    async def submit_one(pool: WorkerPool) -> None:
        measure = meter.measure
        kind = dice.randrange(7)
        handle: JobHandle[Any]
        if kind == 0:
            handle = pool.submit_nowait(measure, echo, 1)
        elif kind == 1:
            handle = await pool.submit(measure, fail, KeyError(1))
        elif kind == 2:
            handle = await pool.submit(measure, sleep, FOREVER, timeout=dice.uniform(0.001, 0.01))
        elif kind == 3:
            handle = await pool.submit(measure, cleaning_up, 0.002)
            loop.call_later(dice.uniform(0, 0.01), handle.cancel)
        elif kind == 4:
            handle = await pool.submit(measure, sleep, 0.005, deadline=loop.time() + dice.uniform(0, 0.01))
        elif kind == 5:
            await pool.run(measure, cleaning_up, 0.001)
            return
        else:
            handle = await pool.submit(measure, sleep, dice.uniform(0, 0.004))
        await handle.wait()
        handle.exception()

    async def submitter(pool: WorkerPool) -> None:
        for _ in range(12):
            one = asyncio.create_task(submit_one(pool))
            loop.call_later(dice.uniform(0, 0.02), one.cancel)
            await asyncio.wait([one])
            if not one.cancelled():
                assert isinstance(one.exception(), PoolError | None)

    async with WorkerPool(
        max_workers=max_workers, queue_size=queue_size, submit_timeout=0.01, name="mixed", observers=[auditor]
    ) as pool:
        auditor.pool = pool
        async with asyncio.TaskGroup() as group:
            for _ in range(max_workers + queue_size + 3):
                group.create_task(submitter(pool))
    assert not auditor.violations
    assert auditor.events > 60
    assert adds_up(pool.report)
    assert meter.most == max_workers, "the load was too light to tell"
    assert meter.inside == 0


@pytest.mark.parametrize("end", ["result", "error", "timeout", "cancel", "stranger"])
async def test_a_place_is_given_on_exactly_once_however_its_job_ends(end: str) -> None:
    gate, follower = Gate(), Gate()
    task: asyncio.Task[Any] | None = None

    async def first() -> None:
        nonlocal task
        task = asyncio.current_task()
        await gate()
        if end == "error":
            raise LookupError

    async with WorkerPool(max_workers=2, queue_size=5) as pool:
        handle = await pool.submit(first, timeout=0.02 if end == "timeout" else None)
        await pool.submit(sleep, 0.05)
        for _ in range(5):
            await pool.submit(follower)
        await turns()
        if end in {"result", "error"}:
            gate.open()
        elif end == "cancel":
            handle.cancel()
            handle.cancel()
        elif end == "stranger":
            assert task is not None
            task.cancel()
        await handle.wait()
        handle.exception()
        await turns()
        assert follower.inside == 1
        assert (pool.stats().running, pool.stats().queued) == (2, 4)
        follower.open()


@pytest.mark.complains
async def test_the_place_of_an_abandoned_job_is_given_on_exactly_once() -> None:
    stubborn, gate = Stubborn(), Gate()
    async with WorkerPool(max_workers=1, queue_size=5, cancel_grace=0.02) as pool:
        handle = await pool.submit(stubborn, timeout=0.01)
        followers = [await pool.submit(gate) for _ in range(5)]
        await handle.wait()
        await turns()
        assert gate.inside == 1
        await stubborn.release()
        await turns()
        assert gate.inside == 1, "the stray had no place to give on"
        assert (pool.stats().running, pool.stats().queued) == (1, 4)
        gate.open()
        for follower in followers:
            await follower
        assert gate.most_inside == 1


async def test_a_queued_job_that_is_cancelled_twice_frees_one_place() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=2) as pool:
        pool.submit_nowait(gate)
        pool.submit_nowait(gate)
        handle = pool.submit_nowait(gate)
        assert handle.cancel() is True
        assert handle.cancel() is False
        pool.submit_nowait(gate)
        with pytest.raises(PoolOverloaded):
            pool.submit_nowait(gate)
        assert pool.stats().queued == 2
        gate.open()


async def test_without_a_waiting_room_only_a_free_worker_accepts() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=2, queue_size=0, submit_timeout=0) as pool:
        handles = [await pool.submit(gate), pool.submit_nowait(gate)]
        assert [handle.state for handle in handles] == [JobState.RUNNING] * 2
        with pytest.raises(PoolOverloaded) as refused:
            pool.submit_nowait(gate)
        assert refused.value.queue_size == 0
        with pytest.raises(PoolOverloaded):
            await pool.submit(gate)
        assert pool.stats().queued == 0
        gate.open()


async def test_without_a_waiting_room_a_submitter_waits_for_a_worker_to_get_free() -> None:
    gate, second = Gate(), Gate()
    async with WorkerPool(max_workers=1, queue_size=0) as pool:
        await pool.submit(gate)
        submitting = asyncio.create_task(pool.submit(second))
        await turns()
        assert not submitting.done()
        assert (pool.stats().queued, pool.stats().waiting) == (0, 1)
        gate.open()
        handle = await submitting
        assert handle.state is JobState.RUNNING
        assert pool.stats().queued == 0
        second.open()


async def test_without_a_waiting_room_many_submitters_never_fill_one() -> None:
    auditor, meter = Auditor(), Meter()
    async with WorkerPool(max_workers=2, queue_size=0, submit_timeout=None, observers=[auditor]) as pool:
        auditor.pool = pool
        results = await asyncio.gather(*(pool.run(meter.measure, echo, number) for number in range(50)))
    assert results == list(range(50))
    assert meter.most == 2
    assert not auditor.violations


async def test_room_that_was_promised_to_a_submitter_is_not_given_twice() -> None:
    """Between the waking of a submitter and its next step, its room is neither free nor used."""
    gates = [Gate(), Gate()]
    later = Gate()
    async with WorkerPool(max_workers=1, queue_size=1, submit_timeout=None) as pool:
        running, _ = pool.submit_nowait(gates[0]), pool.submit_nowait(gates[1])
        submitting = [asyncio.create_task(pool.submit(later)) for _ in range(3)]
        await turns()
        running.cancel()
        gates[1].open()  # two places become free within a few turns
        refused = 0
        for _ in range(12):
            s = pool.stats()
            assert s.queued <= 1
            assert s.queued + s.running + s.waiting >= 3, "a submitter got lost"
            try:
                pool.submit_nowait(later)
            except PoolOverloaded:
                refused += 1
            await asyncio.sleep(0)
        assert refused == 12
        assert [task.done() for task in submitting] == [True, True, False]
        later.open()
        await asyncio.gather(*submitting)


async def test_many_places_that_get_free_in_one_turn_are_filled_to_the_bound() -> None:
    first, second = Gate(), Gate()
    async with WorkerPool(max_workers=4, queue_size=2, submit_timeout=None) as pool:
        for _ in range(4):
            pool.submit_nowait(first)
        submitting = [asyncio.create_task(pool.submit(second)) for _ in range(20)]
        await turns()
        first.open()
        await turns(10)
        assert second.inside == second.most_inside == 4
        assert (pool.stats().queued, pool.stats().waiting) == (2, 14)
        second.open()
        for handle in await asyncio.gather(*submitting):
            await handle
    assert second.most_inside == 4


async def test_a_job_that_has_not_stepped_yet_holds_its_place_already() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=0) as pool:
        handle = pool.submit_nowait(gate)
        assert (gate.inside, pool.stats().running) == (0, 1)
        handle.cancel()  # and keeps it until its task has ended
        with pytest.raises(PoolOverloaded):
            pool.submit_nowait(gate)
        await handle.wait()
        pool.submit_nowait(gate)
        gate.open()
    assert gate.most_inside == 1


async def test_a_cancelled_job_holds_its_place_while_it_cleans_up() -> None:
    async with WorkerPool(max_workers=1, queue_size=1) as pool:
        handle = await pool.submit(cleaning_up, 0.05)
        next_one = await pool.submit(echo, 1)
        await turns()
        handle.cancel()
        await turns(10)
        assert handle.state is JobState.RUNNING
        assert next_one.state is JobState.QUEUED
        await next_one
        assert handle.done()
