"""Priorities, keys and coalescing, as users see them: who is next, how many of a key run, and who shares a job (R2, R3)."""

from __future__ import annotations

import asyncio
import contextlib
import random
import uuid
from typing import Any

import pytest

from tests.support import FOREVER, Gate, balanced, echo, refusals, sleep, turns
from weirpool import JobCancelled, JobState, JobTimeout, PoolClosed, PoolOverloaded, WorkerPool, current_job

# Priorities ---------------------------------------------------------------------------------------------------------------


async def test_what_is_more_urgent_starts_first_and_equals_in_their_order() -> None:
    order: list[int] = []

    async def note(number: int) -> None:
        order.append(number)

    gate = Gate()
    async with WorkerPool(max_workers=1) as pool:
        await pool.submit(gate)
        for number, priority in enumerate([0, 5, -1, 0, 5, -1]):
            await pool.submit(note, number, priority=priority)
        gate.open()
    assert order == [2, 5, 0, 3, 1, 4]


@pytest.mark.virtual
async def test_nothing_waits_for_ever_as_waiting_counts() -> None:
    async with WorkerPool(max_workers=1, queue_size=1000, aging=1.0) as pool:
        patient = asyncio.create_task(pool.run(echo, "done", priority=3))
        started = asyncio.get_running_loop().time()
        while not patient.done():
            await pool.submit(sleep, 0.1)  # more urgent, and as many as the pool can do
            await asyncio.sleep(0.1)
            assert asyncio.get_running_loop().time() < started + 5
        assert await patient == "done"


async def test_a_more_urgent_job_does_not_overtake_a_submitter_that_waits_for_room() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=1) as pool:
        for _ in range(2):
            await pool.submit(gate)
        waiting = asyncio.create_task(pool.submit(echo, 1))
        await turns()
        with pytest.raises(PoolOverloaded):
            pool.submit_nowait(echo, 2, priority=-10)
        gate.open()
        assert await (await waiting) == 1


async def test_the_least_important_is_dropped_when_the_queue_is_full() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=2, overload="drop_oldest") as pool:
        await pool.submit(gate)
        important, other = await pool.submit(echo, 1, priority=-1), await pool.submit(echo, 2, priority=1)
        with pytest.raises(PoolOverloaded):
            await pool.submit(echo, 3, priority=2)
        third = await pool.submit(echo, 3)
        assert (important.state, other.state, third.state) == (JobState.QUEUED, JobState.CANCELLED, JobState.QUEUED)
        gate.open()


@pytest.mark.parametrize("bad", ["high", 1.0, None, True, 1_000_001, -1_000_001])
async def test_what_is_no_priority_is_refused(bad: Any) -> None:
    async with WorkerPool() as pool:
        with pytest.raises((TypeError, ValueError), match="priority must be an int from -1,000,000 to 1,000,000"):
            await pool.submit(echo, 1, priority=bad)
        assert pool.stats().accepted == 0


# Keys ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2])
async def test_no_more_jobs_of_a_key_run_at_once_than_may(limit: int) -> None:
    gates = {key: Gate() for key in ("a", "b")}
    async with WorkerPool(max_workers=10, key_limit=limit) as pool:
        handles = [await pool.submit(gates[key], key=key) for key in "aaabbb"]
        unkeyed = await pool.submit(echo, 7)
        await turns()
        assert [gate.inside for gate in gates.values()] == [limit, limit]
        assert (pool.stats().queued, await unkeyed) == (6 - 2 * limit, 7)
        for gate in gates.values():
            gate.open()
        for handle in handles:
            await handle
        assert [gate.most_inside for gate in gates.values()] == [limit, limit]


async def test_the_jobs_of_a_key_run_one_after_the_other_in_their_order() -> None:
    order: list[int] = []

    async def note(number: int) -> None:
        await asyncio.sleep(0.01 * (5 - number))
        order.append(number)

    async with WorkerPool(max_workers=10) as pool:
        for number in range(5):
            await pool.submit(note, number, key="account 7")
    assert order == [0, 1, 2, 3, 4]


async def test_a_tenant_with_many_jobs_does_not_keep_the_others_waiting() -> None:
    order: list[str] = []

    async def note(tenant: str) -> None:
        order.append(tenant)

    gate = Gate()
    async with WorkerPool(max_workers=1, key_limit=5) as pool:
        await pool.submit(gate)
        for _ in range(50):
            await pool.submit(note, "large", key="large")
        for tenant in ("small", "tiny"):
            await pool.submit(note, tenant, key=tenant)
        gate.open()
    assert order[:3] == ["large", "small", "tiny"]


async def test_a_queue_full_of_jobs_that_wait_for_their_key_does_not_keep_a_free_place_from_others() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=2, queue_size=2, submit_timeout=0) as pool:
        for _ in range(3):
            await pool.submit(gate, key="a")
        assert (pool.stats().running, pool.stats().queued) == (1, 2)
        assert await pool.run(echo, 1) == 1
        with pytest.raises(PoolOverloaded):
            await pool.submit(gate, key="a")
        assert balanced(pool)
        gate.open()


async def test_without_a_queue_a_job_whose_key_is_taken_waits_for_room() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=2, queue_size=0) as pool:
        await pool.submit(gate, key="a")
        waiting = asyncio.create_task(pool.submit(echo, 1, key="a"))
        await turns(20)
        assert (waiting.done(), pool.stats().waiting) == (False, 1)
        gate.open()
        assert await (await waiting) == 1


async def test_a_key_is_free_again_however_its_job_ends() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=3) as pool:
        loop = asyncio.get_running_loop()
        first = await pool.submit(gate, key="a")
        queued = await pool.submit(echo, 2, key="a")
        late = await pool.submit(echo, 3, key="a", deadline=loop.time() + 0.05)
        last = await pool.submit(echo, 4, key="a")
        queued.cancel()
        await late.wait()
        assert isinstance(late.exception(), JobTimeout)
        first.cancel()
        assert await last == 4
        assert pool._crew._queue.lanes is None


async def test_a_job_that_waits_for_its_pool_keeps_its_key() -> None:
    gate = Gate()

    async with WorkerPool(max_workers=1) as pool:
        parent = await pool.submit(lambda: pool.run(gate), key="a")
        other = await pool.submit(echo, 1, key="a")
        await turns()
        assert (pool.stats().lending, other.state) == (1, JobState.QUEUED)
        gate.open()
        await parent
        assert await other == 1


async def test_nobody_waits_for_room_behind_one_who_waits_for_a_key() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=2, queue_size=1) as pool:
        for _ in range(2):
            await pool.submit(gate, key="a")
        keyed = asyncio.create_task(pool.submit(gate, key="a"))
        await turns()
        hold = Gate()
        other = await asyncio.wait_for(pool.submit(hold), 1)
        third = asyncio.create_task(pool.submit(echo, 3))
        await turns()
        assert (keyed.done(), third.done()) == (False, False)
        hold.open()
        assert await (await third) == 3
        assert not keyed.done()
        gate.open()
        await other
        await keyed


@pytest.mark.parametrize("queue_size", [0, 5])
async def test_a_job_that_would_wait_for_its_own_key_is_told_so(queue_size: int) -> None:
    async def child() -> None:
        with pytest.raises(RuntimeError, match=r"the same key \('a'\) as 'parent', which must end first"):
            await pool.run(echo, 1, key="a")

    async def parent() -> None:
        await child()
        await pool.run(child)

    async with WorkerPool(max_workers=3, queue_size=queue_size) as pool:
        await pool.run(parent, key="a", name="parent")
        assert balanced(pool)
        assert (pool.stats().queued, pool.stats().running) == (0, 0)


async def test_a_job_may_leave_another_of_its_key_behind() -> None:
    async def parent() -> Any:
        return await pool.submit(echo, 7, key="a")

    async with WorkerPool() as pool:
        assert await (await pool.run(parent, key="a")) == 7


@pytest.mark.parametrize("key", ["a", 7, b"a", ("tenant", 7), uuid.UUID(int=7), ("a", ("b", b"c")), "", 0])
async def test_a_key_may_be_anything_whose_equality_can_be_trusted(key: Any) -> None:
    gate = Gate()
    async with WorkerPool(max_workers=2) as pool:
        for _ in range(2):
            await pool.submit(gate, key=key)
        assert pool.stats().queued == 1
        gate.open()


@pytest.mark.parametrize("bad", [[], {}, 1.5, object(), ("a", None), ("a", []), frozenset()])
async def test_what_is_no_key_is_refused(bad: Any) -> None:
    async with WorkerPool() as pool:
        with pytest.raises(TypeError, match="key must be a str, int, bytes, UUID or a tuple of these"):
            await pool.submit(echo, 1, key=bad)
        assert pool.stats().accepted == 0


async def test_a_key_that_fights_back_is_taken_for_what_it_is() -> None:
    class Text(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            raise RuntimeError("no")

        __hash__ = str.__hash__

    class Number(int):
        def __hash__(self) -> int:
            raise RuntimeError("no")

    class Raw(bytes):
        def __hash__(self) -> int:
            raise RuntimeError("no")

    gate = Gate()
    async with WorkerPool(max_workers=9) as pool:
        for key in (Text("a"), "a", Number(7), 7, Raw(b"b"), b"b"):
            await pool.submit(gate, key=key)
        assert pool.stats().queued == 3
        gate.open()


# Coalescing ---------------------------------------------------------------------------------------------------------------


async def test_submissions_that_are_one_share_a_job_and_its_result() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1) as pool:
        first = await pool.submit(gate, "fresh", key="page")
        joined = [
            await pool.submit(gate, "other", key="page", coalesce=True),
            pool.submit_nowait(gate, "other", key="page", coalesce=True),
        ]
        running = asyncio.create_task(pool.run(gate, "other", key="page", coalesce=True))
        await turns()
        assert [handle is first for handle in joined] == [True, True]
        assert (pool.stats().accepted, pool.stats().coalesced) == (1, 3)
        gate.open()
        assert [await handle for handle in joined] == ["fresh", "fresh"]
        assert await running == "fresh"
        again = await pool.submit(gate, "again", key="page", coalesce=True)
        assert await again == "again"
        assert pool.stats().accepted == 2


async def test_a_job_that_waits_is_joined_before_one_that_runs() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=2) as pool:
        await pool.submit(gate, key="page")
        waits = await pool.submit(gate, key="page")
        assert await pool.submit(gate, key="page", coalesce=True) is waits
        gate.open()


async def test_a_full_pool_lets_in_who_joins() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=0, submit_timeout=0) as pool:
        first = await pool.submit(gate, key="page")
        assert await pool.submit(gate, key="page", coalesce=True) is first
        assert pool.stats().refused == refusals()
        gate.open()


async def test_a_run_that_is_cancelled_cancels_what_it_shares_only_if_nobody_else_does() -> None:
    async with WorkerPool() as pool:
        runs = [asyncio.create_task(pool.run(sleep, FOREVER, key="page", coalesce=True)) for _ in range(3)]
        await turns()
        for run in runs[:2]:
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            assert pool.stats().running == 1
        runs[2].cancel()
        with pytest.raises(asyncio.CancelledError):
            await runs[2]
        assert (pool.stats().running, pool.stats().cancelled) == (0, 1)


async def test_a_job_that_is_being_cancelled_is_not_joined() -> None:
    async def slow() -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            await asyncio.sleep(0.1)

    async with WorkerPool(max_workers=3) as pool:
        first = await pool.submit(slow, key="page")
        await turns()
        first.cancel()
        await turns()
        second = await pool.submit(echo, 1, key="page", coalesce=True)
        assert second is not first
        with pytest.raises(JobCancelled):
            await first
        assert await second == 1


async def test_a_job_that_would_join_itself_is_told_so() -> None:
    async def job() -> None:
        with pytest.raises(RuntimeError, match="waits for itself"):
            await pool.run(job, key="page", coalesce=True)
        assert current_job() is not None

    async with WorkerPool() as pool:
        await pool.run(job, key="page", coalesce=True)


async def test_joining_needs_a_key_and_an_open_pool() -> None:
    pool = WorkerPool()
    async with pool:
        with pytest.raises(ValueError, match="coalesce must be False for a job without a key"):
            await pool.submit(echo, 1, coalesce=True)
        with pytest.raises(TypeError, match="coalesce must be True or False"):
            await pool.submit(echo, 1, key="a", coalesce=1)  # type: ignore[arg-type]
        gate = Gate()
        await pool.submit(gate, key="a")
        pool.close_intake()
        with pytest.raises(PoolClosed):
            await pool.submit(echo, 1, key="a", coalesce=True)
        gate.open()


# Together -----------------------------------------------------------------------------------------------------------------


@pytest.mark.virtual
@pytest.mark.parametrize("seed", range(20))
async def test_whatever_is_asked_for_the_books_balance_and_nothing_is_lost(seed: int) -> None:
    dice = random.Random(seed)
    inside: dict[Any, int] = {}

    async def job(key: Any) -> Any:
        inside[key] = inside.get(key, 0) + 1
        try:
            assert key is None or inside[key] <= 2
            await asyncio.sleep(dice.choice([0, 0.01, 0.03]))
            if dice.random() < 0.2:
                with contextlib.suppress(PoolOverloaded):
                    await pool.run(echo, 1, key=dice.choice([None, "inner"]))
        finally:
            inside[key] -= 1
        return key

    overload: Any = dice.choice(["wait", "drop_oldest", "caller_runs"])
    async with WorkerPool(
        max_workers=3, queue_size=4, key_limit=2, aging=0.1, submit_timeout=None, overload=overload, min_workers=1
    ) as pool:

        async def client() -> None:
            for _ in range(25):
                key = dice.choice([None, None, "a", "b", 7])
                try:
                    handle = await pool.submit(
                        job, key, key=key, priority=dice.choice([0, 0, -1, 2]), coalesce=key == 7 and dice.random() < 0.5
                    )
                except PoolOverloaded:
                    continue
                if dice.random() < 0.1:
                    handle.cancel()
                assert balanced(pool)

        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(client())
        await pool.wait_idle()
        stats = pool.stats()
        assert (stats.waiting, stats.lending, pool._crew._queue.lanes) == (0, 0, None)
        assert balanced(pool)


@pytest.mark.virtual
async def test_a_keyed_job_whose_deadline_comes_with_its_place_lets_the_next_of_its_key_go() -> None:
    gate, loop = asyncio.Event(), asyncio.get_running_loop()
    async with WorkerPool(max_workers=1) as pool:
        at = loop.time() + 0.1
        loop.call_at(at, gate.set)
        await pool.submit(gate.wait)
        late = await pool.submit(echo, 1, key="a", deadline=at)
        following = await pool.submit(echo, 2, key="a")
        assert await following == 2
        assert isinstance(late.exception(), JobTimeout)


async def test_a_job_without_a_key_may_wait_for_one_whose_key_is_taken() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=3) as pool:
        await pool.submit(gate, key="a")
        parent = await pool.submit(lambda: pool.run(echo, 7, key="a"))
        await turns()
        gate.open()
        assert await parent == 7


async def test_a_keyed_job_whose_task_can_not_be_made_lets_the_next_of_its_key_go() -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no tasks today")

    loop = asyncio.get_running_loop()
    factory = loop.get_task_factory()
    async with WorkerPool(max_workers=1) as pool:
        loop.set_task_factory(broken)
        try:
            first = await pool.submit(echo, 1, key="a")
        finally:
            loop.set_task_factory(factory)
        with pytest.raises(RuntimeError, match="no tasks today"):
            await first
        assert await pool.run(echo, 2, key="a") == 2


async def test_who_gets_past_the_line_to_a_place_leaves_the_room_to_the_next_in_it() -> None:
    short, hold = Gate(), Gate()
    async with WorkerPool(max_workers=3, queue_size=1, submit_timeout=None) as pool:
        await pool.submit(hold, key="k")
        for _ in range(2):
            await pool.submit(short)
        await pool.submit(hold)  # it waits in the queue
        first = asyncio.create_task(pool.submit(hold))
        second = asyncio.create_task(pool.submit(hold, key="k"))
        await turns()
        short.open()
        await turns(10)
        assert (first.done(), second.done(), pool.stats().queued) == (True, True, 1)
        hold.open()


@pytest.mark.parametrize("queue_size", [0, 1])
async def test_submitters_that_wait_for_room_join_the_first_of_them(queue_size: int) -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=queue_size) as pool:
        for _ in range(1 + queue_size):
            await pool.submit(gate)
        runs = [asyncio.create_task(pool.run(echo, n, key="page", coalesce=True)) for n in range(4)]
        other = asyncio.create_task(pool.run(echo, 9, key="page"))
        await turns()
        assert pool.stats().waiting == 5
        gate.open()
        assert await asyncio.gather(*runs) == [0, 0, 0, 0]
        assert await other == 9
        assert pool.stats().coalesced == 3
        assert pool.stats().accepted == 3 + queue_size


async def test_a_submitter_that_has_joined_in_line_and_is_cancelled_then_leaves_the_job_to_the_others() -> None:
    gate, slow = Gate(), Gate()
    async with WorkerPool(max_workers=1, queue_size=0) as pool:
        await pool.submit(gate)
        runs = [asyncio.create_task(pool.run(slow, n, key="page", coalesce=True)) for n in range(3)]
        await turns()
        gate.open()
        while not pool.stats().coalesced:
            await asyncio.sleep(0)
        runs[1].cancel()  # it has been told, and has not woken yet
        await turns()
        assert (pool.stats().running, pool.stats().cancelled) == (1, 0)
        runs[0].cancel()
        await turns()
        assert pool.stats().running == 1
        runs[2].cancel()
        await asyncio.wait(runs)
        assert (pool.stats().running, pool.stats().cancelled) == (0, 1)


async def test_a_job_that_all_have_left_before_they_woke_is_cancelled() -> None:
    gate, slow = Gate(), Gate()
    async with WorkerPool(max_workers=1, queue_size=0) as pool:
        await pool.submit(gate)
        runs = [asyncio.create_task(pool.run(slow, n, key="page", coalesce=True)) for n in range(2)]
        await turns()
        gate.open()
        while not pool.stats().coalesced:
            await asyncio.sleep(0)
        for run in runs:
            run.cancel()
        await asyncio.wait(runs)
        assert (pool.stats().running, pool.stats().cancelled) == (0, 1)


async def test_a_job_whose_last_sharer_is_cancelled_before_it_wakes_is_cancelled() -> None:
    """On a loop that runs callbacks in another order, the first may have gone by then: here it is said to have."""
    gate, slow = Gate(), Gate()
    async with WorkerPool(max_workers=1, queue_size=0) as pool:
        await pool.submit(gate)
        runs = [asyncio.create_task(pool.submit(slow, n, key="page", coalesce=True)) for n in range(2)]
        await turns()
        gate.open()
        while not pool.stats().coalesced:
            await asyncio.sleep(0)
        (job,) = [run.job for run in pool._crew._runs.values() if run.job is not None]
        assert not job.is_left_by_all()
        runs[1].cancel()
        await asyncio.wait(runs)
        assert (pool.stats().running, pool.stats().cancelled) == (0, 1)


async def test_a_job_that_joins_in_line_gets_its_place_back() -> None:
    gate = Gate()

    async def parent() -> Any:
        return await pool.run(echo, 1, key="page", coalesce=True)

    async with WorkerPool(max_workers=2, queue_size=0, submit_timeout=None) as pool:
        await pool.submit(gate)
        parents = [await pool.submit(parent)]
        await turns()
        gate.open()
        parents.append(await pool.submit(parent))
        assert [await each for each in parents] == [1, 1]
        assert (pool.stats().running, pool.stats().lending) == (0, 0)


class Resubmits:
    """An argument that submits another job when the one that has it lets go of it."""

    def __init__(self, pool: WorkerPool, handles: list[Any]) -> None:
        self.pool = pool
        self.handles = handles

    def __del__(self) -> None:
        self.handles.append(self.pool.submit_nowait(echo, 7, key="page", coalesce=True))


async def test_what_a_cancelled_job_lets_go_of_may_submit_and_does_not_join_that_job() -> None:
    gate = Gate()
    handles: list[Any] = []
    async with WorkerPool(max_workers=1) as pool:
        await pool.submit(gate)
        queued = await pool.submit(echo, Resubmits(pool, handles), key="page")
        queued.cancel()
        (again,) = handles
        assert again is not queued
        gate.open()
        assert await again == 7


async def test_who_needs_no_key_passes_those_in_line_that_wait_for_theirs_if_there_is_a_place() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=3, queue_size=0) as pool:
        await pool.submit(gate, key="a")
        blocked = asyncio.create_task(pool.submit(gate, key="a"))
        await turns()
        pool.submit_nowait(gate)
        with pytest.raises(PoolOverloaded):
            pool.submit_nowait(gate, key="a")
        other = asyncio.create_task(pool.submit(gate))
        last = asyncio.create_task(pool.submit(gate))
        await turns()
        assert (other.done(), last.done(), blocked.done()) == (True, False, False)
        with pytest.raises(PoolOverloaded):
            pool.submit_nowait(gate)
        gate.open()
        await asyncio.gather(blocked, last)


async def test_nobody_passes_one_in_line_who_is_about_to_get_a_place() -> None:
    """R3: who has come to stand in line in this turn is given what there is in the next."""
    gate = Gate()
    async with WorkerPool(max_workers=2, queue_size=0) as pool:
        await pool.submit(gate, key="a")
        blocked = asyncio.create_task(pool.submit(gate, key="a"))
        await turns()
        second = await pool.submit(gate, key="b")
        waits = asyncio.create_task(pool.submit(gate))
        await turns()
        second.cancel()
        await second.wait()
        with pytest.raises(PoolOverloaded):
            pool.submit_nowait(gate)
        await turns()
        assert waits.done()
        gate.open()
        await blocked


async def test_a_job_that_has_ended_while_its_end_was_being_made_is_ended_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from weirpool._job import Job

    gate = Gate()
    made = Job.cancelled

    def cancelled(job: Any, *arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(Job, "cancelled", made)
        job.cancel()  # somebody's finalizer
        return made(job, *arguments, **options)

    async with WorkerPool(max_workers=1) as pool:
        await pool.submit(gate)
        queued = await pool.submit(echo, 1, key="a")
        monkeypatch.setattr(Job, "cancelled", cancelled)
        queued.cancel()
        assert (pool.stats().queued, pool.stats().cancelled) == (0, 1)
        gate.open()


async def test_a_job_that_its_caller_runs_goes_on_for_whoever_has_joined_it() -> None:
    """R7: the caller has gone."""
    gate, other = Gate(), Gate()
    async with WorkerPool(max_workers=1, queue_size=0, overload="caller_runs") as pool:
        await pool.submit(other)
        caller = asyncio.create_task(pool.submit(gate, key="one", coalesce=True))
        await turns()
        joined = await pool.submit(gate, key="one", coalesce=True)
        caller.cancel()
        await turns()
        assert caller.cancelled()
        assert not joined.done()
        gate.open()
        other.open()
        await joined
