"""What becomes of what is too much: each policy does as it says, loses no job, and says why and when to come again."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Literal

import pytest

from tests.support import FOREVER, Clock, Gate, balanced, echo, refusals, sleep, turns
from weirpool import JobCancelled, JobState, JobTimeout, PoolClosed, PoolOverloaded, WorkerPool, current_job
from weirpool.events import JobEnded, Observer, SubmitRefused
from weirpool.policies import CallerRuns, CoDel, DropOldest, EarlyRefusal, Reject, Wait

if TYPE_CHECKING:
    from weirpool.policies import OverloadController

WhenFull = Literal["wait", "reject", "drop_oldest", "caller_runs"]


class Scripted:
    """A policy that does as a test says."""

    newest_first = False

    def __init__(self, *, refuse: bool = False, older_than: float | None = None, when_full: WhenFull = "wait") -> None:
        self.refuse = refuse
        self.older_than = older_than
        self.when_full: WhenFull = when_full
        self.asked: list[tuple[int, int]] = []
        self.idled = 0

    def controller(self) -> OverloadController:
        return self

    def refuses(self, queued: int, limit: int, /) -> bool:
        self.asked.append((queued, limit))
        return self.refuse

    def sheds(self, now: float, waited: float, /) -> bool:
        return self.older_than is not None and waited > self.older_than

    def idle(self, now: float, /) -> None:
        self.idled += 1


# Which policy -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("overload", "takes"), [("wait", 0.1), (Wait(), 0.1), ("reject", 0.0), (Reject(), 0.0)])
async def test_a_full_pool_lets_submitters_wait_or_refuses_them_at_once(overload: Any, takes: float, clock: Clock) -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=1, submit_timeout=0.1, overload=overload) as pool:
        for _ in range(2):
            await pool.submit(gate)
        clock.start()
        with pytest.raises(PoolOverloaded) as refused:
            await pool.submit(echo, 1)
        assert clock.shows(takes)
        assert refused.value.reason == ("timeout" if takes else "full")
        assert (refused.value.depth, refused.value.limit) == (1, 1)
        assert refused.value.retry_after >= 1
        with pytest.raises(PoolOverloaded):
            pool.submit_nowait(echo, 1)
        gate.open()


@pytest.mark.parametrize("bad", ["", "drop", "Wait", 3, None, Wait, object()])
def test_what_is_no_overload_policy_is_refused(bad: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="overload must be "):
        WorkerPool(overload=bad)


# Dropping the oldest ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overload", ["drop_oldest", DropOldest()])
async def test_a_full_queue_drops_its_oldest_job_for_a_new_one_and_tells_its_handle(overload: Any, clock: Clock) -> None:
    ended: list[tuple[int, JobState, str]] = []

    class Ear(Observer):
        def job_ended(self, event: JobEnded) -> None:
            ended.append((event.id, event.state, type(event.error).__name__))

    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=2, overload=overload, observers=[Ear()]) as pool:
        running = await pool.submit(gate)
        handles = [await pool.submit(echo, n) for n in range(2)]
        await asyncio.sleep(0.1)
        handles += [pool.submit_nowait(echo, 2), await pool.submit(echo, 3)]
        for handle in handles[:2]:
            assert handle.state is JobState.CANCELLED
            with pytest.raises(PoolOverloaded) as dropped:
                await handle
            assert (dropped.value.reason, dropped.value.limit) == ("dropped", 2)
            assert dropped.value.waited == pytest.approx(0.1, abs=clock.tolerance)
            assert "has dropped a job that waited for" in str(dropped.value)
            with pytest.raises(PoolOverloaded):
                handle.result()
        assert ended == [(2, JobState.CANCELLED, "PoolOverloaded"), (3, JobState.CANCELLED, "PoolOverloaded")]
        assert (pool.stats().queued, pool.stats().cancelled) == (2, 2)
        assert balanced(pool)
        gate.open()
        assert [await handle for handle in handles[2:]] == [2, 3]
        await running
    assert pool.report is not None
    assert pool.report.cancelled_queued == 2


def test_a_policy_that_wants_something_else_done_when_the_pool_is_full_is_refused() -> None:
    policy: Any = Scripted(when_full="drop_all")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^overload.when_full must be one of 'wait', .* got 'drop_all'"):
        WorkerPool(overload=policy)


async def test_a_policy_that_submits_does_not_make_the_queue_longer_than_it_may_be() -> None:
    class Submits(Scripted):
        def refuses(self, queued: int, limit: int, /) -> bool:
            if again:
                again.pop()
                pool.submit_nowait(gate)
            return False

    gate = Gate()
    again: list[bool] = []
    async with WorkerPool(max_workers=1, queue_size=1, submit_timeout=0, overload=Submits()) as pool:
        await pool.submit(gate)
        again.append(True)
        with pytest.raises(PoolOverloaded):
            await pool.submit(gate)
        assert pool.stats().queued == 1
        gate.open()


async def test_where_nothing_waits_there_is_nothing_to_drop() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=0, overload="drop_oldest") as pool:
        await pool.submit(gate)
        with pytest.raises(PoolOverloaded) as refused:
            await pool.submit(echo, 1)
        assert refused.value.reason == "full"
        gate.open()


async def test_a_dropped_jobs_deadline_is_forgotten() -> None:
    gate = Gate()
    loop = asyncio.get_running_loop()
    async with WorkerPool(max_workers=1, queue_size=1, overload="drop_oldest") as pool:
        await pool.submit(gate)
        dropped = await pool.submit(echo, 1, deadline=loop.time() + 0.1)
        await pool.submit(echo, 2)
        await asyncio.sleep(0.2)
        assert dropped.state is JobState.CANCELLED
        assert pool.stats().timed_out == 0
        gate.open()


# Running in the caller ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overload", ["caller_runs", CallerRuns()])
async def test_a_job_that_finds_no_room_is_run_while_its_submitter_waits(overload: Any) -> None:
    gate = Gate()
    ran: list[str] = []

    async def job() -> str:
        this = current_job()
        assert this is not None
        ran.append(this.name)
        await asyncio.sleep(0.1)
        stats = pool.stats()
        assert (stats.running, stats.lending) == (2, 1)
        assert balanced(pool)
        return "done"

    async with WorkerPool(max_workers=1, queue_size=1, overload=overload) as pool:
        for _ in range(2):
            await pool.submit(gate)
        handle = await pool.submit(job, name="mine")
        assert handle.done()
        assert (await handle, ran) == ("done", ["mine"])
        assert await pool.run(job) == "done"
        with pytest.raises(PoolOverloaded):
            pool.submit_nowait(job)
        assert (pool.stats().running, pool.stats().lending, pool.stats().succeeded) == (1, 0, 2)
        gate.open()


async def test_what_a_caller_runs_has_its_own_deadline_and_outcome() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=0, overload="caller_runs") as pool:
        await pool.submit(gate)
        late = await pool.submit(sleep, FOREVER, timeout=0.1)
        with pytest.raises(JobTimeout):
            await late
        with pytest.raises(ZeroDivisionError):
            await pool.run(lambda: sleep(1 // 0))
        assert balanced(pool)
        gate.open()


async def test_nobody_runs_a_job_while_the_pool_is_paused() -> None:
    async with WorkerPool(max_workers=1, queue_size=0, overload="caller_runs") as pool:
        pool.pause()
        submitting = asyncio.create_task(pool.submit(echo, 1))
        await turns()
        assert (pool.stats().running, pool.stats().waiting) == (0, 1)
        pool.resume()
        assert await (await submitting) == 1


async def test_cancelling_who_runs_a_job_cancels_that() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=0, overload="caller_runs") as pool:
        await pool.submit(gate)
        submitting = asyncio.create_task(pool.submit(sleep, FOREVER))
        await turns()
        assert pool.stats().lending == 1
        submitting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await submitting
        assert (pool.stats().cancelled, pool.stats().running, pool.stats().lending) == (1, 1, 0)
        gate.open()


async def test_closing_the_coroutine_that_runs_a_job_cancels_that() -> None:
    """As happens to what is left when a loop is closed: it can't wait any more."""
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=0, overload="caller_runs") as pool:
        await pool.submit(gate)
        submitting: Any = pool.submit(sleep, FOREVER)
        submitting.send(None)
        assert pool.stats().lending == 1
        submitting.close()
        await turns()
        assert (pool.stats().cancelled, pool.stats().running) == (1, 1)
        gate.open()


async def test_a_job_that_its_caller_runs_may_wait_for_the_pool() -> None:
    gate = Gate()

    async def job() -> Any:
        return 1 + await (await pool.submit(echo, 6))

    async with WorkerPool(max_workers=1, queue_size=1, overload="caller_runs") as pool:
        await pool.submit(gate)
        await pool.submit(gate)
        assert await pool.run(job) == 7
        assert (pool.stats().running, pool.stats().lending) == (1, 0)
        gate.open()


@pytest.mark.complains
async def test_what_a_caller_runs_ends_with_the_pool() -> None:
    pool = WorkerPool(max_workers=1, queue_size=0, overload="caller_runs", shutdown_timeout=0.2, cancel_grace=0.1)
    async with pool:
        await pool.submit(sleep, FOREVER)
        submitting = asyncio.create_task(pool.submit(sleep, FOREVER))
        await turns()
    handle = await submitting
    with pytest.raises(JobCancelled):
        await handle
    with pytest.raises(PoolClosed):
        await pool.submit(echo, 1)
    assert pool.report is not None
    assert pool.report.cancelled_running == 2


# Shedding and early refusal -----------------------------------------------------------------------------------------------


async def test_an_early_refusal_says_so_and_leaves_free_places_alone() -> None:
    refused_for: list[str] = []

    class Ear(Observer):
        def submit_refused(self, event: SubmitRefused) -> None:
            refused_for.append(event.reason)

    gate, policy = Gate(), Scripted()
    async with WorkerPool(max_workers=2, queue_size=5, overload=policy, observers=[Ear()]) as pool:
        for _ in range(2):
            await pool.submit(gate)
        assert policy.asked == []
        await pool.submit(gate)
        policy.refuse = True
        with pytest.raises(PoolOverloaded, match="refuses some early") as refused:
            await pool.submit(gate)
        assert (refused.value.reason, refused.value.depth, refused.value.limit) == ("early", 1, 5)
        assert policy.asked == [(0, 5), (1, 5)]
        assert (pool.stats().refused, refused_for) == (refusals(early=1), ["early"])
        gate.open()


async def test_early_refusals_become_more_the_fuller_the_queue_is() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=200, overload=EarlyRefusal(low=0.5, high=0.9)) as pool:
        await pool.submit(gate)
        refused: list[int] = []
        for _ in range(600):
            try:
                pool.submit_nowait(echo, 1)
            except PoolOverloaded:
                refused.append(pool.stats().queued)
        assert min(refused) > 100
        assert pool.stats().queued <= 180
        assert pool.stats().refused["early"] == len(refused) > 100
        gate.open()


@pytest.mark.virtual
async def test_what_has_waited_too_long_is_shed_when_its_turn_comes() -> None:
    policy = Scripted(older_than=0.5)
    async with WorkerPool(max_workers=1, queue_size=10, overload=policy) as pool:
        await pool.submit(sleep, 1.0)
        old = [await pool.submit(echo, n) for n in range(3)]
        await asyncio.sleep(0.8)
        young = await pool.submit(echo, 7)
        assert await young == 7
        for handle in old:
            assert handle.state is JobState.CANCELLED
            with pytest.raises(PoolOverloaded, match="which is too long") as shed:
                await handle
            assert shed.value.reason == "shed"
            assert shed.value.waited == pytest.approx(1.0)
        assert (pool.stats().cancelled, pool.stats().succeeded) == (3, 2)
        assert policy.idled > 0
        assert balanced(pool)


@pytest.mark.virtual
async def test_all_that_waits_may_be_shed_at_once() -> None:
    policy = Scripted(older_than=0.5)
    async with WorkerPool(max_workers=1, queue_size=10, overload=policy) as pool:
        await pool.submit(sleep, 1.0)
        old = [await pool.submit(echo, n) for n in range(3)]
        await pool.wait_idle()
        assert all(handle.state is JobState.CANCELLED for handle in old)
        assert await pool.run(echo, 1) == 1


async def test_no_more_run_than_may_where_what_is_shed_has_been_waited_for() -> None:
    """R2: who has waited for it has its place back in that moment, and so there is none for the next in the queue."""
    policy = Scripted()
    gates = [Gate(), Gate()]

    async def parent() -> str:
        pool.submit_nowait(gates[0])
        child = pool.submit_nowait(echo, 1)
        pool.submit_nowait(gates[1])
        with pytest.raises(PoolOverloaded):
            await child
        await asyncio.sleep(0.1)
        return "told"

    async with WorkerPool(max_workers=1, overload=policy) as pool:
        job = await pool.submit(parent)
        await asyncio.sleep(0.05)
        policy.older_than = 0.04
        pool.submit_nowait(echo, 2)
        gates[0].open()
        await turns()
        assert (pool.stats().running, pool.stats().lending) == (1, 0)
        gates[1].open()
        assert await job == "told"


async def test_the_newest_job_is_taken_first_while_the_policy_says_so() -> None:
    order: list[int] = []

    async def note(number: int) -> None:
        order.append(number)

    policy = Scripted()
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=10, overload=policy) as pool:
        await pool.submit(gate)
        handles = [await pool.submit(note, n) for n in range(5)]
        handles[4].cancel()
        policy.newest_first = True
        gate.open()
        await handles[2].wait()
        policy.newest_first = False
        await pool.wait_idle()
    assert order[:2] == [3, 2]
    assert sorted(order) == [0, 1, 2, 3]


@pytest.mark.virtual
async def test_codel_sheds_from_a_queue_that_stands_and_not_from_one_that_comes_and_goes() -> None:
    async with WorkerPool(max_workers=1, queue_size=1000, overload=CoDel(target=0.1, interval=1.0)) as pool:
        for _ in range(20):  # bursts
            handles = [await pool.submit(sleep, 0.05) for _ in range(5)]
            await pool.wait_idle()
            assert all(handle.state is JobState.SUCCEEDED for handle in handles)
            await asyncio.sleep(0.1)
        handles = []
        for _ in range(400):  # twice as many as it can do
            handles.append(await pool.submit(sleep, 0.05))
            await asyncio.sleep(0.025)
        await pool.wait_idle()
        shed = [handle for handle in handles if handle.state is JobState.CANCELLED]
        assert 100 < len(shed) < 300
        assert len(shed) + sum(handle.state is JobState.SUCCEEDED for handle in handles) == 400
        assert balanced(pool)


@pytest.mark.complains
@pytest.mark.parametrize("where", ["refuses", "sheds", "idle", "newest_first"])
async def test_a_policy_that_raises_is_logged_and_not_asked_again(
    where: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Scripted):
        def __getattribute__(self, name: str) -> Any:
            if name == where:
                raise ZeroDivisionError("a bug")
            return super().__getattribute__(name)

    async with WorkerPool(max_workers=1, queue_size=10, overload=Broken(), name="webhooks") as pool:
        handles = [await pool.submit(echo, n) for n in range(5)]
        assert [await handle for handle in handles] == list(range(5))
    logged = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.getMessage() for record in logged] == [
        "the overload policy of pool 'webhooks' raised, and is not asked any more"
    ]


@pytest.mark.virtual
@pytest.mark.parametrize("when_full", ["wait", "reject", "drop_oldest", "caller_runs"])
@pytest.mark.parametrize("queue_size", [0, 1, 3])
async def test_no_policy_loses_a_wake_up_or_a_place(when_full: WhenFull, queue_size: int) -> None:
    async with WorkerPool(max_workers=2, queue_size=queue_size, submit_timeout=0.2, overload=when_full) as pool:

        async def producer(number: int) -> None:
            for step in range(5):
                try:
                    await pool.submit(sleep, 0.01)
                except PoolOverloaded:
                    await asyncio.sleep(0.01)
                if step == number % 5:
                    await asyncio.sleep(0.005)

        producers = [asyncio.create_task(producer(n)) for n in range(10)]
        await asyncio.sleep(0.02)
        for task in producers[::3]:
            task.cancel()
        await asyncio.gather(*producers, return_exceptions=True)
        await pool.wait_idle()
        assert (pool.stats().waiting, pool._crew.free) == (0, 2)
        assert balanced(pool)
        for _ in range(2):
            assert await pool.run(echo, 1) == 1
