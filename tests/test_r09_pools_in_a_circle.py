"""R9 across pools: where pools wait for each other, those who wait lend their places, and only while there is a circle."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import Clock, Gate, balanced, echo, turns
from weirpool import JobCancelled, PoolOverloaded, WorkerPool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def one(name: str, **options: Any) -> WorkerPool:
    """Make a pool with one worker."""
    return WorkerPool(max_workers=1, name=name, **options)


def held(pool: WorkerPool) -> tuple[int, int]:
    """Return how many jobs hold a place, and how many lend theirs."""
    stats = pool.stats()
    return stats.running - stats.lending, stats.lending


def wait_for(pool: WorkerPool) -> Callable[[], Awaitable[Any]]:
    """Return a job that waits for a pool."""
    return lambda: pool.run(echo, 7)


async def test_a_job_may_wait_for_one_that_it_has_not_submitted() -> None:
    asked = asyncio.Event()

    async def theirs() -> Any:
        await asked.wait()
        return await a.run(echo, 7)

    async def mine(handle: Any) -> Any:
        asked.set()
        return await handle

    async with one("a") as a, one("b") as b:
        assert await a.run(mine, await b.submit(theirs)) == 7
        assert (held(a), held(b)) == ((0, 0), (0, 0))


async def test_a_job_may_wait_for_one_that_has_to_wait_for_others_first() -> None:
    async def mine() -> Any:
        await b.submit(wait_for(a))
        return await b.run(echo, 1)

    async with one("a") as a, one("b") as b:
        assert await a.run(mine) == 1


async def test_a_job_may_wait_for_room_in_a_pool_whose_jobs_wait_for_its_own() -> None:
    async def mine() -> Any:
        await b.submit(wait_for(a))
        return await (await b.submit(echo, 1))

    async with one("a") as a, one("b", queue_size=0) as b:
        assert await a.run(mine) == 1


async def test_a_job_may_wait_until_another_pool_is_idle() -> None:
    async def mine() -> Any:
        handle = await b.submit(wait_for(a))
        await b.wait_idle()
        assert held(a) == (1, 0)
        return handle.result()

    async with one("a") as a, one("b") as b:
        assert await a.run(mine) == 7


async def test_a_job_may_wait_until_another_pool_is_small() -> None:
    async def mine() -> None:
        for _ in range(2):
            await b.submit(wait_for(a))
        await b.resize(max_workers=1)

    async with one("a") as a, WorkerPool(max_workers=2) as b:
        await a.run(mine)


async def test_a_job_may_open_and_close_a_pool_whose_jobs_wait_for_its_own(clock: Clock) -> None:
    async def mine() -> Any:
        async with one("inner") as inner:
            handle = await inner.submit(wait_for(a))
        assert held(a) == (1, 0)
        return handle.result()

    async with one("a") as a:
        clock.start()
        assert await a.run(mine) == 7
        assert clock.passed < 0.2


@pytest.mark.complains
async def test_a_pool_is_closed_even_if_no_place_may_be_lent_for_that() -> None:
    async def mine() -> Any:
        async with one("inner", shutdown_timeout=0.2, cancel_grace=0.1) as inner:
            handle = await inner.submit(wait_for(a))
            await turns()
        return handle.exception()

    async with one("a", max_lending=0) as a:
        assert isinstance(await a.run(mine), JobCancelled)
        assert balanced(a)


@pytest.mark.complains
async def test_a_job_that_is_ended_while_it_closes_a_pool_does_not_wait_for_a_place() -> None:
    gate = Gate()

    async def mine() -> None:
        async with one("inner") as inner:
            await inner.submit(lambda: a.run(gate))

    async with one("a") as a:
        job = await a.submit(mine)
        await turns(20)
        assert held(a) == (1, 1)
        await a.submit(gate)
        job.cancel()
        await job.wait()
        assert a.stats().abandoned == 0
        gate.open()


@pytest.mark.parametrize("number", [2, 3, 5])
async def test_any_number_of_pools_may_wait_for_each_other_in_a_circle(number: int) -> None:
    pools = [one(f"pool {n}", queue_size=0) for n in range(number)]

    async def descend(depth: int) -> int:
        assert all(held(pool)[0] <= 1 for pool in pools)
        return 1 + await pools[depth % number].run(descend, depth - 1) if depth else 0

    async with AsyncExitStack() as stack:
        for pool in pools:
            await stack.enter_async_context(pool)
        assert await pools[0].run(descend, 40) == 40
        assert all(held(pool) == (0, 0) for pool in pools)


async def test_who_begins_to_wait_after_a_circle_is_over_keeps_his_place() -> None:
    gates = [Gate(), Gate()]

    async def mine(gate: Gate) -> None:
        await b.run(gate)

    async with WorkerPool(max_workers=2, name="a") as a, WorkerPool(name="b") as b:
        first = await a.submit(mine, gates[0])
        await turns()
        assert held(a) == (1, 0)
        assert await b.run(wait_for(a)) == 7
        await turns()
        assert held(a) == (0, 1), "it was part of a circle, and lends its place until its wait is over"
        await a.submit(mine, gates[1])
        await turns()
        assert held(a) == (1, 1)
        gates[0].open()
        await first
        assert held(a) == (1, 0)
        gates[1].open()


async def test_a_part_of_a_circle_that_goes_leaves_the_others_their_circle() -> None:
    """A and B wait for each other, as do A and C: when C's part is over, who comes still lends for the sake of B."""
    gate = Gate()
    async with one("a") as a, one("b") as b, one("c") as c:

        async def mine() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(b.run(lambda: a.run(lambda: a.run(gate))))
                group.create_task(c.run(wait_for(a)))

        job = await a.submit(mine)
        await turns(40)
        assert held(c) == (0, 0)
        other = await a.submit(lambda: b.run(echo, 1))
        gate.open()
        await job
        assert await other == 1
        assert (held(a), held(b), held(c)) == ((0, 0), (0, 0), (0, 0))


async def test_the_wait_that_closes_a_circle_is_refused_if_too_many_would_lend_their_places_for_it() -> None:
    gate = Gate()
    asked: list[PoolOverloaded] = []

    async def theirs() -> None:
        await gate()
        try:
            await a.run(echo, 7)
        except PoolOverloaded as error:
            asked.append(error)

    async with WorkerPool(max_workers=3, max_lending=2, name="a", queue_size=0) as a, WorkerPool(name="b") as b:
        jobs = [await a.submit(lambda: b.run(theirs)) for _ in range(3)]
        await turns()
        gate.open()
        for job in jobs:
            await job
        assert [(error.reason, error.pool, error.depth, error.limit) for error in asked] == [("nesting", "a", 0, 2)], "two may"
        assert (held(a), held(b)) == ((0, 0), (0, 0))
        assert balanced(a)


async def test_no_more_lend_their_places_than_may_where_another_closes_the_circle() -> None:
    most = 0

    async def look(gate: Gate) -> None:
        nonlocal most
        most = max(most, a.stats().lending)
        await gate()

    gate = Gate()
    async with WorkerPool(max_workers=5, max_lending=1, name="a") as a, WorkerPool(name="b") as b:
        waiting = [await a.submit(lambda: b.run(lambda: a.run(look, gate))) for _ in range(5)]
        await turns(20)
        gate.open()
        ends = [await asyncio.gather(job, return_exceptions=True) for job in waiting]
        assert most <= 1
        assert any(isinstance(end[0], PoolOverloaded) for end in ends)
        assert (held(a), held(b)) == ((0, 0), (0, 0))


async def test_a_job_that_gives_up_waiting_for_an_idle_pool_has_its_place_again() -> None:
    gate = Gate()

    async def mine() -> tuple[int, int]:
        await b.submit(lambda: a.run(gate))
        await turns()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await b.wait_idle()
        return held(a)

    async with one("a") as a, one("b") as b:
        job = await a.submit(mine)
        await asyncio.sleep(0.1)
        gate.open()
        assert await job == (1, 0)


async def test_a_wait_for_an_idle_pool_whose_coroutine_is_closed_is_over() -> None:
    gate = Gate()

    async def mine() -> None:
        await b.submit(lambda: a.run(gate))
        await turns()
        waiting: Any = b.wait_idle()
        waiting.send(None)
        assert a.stats().lending == 1
        waiting.close()
        await asyncio.sleep(0.05)

    async with WorkerPool(max_workers=2, name="a") as a, one("b") as b:
        job = await a.submit(mine)
        await asyncio.sleep(0.02)
        gate.open()
        await job
        assert (held(a), held(b)) == ((0, 0), (0, 0))
