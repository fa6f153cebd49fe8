"""R9: jobs that would wait for each other for ever hear of it when the last of them begins to; others do not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support import Gate, balanced, echo, turns
from weirpool import JobHandle, JobTimeout, WorkerPool, current_job

FOR_EVER = "would wait for ever"


async def test_a_job_that_waits_for_one_that_waits_for_it_is_told_so() -> None:
    async def child(above: Any) -> str:
        with pytest.raises(RuntimeError, match="'child' would wait for ever for 'parent', which waits for it"):
            await above
        return "told"

    async with WorkerPool() as pool:
        parent = await pool.submit(lambda: pool.run(child, current_job(), name="child"), name="parent")
        assert await parent == "told"


async def test_a_circle_of_many_jobs_is_found_out() -> None:
    async def descend(above: JobHandle[Any] | None, depth: int) -> int:
        if depth:
            return 1 + await pool.run(descend, above or current_job(), depth - 1)
        assert above is not None
        with pytest.raises(RuntimeError, match=FOR_EVER):
            await above
        return 0

    async with WorkerPool(max_workers=1) as pool:
        assert await pool.run(descend, None, 50) == 50


async def test_a_circle_through_another_pool_is_found_out() -> None:
    async def child(above: Any) -> None:
        with pytest.raises(RuntimeError, match=FOR_EVER):
            await above

    async with WorkerPool() as a, WorkerPool() as b:
        await a.run(lambda: b.run(child, current_job()))


async def test_a_job_may_wait_for_one_that_submitted_it_and_does_not_wait() -> None:
    gate = Gate()

    async def child(above: Any) -> Any:
        return await above

    async def parent() -> JobHandle[Any]:
        below = await pool.submit(child, current_job())
        await gate()
        return below

    async with WorkerPool() as pool:
        above = await pool.submit(parent)
        await turns()
        gate.open()
        below = await above
        assert await below is below


async def test_a_job_may_wait_for_one_that_waits_for_others() -> None:
    gate = Gate()
    async with WorkerPool() as pool:
        first = await pool.submit(lambda: pool.run(gate, 7))
        await turns()

        async def second() -> Any:
            return await first

        handles = [await pool.submit(second) for _ in range(3)]
        await turns()
        gate.open()
        assert [await handle for handle in handles] == [7, 7, 7]


async def test_a_task_of_a_job_may_wait_for_its_end() -> None:
    tasks: list[asyncio.Task[int]] = []

    async def follow(job: Any) -> int:
        result: int = await job
        return result + 1

    async def mine() -> int:
        tasks.append(asyncio.create_task(follow(current_job())))
        await turns()
        return 7

    async with WorkerPool() as pool:
        assert await pool.run(mine) == 7
        assert await tasks[0] == 8


async def test_a_job_may_be_waited_for_by_many_in_several_ways() -> None:
    """No circle, in which all of them wait twice for the same, and for each other's."""

    async def leaf() -> int:
        await turns(10)
        return 7

    async def middle() -> Any:
        await asyncio.gather(bottom.wait(), bottom.wait())
        return await bottom

    async def above() -> Any:
        return await asyncio.gather(*(pool.run(middle) for _ in range(3)), bottom)

    async with WorkerPool() as pool:
        bottom = await pool.submit(leaf)
        top = await pool.submit(above)
        assert await top == [7] * 4
        assert (pool.stats().running, pool.stats().lending) == (0, 0)


async def test_a_job_may_wait_for_one_that_has_left_a_task_behind_which_waits_for_it() -> None:
    async def second() -> Any:
        await asyncio.sleep(0.05)
        return await handles[0]

    async def first() -> str:
        tasks.append(asyncio.create_task(handles[1].wait()))
        await asyncio.sleep(0.1)
        return "fine"

    tasks: list[asyncio.Task[None]] = []
    async with WorkerPool() as pool:
        handles: list[JobHandle[Any]] = [pool.submit_nowait(first), pool.submit_nowait(second)]
        assert await handles[1] == "fine"
        await tasks[0]


async def test_a_job_may_wait_for_one_of_several_whichever_comes_first() -> None:
    async def either() -> str:
        waits = [asyncio.ensure_future(handle.wait()) for handle in (other, quick)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        return "quick"

    async def waits_for_it() -> Any:
        await asyncio.sleep(0.01)
        return await one

    async with WorkerPool() as pool:
        quick = pool.submit_nowait(asyncio.sleep, 0.05)
        one = pool.submit_nowait(either)
        other: JobHandle[Any] = pool.submit_nowait(waits_for_it)
        assert await other == "quick"


@pytest.mark.complains
@pytest.mark.parametrize("how", ["gather", "group", "wait_for", "await"])
async def test_a_circle_through_tasks_that_call_run_is_found_out(how: str) -> None:
    async def call(fn: Any, key: str) -> Any:
        running = pool.run(fn, key=key)
        match how:
            case "gather":
                return (await asyncio.gather(running))[0]
            case "group":
                async with asyncio.TaskGroup() as group:
                    task = group.create_task(running)
                return task.result()
            case "wait_for":
                return await asyncio.wait_for(running, 1000)
            case _:
                return await running

    async def leaf() -> None:
        raise AssertionError

    async def parent() -> str:
        try:
            await call(leaf, "a")
        except RuntimeError as error:
            return str(error)
        except ExceptionGroup as errors:
            return str(errors.exceptions[0])
        return "?"

    async with WorkerPool() as pool:
        assert FOR_EVER in await pool.run(parent, key="a")


async def test_a_circle_that_a_deadline_ends_is_left_to_that() -> None:
    async def first() -> Any:
        return await handles[1]

    async def second() -> str:
        await asyncio.sleep(0.01)
        try:
            await handles[0]
        except JobTimeout:
            return "goes on"
        return "?"

    async with WorkerPool() as pool:
        handles: list[JobHandle[Any]] = [pool.submit_nowait(first, timeout=0.1), pool.submit_nowait(second)]
        assert await handles[1] == "goes on"
        assert isinstance(handles[0].exception(), JobTimeout)


async def test_jobs_with_deadlines_may_wait_for_each_other_down_a_line() -> None:
    async def descend(depth: int) -> int:
        await asyncio.sleep(0.01)
        return 1 + await (await pool.submit(descend, depth - 1, timeout=5)) if depth else 0

    async def watcher(job: JobHandle[Any]) -> Any:
        return await job

    async with WorkerPool(max_workers=1) as pool:
        top = await pool.submit(descend, 5, timeout=5)
        watchers = [await pool.submit(watcher, top, timeout=5) for _ in range(2)]
        assert [await each for each in watchers] == [5, 5]


# Keys ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 3])
@pytest.mark.parametrize("queue_size", [0, 5])
async def test_a_recursion_that_needs_its_key_more_often_than_there_is_is_told_so(limit: int, queue_size: int) -> None:
    async def descend(depth: int) -> int:
        try:
            return 1 + await pool.run(descend, depth + 1, key="a")
        except RuntimeError as error:
            told.append(str(error))
            return depth

    told: list[str] = []

    async with WorkerPool(max_workers=10, key_limit=limit, queue_size=queue_size) as pool:
        assert await pool.run(descend, 1, key="a") == 2 * limit - 1
        assert balanced(pool)
        assert (pool.stats().queued, pool.stats().running) == (0, 0)
    assert len(told) == 1
    assert f"set key_limit above {limit}" in told[0]


async def test_a_time_to_run_does_not_end_what_never_starts() -> None:
    async def parent() -> str:
        with pytest.raises(RuntimeError, match=FOR_EVER):
            await pool.run(echo, 7, key="a", timeout=0.1)
        return "told"

    async with WorkerPool() as pool:
        assert await pool.run(parent, key="a") == "told"


async def test_two_jobs_of_a_key_that_both_wait_for_the_third_are_found_out() -> None:
    gates = [Gate(), Gate()]
    third: Any = None

    async def one(gate: Gate) -> str:
        await gate()
        try:
            return str(await third)
        except RuntimeError as error:
            return str(error)

    async with WorkerPool(key_limit=2) as pool:
        jobs = [await pool.submit(one, gate, key="a") for gate in gates]
        third = await pool.submit(echo, 7, key="a")
        await turns()
        gates[0].open()
        await turns()
        assert not jobs[0].done()
        gates[1].open()
        assert FOR_EVER in await jobs[1]
        assert await jobs[0] == "7"


async def test_two_jobs_that_wait_for_a_job_of_the_others_key_are_found_out() -> None:
    gates = [Gate(), Gate()]

    async def one(gate: Gate, other: str) -> str:
        await gate()
        try:
            return f"{other}: {await pool.run(echo, 7, key=other)}"
        except RuntimeError as error:
            return str(error)

    async with WorkerPool() as pool:
        a = await pool.submit(one, gates[0], "b", key="a")
        b = await pool.submit(one, gates[1], "a", key="b")
        await turns()
        gates[0].open()
        await turns()
        assert not a.done()
        gates[1].open()
        assert FOR_EVER in await b
        assert await a == "b: 7"


async def test_a_job_may_wait_for_one_of_its_key_behind_others_of_it() -> None:
    """Two may run: as long as one of the two does not wait for this one, its turn will come."""
    gate = Gate()
    async with WorkerPool(key_limit=2) as pool:
        other = await pool.submit(gate, key="a")
        parent = await pool.submit(lambda: pool.run(echo, 7, key="a"), key="a")
        await turns()
        assert not parent.done()
        gate.open()
        await other
        assert await parent == 7


async def test_a_job_may_wait_for_one_whose_key_a_job_has_that_waits_for_others() -> None:
    gate = Gate()
    async with WorkerPool() as pool:
        holder = await pool.submit(lambda: pool.run(gate), key="a")
        await turns()
        other = await pool.submit(lambda: pool.run(echo, 7, key="a"))
        await turns()
        assert not other.done()
        gate.open()
        await holder
        assert await other == 7


async def test_a_job_may_wait_for_one_whose_key_an_ancestor_has_that_does_not_wait() -> None:
    gate = Gate()

    async def ancestor() -> JobHandle[Any]:
        below = await pool.submit(lambda: pool.run(echo, 7, key="a"))
        await gate()
        return below

    async with WorkerPool() as pool:
        above = await pool.submit(ancestor, key="a")
        await turns(10)
        gate.open()
        assert await (await above) == 7


async def test_a_job_that_waits_for_one_that_has_to_wait_for_its_key_is_found_out_by_way_of_others() -> None:
    """It has the key; what it waits for waits for a job that was queued under the key before."""

    async def holder() -> str:
        queued = pool.submit_nowait(echo, 7, key="a")

        async def child() -> str:
            with pytest.raises(RuntimeError, match="the same key"):
                await queued
            return "told"

        return await pool.run(child)

    async with WorkerPool() as pool:
        assert await pool.run(holder, key="a") == "told"


async def test_a_job_that_would_wait_for_one_that_can_not_start_before_it_has_ended_is_found_out() -> None:
    """What it waits for goes on already: it waits for a job that is queued behind this one's key."""

    async def holder(other: JobHandle[Any]) -> str:
        queued.set_result(pool.submit_nowait(echo, 7, key="a"))
        await turns(10)
        with pytest.raises(RuntimeError, match=FOR_EVER):
            await other
        return "told"

    async def waits_for_it() -> Any:
        return await (await queued)

    queued: asyncio.Future[JobHandle[Any]] = asyncio.get_running_loop().create_future()
    async with WorkerPool() as pool:
        other = await pool.submit(waits_for_it)
        assert await pool.run(holder, other, key="a") == "told"
        assert await other == 7


async def test_a_submission_that_joins_a_job_which_waits_for_it_is_told_so() -> None:
    async def leaf() -> None:
        raise AssertionError

    async def middle() -> str:
        with pytest.raises(RuntimeError, match=FOR_EVER):
            await pool.run(leaf, key="a", coalesce=True)
        return "told"

    async with WorkerPool() as pool:
        assert await pool.run(lambda: pool.run(middle), key="a") == "told"
        assert pool.stats().coalesced == 1
