"""R6: `timeout` bounds the run, `deadline` run and queue, the tighter wins; a job inherits what its parent has left."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

import pytest

from tests.support import FOREVER, Gate, balanced, echo, sleep, turns
from weirpool import JobCancelled, JobHandle, JobState, JobTimeout, PoolOverloaded, WorkerPool, deadline_scope, remaining

if TYPE_CHECKING:
    from tests.support import Clock


def now() -> float:
    """Return the loop's time."""
    return asyncio.get_running_loop().time()


class Witness:
    """A job that notes whether it was started, and how often it was cancelled."""

    def __init__(self, cleanup: float = 0.0) -> None:
        self.starts = 0
        self.cancellations = 0
        self._cleanup = cleanup

    async def __call__(self) -> None:
        self.starts += 1
        try:
            await asyncio.sleep(FOREVER)
        except asyncio.CancelledError:
            self.cancellations += 1
            until = now() + self._cleanup
            while self._cleanup:
                try:
                    await asyncio.sleep(until - now())
                    break
                except asyncio.CancelledError:
                    self.cancellations += 1
            raise


async def ends_late(handle: JobHandle[Any]) -> JobTimeout:
    """Return the JobTimeout that a job ends with."""
    with pytest.raises(JobTimeout) as caught:
        await handle
    assert handle.state is JobState.TIMED_OUT
    return caught.value


# Whose time it is --------------------------------------------------------------------------------------------------------


async def test_timeout_ends_a_job_that_runs_too_long(clock: Clock) -> None:
    witness = Witness()
    async with WorkerPool() as pool:
        clock.start()
        error = await ends_late(await pool.submit(witness, timeout=0.2))
        assert clock.shows(0.2)
    assert (error.timeout, error.phase, error.abandoned) == (0.2, "running", False)
    assert isinstance(error, TimeoutError)
    assert (witness.starts, witness.cancellations) == (1, 1)
    assert error.__cause__ is None


async def test_timeout_does_not_count_the_time_in_the_queue() -> None:
    async with WorkerPool(max_workers=1) as pool:
        await pool.submit(sleep, 0.25)
        handle = await pool.submit(sleep, 0.1, "done", timeout=0.3)
        assert await handle == "done"


async def test_deadline_ends_a_job_that_runs_too_long(clock: Clock) -> None:
    witness = Witness()
    async with WorkerPool() as pool:
        clock.start()
        error = await ends_late(await pool.submit(witness, deadline=now() + 0.2))
        assert clock.shows(0.2)
    assert error.timeout == pytest.approx(0.2, abs=0.01)
    assert error.phase == "running"
    assert witness.cancellations == 1


async def test_deadline_counts_the_time_in_the_queue(clock: Clock) -> None:
    witness = Witness()
    async with WorkerPool(max_workers=1) as pool:
        clock.start()
        await pool.submit(sleep, 0.15)
        error = await ends_late(await pool.submit(witness, deadline=now() + 0.3))
        assert clock.shows(0.3)
    assert witness.starts == 1
    assert error.timeout == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize(("timeout", "deadline"), [(0.1, 0.3), (0.3, 0.1)])
async def test_the_tighter_of_timeout_and_deadline_wins(timeout: float, deadline: float, clock: Clock) -> None:
    async with WorkerPool() as pool:
        clock.start()
        error = await ends_late(await pool.submit(sleep, FOREVER, timeout=timeout, deadline=now() + deadline))
        assert clock.shows(0.1)
    assert error.timeout == pytest.approx(0.1, abs=0.01)


async def test_a_wide_deadline_becomes_the_tighter_one_while_the_job_queues(clock: Clock) -> None:
    async with WorkerPool(max_workers=1) as pool:
        clock.start()
        await pool.submit(sleep, 0.2)
        error = await ends_late(await pool.submit(sleep, FOREVER, timeout=0.25, deadline=now() + 0.3))
        assert clock.shows(0.3)
    assert error.timeout == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize(
    ("timeout", "bound"),
    [("default", 0.2), (0.1, 0.1), (0.3, 0.3), (None, None)],
)
async def test_job_timeout_is_the_default_and_the_jobs_own_goes_before(
    timeout: float | Literal["default"] | None, bound: float | None, clock: Clock
) -> None:
    async with WorkerPool(job_timeout=0.2) as pool:
        clock.start()
        if timeout == "default":
            handle = await pool.submit(sleep, 0.4)
        else:
            handle = await pool.submit(sleep, 0.4, timeout=timeout)
        if bound is None:
            await handle
            assert clock.shows(0.4)
        else:
            await ends_late(handle)
            assert clock.shows(bound)


async def test_run_and_submit_nowait_keep_time_too(clock: Clock) -> None:
    async with WorkerPool(job_timeout=0.1) as pool:
        clock.start()
        with pytest.raises(JobTimeout):
            await pool.run(sleep, FOREVER)
        await ends_late(pool.submit_nowait(sleep, FOREVER))
        with pytest.raises(JobTimeout):
            await pool.run(sleep, FOREVER, deadline=now() + 0.05)
        await ends_late(pool.submit_nowait(sleep, FOREVER, timeout=0.05))
        assert clock.shows(0.3)


async def test_a_job_that_ends_in_time_leaves_no_timer_behind() -> None:
    async with WorkerPool(job_timeout=FOREVER) as pool:
        assert await pool.run(echo, 1) == 1
        assert await pool.run(echo, 2, deadline=now() + FOREVER) == 2
    # Nothing that was armed for the jobs may hit this task, nor keep the loop from ending.
    await asyncio.sleep(0.01)


# In the queue ------------------------------------------------------------------------------------------------------------


async def test_a_job_whose_deadline_passes_in_the_queue_ends_at_its_deadline_and_never_starts(clock: Clock) -> None:
    witness = Witness()
    async with WorkerPool(max_workers=1) as pool:
        clock.start()
        running = await pool.submit(sleep, 0.4)
        handle = await pool.submit(witness, deadline=now() + 0.2)
        error = await ends_late(handle)
        assert clock.shows(0.2), "at its deadline, and not when a worker got free"
        await running
        await turns()
        assert balanced(pool)
    assert witness.starts == 0
    assert (error.phase, error.abandoned) == ("queued", False)
    assert error.timeout == pytest.approx(0.2, abs=0.01)


async def test_the_place_of_a_job_that_ran_out_of_time_in_the_queue_is_free_at_once(clock: Clock) -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=1, submit_timeout=None) as pool:
        clock.start()
        await pool.submit(gate)
        late = await pool.submit(echo, 1, deadline=now() + 0.2)
        with pytest.raises(PoolOverloaded):
            pool.submit_nowait(echo, 2)
        waited = await pool.submit(echo, 3)  # as soon as there is room
        assert clock.shows(0.2)
        assert late.done()
        assert pool.stats().queued == 1
        gate.open()
        assert await waited == 3
        await ends_late(late)


async def test_many_deadlines_in_the_queue_pass_each_at_its_time(clock: Clock) -> None:
    gate = Gate()
    ends: list[tuple[int, float]] = []

    async def follow(number: int, handle: JobHandle[Any]) -> None:
        await ends_late(handle)
        ends.append((number, clock.passed))

    async with WorkerPool(max_workers=1) as pool:
        clock.start()
        await pool.submit(gate)
        order = [7, 2, 9, 4, 1, 8, 3, 6, 5, 0]
        start = now()
        handles = [await pool.submit(echo, number, deadline=start + 0.1 + number * 0.03) for number in order]
        async with asyncio.TaskGroup() as group:
            for number, handle in zip(order, handles, strict=True):
                group.create_task(follow(number, handle))
        assert pool.stats().queued == 0
        gate.open()
    assert [number for number, _ in ends] == list(range(10))
    for number, at in ends:
        assert at == pytest.approx(0.1 + number * 0.03, abs=clock.tolerance)


async def test_a_job_whose_deadline_has_passed_already_never_starts() -> None:
    witness = Witness()
    async with WorkerPool(max_workers=1) as pool:
        on_a_free_place = await pool.submit(witness, deadline=now() - 1)
        assert (await ends_late(on_a_free_place)).phase == "queued"
        gate = Gate()
        await pool.submit(gate)
        queued = await pool.submit(witness, deadline=now() - 1)
        assert (await ends_late(queued)).phase == "queued"
        assert pool.stats().queued == 0
        gate.open()
    assert witness.starts == 0


@pytest.mark.parametrize("scope", [False, True])
@pytest.mark.parametrize("submit_timeout", [None, 5])
async def test_a_submitter_waits_for_room_no_longer_than_until_the_deadline(
    submit_timeout: float | None, scope: bool, clock: Clock
) -> None:
    witness = Witness()
    async with WorkerPool(max_workers=1, queue_size=0, submit_timeout=submit_timeout) as pool:
        await pool.submit(sleep, 0.2)
        clock.start()
        with pytest.raises(PoolOverloaded) as refused, deadline_scope(now() + 0.05 if scope else None):
            await pool.submit(witness, deadline=None if scope else now() + 0.05)
        assert clock.shows(0.05)
        assert refused.value.reason == "timeout"
        with pytest.raises(PoolOverloaded), deadline_scope(now()):
            await pool.run(witness)
        assert clock.shows(0.05)
        assert pool.stats().accepted == 1
    assert witness.starts == 0


async def test_a_timeout_does_not_end_a_job_in_the_queue() -> None:
    async with WorkerPool(max_workers=1, job_timeout=0.05) as pool:
        await pool.submit(sleep, 0.2, timeout=None)
        handle = await pool.submit(echo, "patient")
        assert await handle == "patient"


# What counts as out of time ----------------------------------------------------------------------------------------------


async def test_a_timeout_error_of_the_jobs_own_is_a_failure() -> None:
    async def impatient() -> None:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(FOREVER)

    async def raises() -> None:
        raise TimeoutError("mine")

    async with WorkerPool(job_timeout=0.3) as pool:
        for job in (impatient, raises):
            handle = await pool.submit(job)
            with pytest.raises(TimeoutError) as caught:
                await handle
            assert not isinstance(caught.value, JobTimeout)
            assert handle.state is JobState.FAILED


async def test_a_timeout_of_another_job_that_a_job_passes_on_is_its_failure() -> None:
    async def relay() -> None:
        await inner.run(sleep, FOREVER, timeout=0.01)

    async with WorkerPool(name="inner") as inner, WorkerPool(job_timeout=0.3) as pool:
        handle = await pool.submit(relay, name="relay")
        with pytest.raises(JobTimeout) as caught:
            await handle
        assert caught.value.job.startswith("sleep")
        assert handle.state is JobState.FAILED


async def test_a_value_that_a_job_returns_after_swallowing_its_deadline_comes_too_late() -> None:
    async def swallow() -> str:
        try:
            await asyncio.sleep(FOREVER)
        except asyncio.CancelledError:
            return "too late"
        return "never"

    async with WorkerPool() as pool:
        error = await ends_late(await pool.submit(swallow, timeout=0.02))
    assert error.__cause__ is None
    assert not error.abandoned


async def test_a_job_that_uncancels_itself_at_its_deadline_is_still_too_late() -> None:
    async def defiant() -> str:
        try:
            await asyncio.sleep(FOREVER)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()
        await asyncio.sleep(0.01)
        return "too late"

    async with WorkerPool() as pool:
        await ends_late(await pool.submit(defiant, timeout=0.02))


@pytest.mark.parametrize("wrapped", [False, True])
async def test_an_exception_after_the_deadline_is_the_cause_of_the_timeout(wrapped: bool) -> None:
    error = LookupError("while cleaning up")

    async def job() -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            if wrapped:
                await asyncio.sleep(0.01)
            raise error

    async with WorkerPool() as pool:
        timeout = await ends_late(await pool.submit(job, timeout=0.02))
    assert timeout.__cause__ is error


async def test_a_timeout_error_after_the_deadline_is_its_cause_if_it_is_the_jobs_own() -> None:
    error = TimeoutError("connection lost")

    async def job() -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            raise error

    async with WorkerPool() as pool:
        timeout = await ends_late(await pool.submit(job, timeout=0.02))
    assert timeout.__cause__ is error


async def test_a_job_may_clean_up_after_its_deadline(clock: Clock) -> None:
    witness = Witness(cleanup=0.2)
    async with WorkerPool(cancel_grace=1.0) as pool:
        clock.start()
        error = await ends_late(await pool.submit(witness, timeout=0.1))
        assert clock.shows(0.3)
    assert not error.abandoned
    assert witness.cancellations == 1


async def test_a_job_with_timeouts_of_its_own_inside_is_held_to_the_outer_one(clock: Clock) -> None:
    async def nested() -> None:
        async with asyncio.timeout(FOREVER), asyncio.TaskGroup() as group:
            group.create_task(sleep(FOREVER))
            await sleep(FOREVER)

    async with WorkerPool() as pool:
        clock.start()
        error = await ends_late(await pool.submit(nested, timeout=0.1))
        assert clock.shows(0.1)
    assert error.__cause__ is None


async def test_a_deadline_says_the_same_to_every_awaiter() -> None:
    async with WorkerPool() as pool:
        handle = await pool.submit(sleep, FOREVER, timeout=0.02)
        first, second = await asyncio.gather(ends_late(handle), ends_late(handle))
        assert first is not second, "each has an exception to raise of its own"
        assert str(first) == str(second)
        assert str(await ends_late(handle)) == str(first)


# What a job of a job inherits --------------------------------------------------------------------------------------------


async def test_a_job_of_a_job_has_what_is_left_of_its_parents_time(clock: Clock) -> None:
    seen: list[float | None] = []
    child_handles: list[JobHandle[Any]] = []

    async def child() -> None:
        seen.append(remaining())
        await asyncio.sleep(FOREVER)

    async def parent() -> None:
        await asyncio.sleep(0.1)
        child_handles.append(await pool.submit(child))
        child_handles.append(await pool.submit(child, timeout=FOREVER, deadline=now() + FOREVER))
        child_handles.append(pool.submit_nowait(child, timeout=None))

    async with WorkerPool() as pool:
        clock.start()
        await pool.run(parent, timeout=0.3)
        for handle in child_handles:
            await ends_late(handle)
            assert clock.shows(0.3)
    assert seen == [pytest.approx(0.2, abs=0.05)] * 3


@pytest.mark.parametrize("how", ["timeout", "deadline"])
async def test_a_job_of_a_job_may_ask_for_less(how: str, clock: Clock) -> None:
    async def parent() -> JobHandle[Any]:
        if how == "timeout":
            return await pool.submit(sleep, FOREVER, timeout=0.1)
        return await pool.submit(sleep, FOREVER, deadline=now() + 0.1)

    async with WorkerPool() as pool:
        clock.start()
        await ends_late(await pool.run(parent, timeout=0.3))
        assert clock.shows(0.1)


async def test_time_is_inherited_over_generations_and_pools(clock: Clock) -> None:
    async def child(generation: int) -> list[float | None]:
        pool = pools[generation % 2]
        mine = remaining()
        if generation == 0:
            return [mine]
        return [mine, *(await pool.run(child, generation - 1, timeout=60))]

    async with WorkerPool(name="one") as one, WorkerPool(name="other") as other:
        pools = [one, other]
        clock.start()
        seen = await one.run(child, 4, timeout=0.3)
        assert seen == [pytest.approx(0.3, abs=0.1)] * 5


async def test_time_is_inherited_by_way_of_a_child_task() -> None:
    async def parent() -> Any:
        return await asyncio.create_task(pool.run(left))

    async def left() -> float | None:
        return remaining()

    async with WorkerPool() as pool:
        assert await pool.run(parent, timeout=0.3) == pytest.approx(0.3, abs=0.1)


async def test_a_parent_without_a_deadline_passes_none_on() -> None:
    async def left() -> float | None:
        return remaining()

    async def parent() -> Any:
        return await pool.run(left)

    async with WorkerPool() as pool:
        assert await pool.run(parent) is None


async def test_the_pools_default_holds_for_a_job_of_a_job_too() -> None:
    async def left() -> float | None:
        return remaining()

    async def parent() -> Any:
        return await pool.run(left)

    async with WorkerPool(job_timeout=0.2) as pool:
        assert await pool.run(parent, timeout=None) == pytest.approx(0.2, abs=0.1)


async def test_a_queued_job_of_a_job_ends_with_its_parents_time(clock: Clock) -> None:
    witness = Witness()

    async def parent() -> JobHandle[Any]:
        return await pool.submit(witness)

    async with WorkerPool(max_workers=2) as pool:
        clock.start()
        await pool.submit(sleep, 0.4)
        running = await pool.submit(parent, timeout=0.2)
        await pool.submit(sleep, 0.4)  # takes the place of the parent
        error = await ends_late(await running)
        assert clock.shows(0.2)
    assert witness.starts == 0
    assert error.phase == "queued"


async def test_a_task_that_outlives_its_job_passes_no_time_on() -> None:
    gate = Gate()
    tasks: list[asyncio.Task[Any]] = []

    async def left() -> float | None:
        return remaining()

    async def straggler() -> float | None:
        await gate()
        return await pool.run(left)

    async def parent() -> None:
        tasks.append(asyncio.create_task(straggler()))

    async with WorkerPool() as pool:
        handle = await pool.submit(parent, timeout=0.1)
        await handle
        gate.open()
        assert await tasks[0] is None
        assert handle.done()  # and so its record is still there to be asked


async def test_a_job_submitted_after_the_parents_deadline_never_starts() -> None:
    witness = Witness()
    submitted: list[JobHandle[Any]] = []

    async def parent() -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            await asyncio.sleep(0.01)  # some loops fire a timer a little before its time
            submitted.append(await pool.submit(witness))

    async with WorkerPool() as pool:
        await ends_late(await pool.submit(parent, timeout=0.02))
        await ends_late(submitted[0])
    assert witness.starts == 0


async def test_a_job_submitted_while_its_parent_cleans_up_after_a_cancel_still_inherits(clock: Clock) -> None:
    submitted: list[JobHandle[Any]] = []

    async def parent() -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            submitted.append(await pool.submit(sleep, 0.6))

    async with WorkerPool() as pool:
        clock.start()
        handle = await pool.submit(parent, timeout=0.2)
        await turns()
        handle.cancel()
        with pytest.raises(JobCancelled):
            await handle
        await ends_late(submitted[0])
        assert clock.shows(0.2)


# Ties: what happens at the very moment of the deadline -------------------------------------------------------------------


@pytest.mark.virtual
async def test_a_job_that_would_end_at_its_deadline_is_too_late_as_with_asyncio_timeout() -> None:
    async with WorkerPool() as pool:
        await ends_late(await pool.submit(sleep, 1.0, timeout=1.0))


@pytest.mark.virtual
@pytest.mark.parametrize("cancel_first", [True, False])
@pytest.mark.parametrize("cleanup", [0.0, 0.5])
async def test_a_cancel_at_the_moment_of_the_deadline_hits_the_job_once(cancel_first: bool, cleanup: float) -> None:
    loop = asyncio.get_running_loop()
    witness = Witness(cleanup)
    at = now() + 1.0
    handles: list[JobHandle[Any]] = []

    def cancel() -> None:
        handles[0].cancel()

    async with WorkerPool() as pool:
        if cancel_first:
            loop.call_at(at, cancel)
        handles.append(await pool.submit(witness, deadline=at))
        await turns()
        if not cancel_first:
            loop.call_at(at, cancel)
        await handles[0].wait()
        handles[0].exception()
        assert handles[0].state in {JobState.TIMED_OUT, JobState.CANCELLED}
        assert balanced(pool)
    assert (witness.starts, witness.cancellations) == (1, 1)


@pytest.mark.virtual
async def test_a_place_that_gets_free_at_the_moment_of_a_queued_jobs_deadline_is_not_for_that_job() -> None:
    witness = Witness()
    gate = Gate()
    async with WorkerPool(max_workers=1) as pool:
        asyncio.get_running_loop().call_later(1.0, gate.open)
        await pool.submit(gate)
        handle = await pool.submit(witness, deadline=now() + 1.0)
        following = await pool.submit(echo, "next")
        assert (await ends_late(handle)).phase == "queued"
        assert await following == "next"
    assert witness.starts == 0


@pytest.mark.virtual
@pytest.mark.complains
async def test_a_deadline_at_the_moment_the_pool_cancels_hits_the_job_once() -> None:
    witness = Witness(cleanup=0.5)
    async with WorkerPool(shutdown_timeout=2.0, cancel_grace=1.0) as pool:
        handle = await pool.submit(witness, timeout=1.0)
        await asyncio.sleep(0)
    assert handle.state in {JobState.TIMED_OUT, JobState.CANCELLED}
    handle.exception()
    assert witness.cancellations == 1


@pytest.mark.virtual
async def test_a_handle_cancelled_at_the_moment_of_a_deadline_in_the_queue_ends_once() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1) as pool:
        await pool.submit(gate)
        handle = await pool.submit(echo, 1, deadline=now() + 1.0)
        asyncio.get_running_loop().call_later(1.0, handle.cancel)
        await handle.wait()
        await turns()
        assert handle.state in {JobState.TIMED_OUT, JobState.CANCELLED}
        handle.exception()
        assert balanced(pool)
        assert pool.stats().queued == 0
        gate.open()


@pytest.mark.virtual
async def test_long_times_are_kept_to_the_second(clock: Clock) -> None:
    async with WorkerPool(max_workers=1, cancel_grace=60, shutdown_timeout=86400) as pool:
        clock.start()
        running = await pool.submit(sleep, FOREVER, timeout=1800)
        queued = await pool.submit(sleep, FOREVER, deadline=now() + 900)
        following = await pool.submit(sleep, FOREVER, timeout=3000)
        await ends_late(queued)
        assert clock.shows(900)
        await ends_late(running)
        assert clock.shows(1800)
        await ends_late(following)
        assert clock.shows(4800)


# What the error says of the time ------------------------------------------------------------------------------------------


async def test_a_job_that_ran_out_of_time_in_the_queue_had_the_time_from_its_acceptance_to_its_deadline() -> None:
    loop = asyncio.get_running_loop()
    await asyncio.sleep(0.1)  # the loop's clock does not begin when a job is accepted
    async with WorkerPool(max_workers=1) as pool:
        busy = await pool.submit(sleep, FOREVER)
        late = await pool.submit(echo, 1, timeout=0.05, deadline=loop.time() + 0.2)
        past = await pool.submit(echo, 1, deadline=loop.time() - 1)
        with pytest.raises(JobTimeout) as caught:
            await late
        assert caught.value.timeout == pytest.approx(0.2, abs=0.02)
        with pytest.raises(JobTimeout) as caught:
            await past
        assert caught.value.timeout == 0.0
        busy.cancel()


async def test_a_job_that_has_no_deadline_leaves_the_one_of_a_job_that_it_submits_as_it_is() -> None:
    loop = asyncio.get_running_loop()
    async with WorkerPool() as pool:

        async def parent() -> Any:
            assert remaining() is None
            return await pool.run(child, deadline=loop.time() + 5)

        async def child() -> float | None:
            return remaining()

        assert await pool.run(parent) == pytest.approx(5, abs=0.2)


@pytest.mark.realtime
async def test_a_deadline_is_not_inherited_on_another_loop_whose_clock_may_be_another() -> None:
    async def elsewhere() -> float | None:
        async with WorkerPool() as pool:
            return await pool.run(left)

    async def left() -> float | None:
        return remaining()

    async with WorkerPool() as pool:
        assert await pool.run(asyncio.to_thread, lambda: asyncio.run(elsewhere()), timeout=5) is None


async def test_a_deadline_that_comes_together_with_a_strangers_cancellation_has_no_cause() -> None:
    loop = asyncio.get_running_loop()

    async def job() -> None:
        task = asyncio.current_task()
        assert task is not None
        loop.call_at(loop.time() + 0.1, task.cancel)
        try:
            await asyncio.sleep(FOREVER)
        finally:
            await asyncio.sleep(0)

    async with WorkerPool() as pool:
        handle = await pool.submit(job, timeout=0.1)
        await handle.wait()
        error = handle.exception()
        assert error is not None
        assert error.__cause__ is None


async def test_what_a_job_raises_because_of_its_deadline_is_the_cause_of_the_timeout() -> None:
    async def explains() -> None:
        try:
            await asyncio.sleep(FOREVER)
        except asyncio.CancelledError as cancelled:
            raise LookupError("half done") from cancelled

    async with WorkerPool() as pool:
        handle = await pool.submit(explains, timeout=0.05)
        with pytest.raises(JobTimeout) as caught:
            await handle
    assert isinstance(caught.value.__cause__, LookupError)
