"""R7: a cancelled queued job never starts and a running one's task is cancelled; cancelling an awaiter touches no job."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tests.support import FOREVER, Gate, Stubborn, adds_up, balanced, echo, fail, refusals, sleep, turns
from weirpool import JobCancelled, JobHandle, JobState, JobTimeout, WorkerPool, current_job

if TYPE_CHECKING:
    from tests.support import Clock


class Witness:
    """A job that notes its starts and cancellations, and then does what it was told."""

    def __init__(self, then: str = "raise", cleanup: float = 0.0) -> None:
        self.starts = 0
        self.cancellations = 0
        self.task: asyncio.Task[Any] | None = None
        self._then = then
        self._cleanup = cleanup

    async def __call__(self) -> str:
        self.starts += 1
        self.task = asyncio.current_task()
        try:
            await asyncio.sleep(FOREVER)
        except asyncio.CancelledError:
            self.cancellations += 1
            try:
                await asyncio.sleep(self._cleanup)
            except asyncio.CancelledError:
                self.cancellations += 1
            if self._then == "return":
                return "all the same"
            if self._then == "fail":
                raise LookupError("while cleaning up") from None
            raise
        return "never"


async def cancelled(handle: JobHandle[Any]) -> JobCancelled:
    """Return the JobCancelled that a job ends with."""
    with pytest.raises(JobCancelled) as caught:
        await handle
    assert handle.state is JobState.CANCELLED
    return caught.value


# A queued job ------------------------------------------------------------------------------------------------------------


async def test_a_queued_job_that_is_cancelled_never_starts() -> None:
    gate, witness = Gate(), Witness()
    async with WorkerPool(max_workers=1) as pool:
        await pool.submit(gate)
        handle = await pool.submit(witness)
        assert handle.cancel() is True
        assert handle.state is JobState.CANCELLED, "at once, without a turn of the loop"
        error = await cancelled(handle)
        assert (error.reason, error.abandoned, error.job) == ("cancel", False, handle.name)
        gate.open()
    assert witness.starts == 0
    assert pool.report is not None
    assert (pool.report.cancelled_queued, pool.report.cancelled_running) == (1, 0)


async def test_the_place_of_a_queued_job_that_is_cancelled_is_free_at_once() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=1, submit_timeout=0) as pool:
        await pool.submit(gate)
        for _ in range(10):
            handle = await pool.submit(echo, 1)
            assert pool.stats().queued == 1
            handle.cancel()
            assert pool.stats().queued == 0
        gate.open()


async def test_the_place_of_a_queued_job_that_is_cancelled_goes_to_a_submitter_who_waits() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=1, submit_timeout=None) as pool:
        await pool.submit(gate)
        handle = await pool.submit(echo, 1)
        submitting = asyncio.create_task(pool.submit(echo, 2))
        await turns()
        assert not submitting.done()
        handle.cancel()
        await turns()
        assert submitting.done()
        gate.open()
        assert await (await submitting) == 2


async def test_all_who_await_a_queued_job_learn_that_it_was_cancelled() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1) as pool:
        await pool.submit(gate)
        handle = await pool.submit(echo, 1)
        awaiting = [asyncio.create_task(cancelled(handle)) for _ in range(3)]
        await turns()
        handle.cancel()
        errors = await asyncio.gather(*awaiting)
        assert len({id(error) for error in errors}) == 3
        gate.open()


# A running job -----------------------------------------------------------------------------------------------------------


async def test_a_running_job_that_is_cancelled_has_its_task_cancelled_once() -> None:
    witness = Witness()
    async with WorkerPool() as pool:
        handle = await pool.submit(witness)
        await turns()
        assert handle.cancel() is True
        assert handle.state is JobState.RUNNING, "until its task has ended"
        error = await cancelled(handle)
    assert (error.reason, error.abandoned) == ("cancel", False)
    assert (witness.starts, witness.cancellations) == (1, 1)
    assert witness.task is not None
    assert witness.task.done()
    assert pool.report is not None
    assert (pool.report.cancelled_queued, pool.report.cancelled_running) == (0, 1)


async def test_a_job_that_is_cancelled_before_its_first_step_does_not_run() -> None:
    witness = Witness()
    async with WorkerPool(max_workers=1) as pool:
        handle = pool.submit_nowait(witness)
        assert handle.state is JobState.RUNNING
        handle.cancel()
        await cancelled(handle)
        assert await pool.run(echo, 1) == 1
    assert witness.starts == 0


async def test_cancelling_twice_does_not_hit_the_job_while_it_cleans_up(clock: Clock) -> None:
    witness = Witness(cleanup=0.2)
    async with WorkerPool(cancel_grace=1.0) as pool:
        handle = await pool.submit(witness)
        await turns()
        clock.start()
        for _ in range(5):
            assert handle.cancel() is True
            await turns(2)
        await cancelled(handle)
        assert clock.shows(0.2)
        assert handle.cancel() is False, "it has ended"
    assert witness.cancellations == 1


@pytest.mark.complains
async def test_neither_its_deadline_nor_the_pool_hits_a_cancelled_job_while_it_cleans_up(clock: Clock) -> None:
    witness = Witness(cleanup=0.2)
    async with WorkerPool(shutdown_timeout=1.0, cancel_grace=1.0) as pool:
        handle = await pool.submit(witness, timeout=0.1)
        await turns()
        clock.start()
        handle.cancel()
    assert clock.shows(0.2)
    assert (await cancelled(handle)).reason == "cancel"
    assert witness.cancellations == 1


async def test_cancelling_a_job_that_cleans_up_after_its_deadline_changes_nothing() -> None:
    witness = Witness(cleanup=0.1)
    async with WorkerPool(cancel_grace=1.0) as pool:
        handle = await pool.submit(witness, timeout=0.05)
        while not witness.cancellations:
            await asyncio.sleep(0.01)
        assert handle.cancel() is True
        with pytest.raises(JobTimeout) as caught:
            await handle
    assert not caught.value.abandoned
    assert witness.cancellations == 1


async def test_a_cancelled_job_that_returns_a_value_has_succeeded() -> None:
    witness = Witness("return", cleanup=0.01)
    async with WorkerPool() as pool:
        handle = await pool.submit(witness)
        await turns()
        handle.cancel()
        assert await handle == "all the same"
    assert handle.state is JobState.SUCCEEDED


async def test_a_cancelled_job_that_raises_has_failed() -> None:
    witness = Witness("fail", cleanup=0.01)
    async with WorkerPool() as pool:
        handle = await pool.submit(witness)
        await turns()
        handle.cancel()
        with pytest.raises(LookupError):
            await handle
    assert handle.state is JobState.FAILED


async def test_a_cancelled_job_with_children_cancels_them() -> None:
    witnesses = [Witness(), Witness()]

    async def family() -> None:
        async with asyncio.TaskGroup() as group:
            for witness in witnesses:
                group.create_task(witness())

    async with WorkerPool() as pool:
        handle = await pool.submit(family)
        await turns()
        handle.cancel()
        await cancelled(handle)
    assert [witness.cancellations for witness in witnesses] == [1, 1]


async def test_cancelling_a_job_that_has_ended_changes_nothing() -> None:
    async with WorkerPool() as pool:
        handle = await pool.submit(echo, 1)
        await handle
        assert handle.cancel() is False
        assert (await handle, handle.state) == (1, JobState.SUCCEEDED)
    assert handle.cancel() is False, "nor after the pool has closed"


async def test_a_job_may_cancel_itself_through_its_handle() -> None:
    after: list[str] = []

    async def job() -> None:
        handle = current_job()
        assert handle is not None
        assert handle.cancel() is True
        await asyncio.sleep(0)
        after.append("never")

    async with WorkerPool() as pool:
        assert (await cancelled(await pool.submit(job))).reason == "cancel"
    assert not after


async def test_one_job_may_cancel_another() -> None:
    async with WorkerPool() as pool:
        victim = await pool.submit(sleep, FOREVER)

        async def job() -> bool:
            return victim.cancel()

        assert await pool.run(job) is True
        await cancelled(victim)


# Whoever awaits ----------------------------------------------------------------------------------------------------------


async def test_cancelling_an_awaiter_touches_neither_the_job_nor_the_other_awaiters() -> None:
    gate, witness = Gate(), Witness()

    async def job() -> str:
        await gate()
        return "done"

    async with WorkerPool() as pool:
        handle = await pool.submit(job)

        async def awaiter() -> str:
            return await handle

        tasks = [asyncio.create_task(awaiter()) for _ in range(3)]
        waiting = asyncio.create_task(handle.wait())
        await turns()
        tasks[1].cancel()
        waiting.cancel()
        await turns()
        assert tasks[1].cancelled()
        assert waiting.cancelled()
        assert handle.state is JobState.RUNNING
        gate.open()
        assert [await tasks[0], await tasks[2], await handle] == ["done"] * 3
    assert witness.cancellations == 0


async def test_an_awaiter_with_a_timeout_of_its_own_touches_not_the_job() -> None:
    async with WorkerPool() as pool:
        handle = await pool.submit(sleep, 0.1, "done")
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(0.02):
                await handle
        assert not isinstance(caught.value, JobTimeout)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(handle, 0.02)
        assert await handle == "done"


async def test_a_cancelled_job_does_not_look_to_its_awaiter_as_if_that_were_cancelled() -> None:
    async with WorkerPool() as pool:
        handle = await pool.submit(sleep, FOREVER)
        await turns()
        handle.cancel()
        async with asyncio.TaskGroup() as group:  # which ignores children that end in CancelledError
            awaiting = group.create_task(cancelled(handle))
        assert isinstance(awaiting.result(), JobCancelled)
    assert not issubclass(JobCancelled, asyncio.CancelledError)


# run() -------------------------------------------------------------------------------------------------------------------


async def test_cancelling_run_cancels_the_job_and_waits_for_it(clock: Clock) -> None:
    witness = Witness(cleanup=0.2)
    async with WorkerPool(cancel_grace=1.0) as pool:
        running = asyncio.create_task(pool.run(witness))
        await turns()
        clock.start()
        running.cancel()
        await asyncio.wait([running])
        assert clock.shows(0.2)
        assert running.cancelled()
        assert pool.stats().cancelled == 1
    assert witness.cancellations == 1


async def test_cancelling_run_while_its_job_queues_takes_the_job_out_at_once() -> None:
    gate, witness = Gate(), Witness()
    async with WorkerPool(max_workers=1) as pool:
        await pool.submit(gate)
        running = asyncio.create_task(pool.run(witness))
        await turns()
        running.cancel()
        await turns()
        assert running.cancelled()
        assert (pool.stats().queued, pool.stats().cancelled) == (0, 1)
        gate.open()
    assert witness.starts == 0


async def test_cancelling_run_while_it_waits_for_room_leaves_no_trace() -> None:
    gate, witness = Gate(), Witness()
    async with WorkerPool(max_workers=1, queue_size=0) as pool:
        await pool.submit(gate)
        running = asyncio.create_task(pool.run(witness))
        await turns()
        running.cancel()
        await turns()
        assert running.cancelled()
        assert (pool.stats().accepted, pool.stats().waiting) == (1, 0)
        gate.open()
    assert witness.starts == 0


async def test_cancelling_run_again_neither_hurries_the_job_nor_leaves_it_alone(clock: Clock) -> None:
    witness = Witness(cleanup=0.2)
    async with WorkerPool(cancel_grace=1.0) as pool:
        running = asyncio.create_task(pool.run(witness))
        await turns()
        clock.start()
        for _ in range(4):
            running.cancel()
            await turns(2)
        await asyncio.wait([running])
        assert clock.shows(0.2)
        assert running.cancelled()
    assert witness.cancellations == 1


@pytest.mark.complains
async def test_cancelling_run_of_a_stubborn_job_ends_after_the_grace(clock: Clock) -> None:
    stubborn = Stubborn()
    async with WorkerPool(cancel_grace=0.2) as pool:
        running = asyncio.create_task(pool.run(stubborn))
        await turns()
        clock.start()
        running.cancel()
        await asyncio.wait([running])
        assert clock.shows(0.2)
        assert running.cancelled()
        assert pool.stats().abandoned == 1
        await stubborn.release()


@pytest.mark.parametrize("then", ["return", "raise"])
async def test_run_that_is_cancelled_raises_cancelled_whatever_its_job_makes_of_it(then: str) -> None:
    witness = Witness(then)
    async with WorkerPool() as pool:
        running = asyncio.create_task(pool.run(witness))
        await turns()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert pool.stats().running == 0


async def test_a_timeout_around_run_ends_it_and_its_job() -> None:
    witness = Witness()
    async with WorkerPool() as pool:
        task = asyncio.current_task()
        assert task is not None
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(0.02):
                await pool.run(witness)
        assert not isinstance(caught.value, JobTimeout)
        assert not task.cancelling()
        assert pool.stats().running == 0
    assert witness.cancellations == 1


async def test_a_job_that_is_cancelled_by_others_does_not_cancel_run() -> None:
    async with WorkerPool() as pool:
        running = asyncio.create_task(pool.run(sleep, FOREVER, name="job"))
        await turns()
        [task] = [task for task in asyncio.all_tasks() if task.get_name() == "job"]
        task.cancel()
        with pytest.raises(JobCancelled) as caught:
            await running
        assert caught.value.reason == "task"
        assert not running.cancelled()


async def test_run_inside_a_job_passes_a_cancellation_down_the_generations() -> None:
    witnesses = [Witness(), Witness(), Witness()]

    async def generation(number: int) -> None:
        if number == 2:
            await witnesses[2]()
        child = asyncio.create_task(witnesses[number]())
        try:
            await pool.run(generation, number + 1)
        finally:
            child.cancel()
            await asyncio.wait([child])

    async with WorkerPool() as pool:
        handle = await pool.submit(generation, 0)
        await turns(20)
        assert [witness.starts for witness in witnesses] == [1, 1, 1]
        handle.cancel()
        await cancelled(handle)
        assert pool.stats().running == 0
    assert [witness.cancellations for witness in witnesses] == [1, 1, 1]


# Submitters who wait -----------------------------------------------------------------------------------------------------


async def test_cancelling_a_waiting_submit_leaves_no_trace() -> None:
    gate, witness = Gate(), Witness()
    async with WorkerPool(max_workers=1, queue_size=1, submit_timeout=0.3) as pool:
        await pool.submit(gate)
        await pool.submit(gate)
        before = pool.stats()
        submitting = asyncio.create_task(pool.submit(witness))
        await turns()
        assert pool.stats().waiting == 1
        submitting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await submitting
        after = pool.stats()
        assert after.refused["cancelled"] == 1
        assert (after.accepted, after.queued, after.waiting) == (before.accepted, before.queued, 0)
        gate.open()
        await asyncio.sleep(0.4)  # nothing happens when its patience would have ended
        assert pool.stats().refused == refusals(cancelled=1)
    assert witness.starts == 0


# Cancellations that the pool did not ask for -----------------------------------------------------------------------------


@pytest.mark.virtual
async def test_a_cancel_scope_around_run_does_not_keep_the_loop_busy_while_the_job_cleans_up(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anyio cancels what is in a cancelled scope again at each turn of the loop."""
    loop: Any = asyncio.get_running_loop()
    turn, count = loop._run_once, 0

    def counted() -> None:
        nonlocal count
        count += 1
        assert count < 1000, "a busy loop"
        turn()

    monkeypatch.setattr(loop, "_run_once", counted)
    async with WorkerPool() as pool:
        clock.start()
        with anyio.move_on_after(0.1) as scope:
            await pool.run(Witness(cleanup=0.2))
        assert scope.cancelled_caught
        assert clock.shows(0.3)


async def test_closing_the_coroutine_of_a_waiting_submit_leaves_no_trace() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=0, submit_timeout=None) as pool:
        await pool.submit(gate)
        waiting = pool.submit(echo, 1)
        waiting.send(None)
        assert pool.stats().waiting == 1
        waiting.close()
        assert pool.stats().waiting == 0
        assert pool.stats().refused["cancelled"] == 1
        gate.open()
        assert await pool.run(echo, 2) == 2
    assert adds_up(pool.report)


async def test_a_job_that_raises_cancelled_error_by_itself_is_cancelled() -> None:
    async with WorkerPool() as pool:
        handle = await pool.submit(fail, asyncio.CancelledError("mine"))
        error = await cancelled(handle)
    assert (error.reason, error.abandoned) == ("self", False)


async def test_a_job_that_awaits_a_cancelled_task_is_cancelled_by_itself() -> None:
    async def job() -> None:
        task = asyncio.create_task(sleep(FOREVER))
        asyncio.get_running_loop().call_soon(task.cancel)
        await task

    async with WorkerPool(max_workers=1) as pool:
        assert (await cancelled(await pool.submit(job))).reason == "self"
        assert await pool.run(echo, 1) == 1


@pytest.mark.parametrize("started", [True, False])
@pytest.mark.parametrize("timeout", [None, FOREVER])
async def test_a_job_whose_task_a_stranger_cancels_is_cancelled(started: bool, timeout: float | None) -> None:
    witness = Witness()
    async with WorkerPool(max_workers=1) as pool:
        handle = pool.submit_nowait(witness, timeout=timeout)
        if started:
            await turns()
        [task] = [task for task in asyncio.all_tasks() if task.get_name() == handle.name]
        task.cancel()
        assert (await cancelled(handle)).reason == "task"
        assert await pool.run(echo, 1) == 1
        assert balanced(pool)
    assert witness.starts == witness.cancellations == (1 if started else 0)
    assert adds_up(pool.report)


async def test_a_job_that_swallows_a_strangers_cancellation_goes_on() -> None:
    async def job() -> str:
        try:
            await asyncio.sleep(FOREVER)
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)
        return "went on"

    async with WorkerPool(cancel_grace=0.005) as pool:
        handle = await pool.submit(job, timeout=FOREVER)
        await turns()
        [task] = [task for task in asyncio.all_tasks() if task.get_name() == handle.name]
        task.cancel()
        assert await handle == "went on"


async def test_a_job_that_survived_a_stranger_can_still_be_cancelled_and_timed_out() -> None:
    async def job() -> None:
        try:
            await asyncio.sleep(FOREVER)
        except asyncio.CancelledError:
            await asyncio.sleep(FOREVER)

    async with WorkerPool() as pool:
        for how in ("cancel", "timeout"):
            handle = await pool.submit(job, timeout=0.02 if how == "timeout" else None)
            await turns()
            [task] = [task for task in asyncio.all_tasks() if task.get_name() == handle.name]
            task.cancel()
            await turns()
            if how == "cancel":
                handle.cancel()
                assert (await cancelled(handle)).reason == "cancel"
            else:
                with pytest.raises(JobTimeout):
                    await handle


async def test_cancelling_a_job_does_not_cancel_the_next_one_in_its_place() -> None:
    """A cancellation that arrives a moment too late must find nobody."""
    first, second = Gate(), Witness("return")
    async with WorkerPool(max_workers=1) as pool:
        handle = await pool.submit(first)
        following = await pool.submit(second)
        await turns()
        first.open()
        while not handle.done():
            await asyncio.sleep(0)
        assert following.state is JobState.RUNNING
        assert handle.cancel() is False
        await turns()
        assert (second.starts, second.cancellations) == (1, 0)
        following.cancel()
        assert await following == "all the same"


class Submits:
    """An argument whose finalizer submits a job."""

    def __init__(self, pool: WorkerPool) -> None:
        self.pool = pool
        self.handle: list[JobHandle[Any]] = []

    def __del__(self) -> None:
        self.handle.append(self.pool.submit_nowait(echo, "from the finalizer"))


@pytest.mark.parametrize("how", ["cancelled", "timed out"])
async def test_the_finalizer_of_what_a_queued_job_lets_go_of_may_use_the_place_that_the_job_has_left(how: str) -> None:
    async with WorkerPool(max_workers=1, queue_size=1) as pool:
        gate = Gate()
        await pool.submit(gate)
        thing = Submits(pool)
        handles = thing.handle
        deadline = asyncio.get_running_loop().time() + 0.1 if how == "timed out" else None
        queued = await pool.submit(echo, thing, deadline=deadline)
        del thing
        if how == "cancelled":
            queued.cancel()
        else:
            await queued.wait()
        assert pool.stats().queued == 1
        assert balanced(pool)
        queued.exception()
        gate.open()
        assert await handles[0] == "from the finalizer"
