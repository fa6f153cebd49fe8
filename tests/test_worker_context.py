"""What each worker has of its own (`worker_context`): entered when it starts, left when it retires, made anew."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import logging
import weakref
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tests.support import FOREVER, Clock, Stubborn, fail, sleep, turns
from weirpool import (
    JobCancelled,
    JobTimeout,
    PoolError,
    PoolState,
    Worker,
    WorkerPool,
    current_worker,
    deadline_scope,
)
from weirpool.events import Observer, PoolMoved
from weirpool.policies import OnDemand
from weirpool.testing import DeterministicLoop, explore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


pytestmark = pytest.mark.virtual


class Connections:
    """Make connections, and keep the books of them."""

    def __init__(self, entering: float = 0.0, leaving: float = 0.0) -> None:
        self.entering = entering
        self.leaving = leaving
        self.refuse: BaseException | None = None
        self.fail_to_close: BaseException | None = None
        self.made: list[int] = []
        self.open: set[int] = set()
        self.broken: set[int] = set()
        self.tasks: dict[int, asyncio.Task[Any] | None] = {}
        self.same_task: list[bool] = []

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[int]:
        await asyncio.sleep(self.entering)
        if self.refuse is not None:
            raise self.refuse
        number = len(self.made) + 1
        self.made.append(number)
        self.open.add(number)
        task = asyncio.current_task()
        try:
            yield number
        except BaseException:
            self.broken.add(number)
            raise
        finally:
            self.same_task.append(task is asyncio.current_task())
            try:
                await asyncio.sleep(self.leaving)
            finally:
                self.open.discard(number)
            if self.fail_to_close is not None:
                raise self.fail_to_close


async def use(seconds: float = 0.0) -> int:
    connection: int = current_worker().resource
    await asyncio.sleep(seconds)
    return connection


async def discard() -> int:
    current_worker().discard()
    return await use()


# Starting and retiring ------------------------------------------------------------------------------------------------------


async def test_each_worker_starts_before_the_pool_is_open_and_retires_when_it_is_closed() -> None:
    connections = Connections(entering=1, leaving=1)
    async with WorkerPool(max_workers=3, worker_context=connections) as pool:
        assert connections.open == {1, 2, 3}
        assert pool.state is PoolState.OPEN
        assert await pool.run(use) in connections.open
    assert connections.open == set()
    assert connections.made == [1, 2, 3]
    assert connections.same_task == [True] * 3, "a context is left by the task that has entered it"


async def test_workers_start_side_by_side(clock: Clock) -> None:
    clock.start()
    async with WorkerPool(max_workers=50, worker_context=Connections(entering=1)):
        assert clock.shows(1)


async def test_jobs_that_run_at_once_have_different_workers_and_those_that_follow_the_same_ones() -> None:
    connections = Connections()
    async with WorkerPool(max_workers=3, worker_context=connections) as pool:
        handles = [await pool.submit(use, 1) for _ in range(9)]
        used = [await handle for handle in handles]
    assert sorted(used) == sorted([1, 2, 3] * 3)
    assert all(len(set(used[i : i + 3])) == 3 for i in (0, 3, 6))


async def test_a_pool_that_grows_starts_workers_for_those_that_need_them_and_shrinks_again() -> None:
    connections = Connections(entering=0.1)
    async with WorkerPool(min_workers=1, max_workers=4, scaling=OnDemand(), worker_context=connections) as pool:
        assert connections.open == {1}
        handles = [await pool.submit(use, 1) for _ in range(4)]
        assert len({await handle for handle in handles}) == 4
        assert len(connections.open) == 4
        await asyncio.sleep(60)
        assert pool.stats().workers == 1
        assert len(connections.open) == 1
    assert connections.open == set()


async def test_workers_without_a_place_retire_when_their_jobs_have_ended() -> None:
    connections = Connections()
    async with WorkerPool(max_workers=3, worker_context=connections) as pool:
        handles = [await pool.submit(use, 1) for _ in range(3)]
        await turns(3)
        await pool.resize(max_workers=1)
        assert [await handle for handle in handles]
        await turns(5)
        assert len(connections.open) == 1
        await pool.resize(max_workers=2)
        assert len({await handle for handle in [await pool.submit(use, 1) for _ in range(2)]}) == 2


async def test_a_worker_counts_its_jobs_and_says_who_it_is() -> None:
    async def look() -> tuple[Worker, int, int, str]:
        worker = current_worker()
        return worker, worker.number, worker.jobs, repr(worker)

    async with WorkerPool(max_workers=1, worker_context=Connections()) as pool:
        first, number, jobs, text = await pool.run(look)
        assert (number, jobs, text) == (1, 0, "<Worker 1: 0 jobs>")
        again, number, jobs, text = await pool.run(look)
        assert (number, jobs, text) == (1, 1, "<Worker 1: 1 jobs>")
        assert first is again
    assert first.resource is None


async def test_a_context_is_entered_in_an_empty_context_and_not_in_that_of_who_comes_first() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")

    @asynccontextmanager
    async def context() -> AsyncIterator[str]:
        yield variable.get()

    async def look() -> tuple[str, str]:
        return current_worker().resource, variable.get()

    variable.set("mine")
    async with WorkerPool(min_workers=1, max_workers=2, worker_context=context) as pool:
        first, second = await pool.submit(sleep, 1), await pool.submit(look)
        assert await second == ("none", "mine")
        await first


async def test_a_job_may_ask_in_its_tasks_and_threads_too() -> None:
    async def in_a_task() -> int:
        return await asyncio.create_task(use())

    async def in_a_thread() -> Any:
        return await asyncio.to_thread(lambda: current_worker().resource)

    async with WorkerPool(max_workers=1, worker_context=Connections()) as pool:
        assert await pool.run(in_a_task) == 1
        assert await pool.run(in_a_thread) == 1


async def test_a_job_that_fails_gives_its_worker_back() -> None:
    async with WorkerPool(max_workers=1, worker_context=Connections()) as pool:
        with pytest.raises(ZeroDivisionError):
            await pool.run(fail, ZeroDivisionError())
        assert await pool.run(use) == 1


async def test_partials_keep_their_arguments_and_a_job_its_name() -> None:
    async def job(a: int, b: int, *, c: int) -> tuple[int, int, int, int]:
        return current_worker().resource, a, b, c

    async with WorkerPool(max_workers=1, worker_context=Connections()) as pool:
        handle = await pool.submit(functools.partial(job, 2, c=4), 3)
        assert await handle == (1, 2, 3, 4)
        assert "job#1" in handle.name


async def test_within_a_deadline_scope_a_job_has_its_worker() -> None:
    async def job() -> int:
        with deadline_scope(asyncio.get_running_loop().time() + 1):
            return await use()

    async with WorkerPool(max_workers=1, worker_context=Connections()) as pool:
        assert await pool.run(job) == 1


# Breaking -------------------------------------------------------------------------------------------------------------------


async def test_a_worker_that_a_job_discards_is_left_after_it_and_replaced() -> None:
    connections = Connections()
    async with WorkerPool(max_workers=1, worker_context=connections) as pool:
        assert await pool.run(discard) == 1
        await turns(5)
        assert connections.open == {2}, "at once, and not when the next job comes"
        assert await pool.run(use) == 2


async def test_a_job_that_is_tried_again_gets_the_worker_that_replaces_the_one_it_has_discarded() -> None:
    pytest.importorskip("tenacity", reason="missing: pip install tenacity")
    from weirpool.policies import Retry

    async def job() -> int:
        if current_worker().resource == 1:
            current_worker().discard()
            raise ConnectionError
        return await use()

    async with WorkerPool(max_workers=1, worker_context=Connections()) as pool:
        assert await pool.run(job, retry=Retry(attempts=2, first=0.1)) == 2


@pytest.mark.complains
async def test_a_context_that_ends_by_itself_is_made_anew_and_said(caplog: pytest.LogCaptureFixture) -> None:
    scopes: list[anyio.CancelScope] = []

    @asynccontextmanager
    async def fragile() -> AsyncIterator[int]:
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            yield len(scopes)

    @asynccontextmanager
    async def failing() -> AsyncIterator[int]:
        async with asyncio.TaskGroup() as group:
            group.create_task(sleep(1))
            group.create_task(boom())
            yield 7

    async def boom() -> None:
        await asyncio.sleep(2)
        raise ConnectionError("gone")

    async with WorkerPool(max_workers=2, worker_context=fragile) as pool:
        busy = await pool.submit(use, 1)
        await turns(3)
        for scope in tuple(scopes):
            scope.cancel()
        await turns(5)
        assert len(scopes) == 4
        assert await busy in (1, 2), "the job that has it is left alone"
        assert await pool.run(use) in (3, 4)
    assert [record.message for record in caplog.records if record.name == "weirpool.resource"] == [
        "the context of worker 1 of pool 'pool' broke",
        "the context of worker 2 of pool 'pool' broke",
    ]
    caplog.clear()
    async with WorkerPool(max_workers=1, worker_context=failing) as pool:
        await asyncio.sleep(2.5)
        assert await pool.run(use) == 7
    broken, not_left = [record for record in caplog.records if record.name == "weirpool.resource"]
    for record, event in (broken, "resource.broken"), (not_left, "resource.failed"):
        assert record.event == f"weirpool.{event}"  # type: ignore[attr-defined]
        assert record.exc_info is not None
        assert isinstance(record.exc_info[1], ExceptionGroup)


@pytest.mark.complains
async def test_the_worker_of_an_abandoned_job_retires_and_the_next_job_has_a_new_one() -> None:
    connections = Connections()
    async with WorkerPool(max_workers=1, cancel_grace=1, worker_context=connections) as pool:
        stubborn = Stubborn()
        handle = await pool.submit(stubborn, timeout=1)
        with pytest.raises(JobTimeout) as caught:
            await handle
        assert caught.value.abandoned
        assert await pool.run(use) == 2
        assert connections.open == {2}
        await stubborn.release()
        assert connections.open == {2}


# Failing to start -----------------------------------------------------------------------------------------------------------


@pytest.mark.complains
async def test_a_pool_whose_first_workers_can_not_start_is_not_opened_and_leaves_nothing_behind() -> None:
    class Third(Connections):
        tries = 0

        @asynccontextmanager
        async def __call__(self) -> AsyncIterator[int]:
            self.tries += 1
            if self.tries == 3:
                await asyncio.sleep(1)
                raise ConnectionRefusedError("no more than two")
            async with super().__call__() as connection:
                yield connection

    connections = Third(leaving=1)
    pool = WorkerPool(max_workers=3, worker_context=connections)
    with pytest.raises(ConnectionRefusedError, match="no more than two"):
        async with pool:
            raise AssertionError("it must not be open")
    assert connections.made == [1, 2]
    assert connections.open == set()
    assert pool.state is PoolState.CLOSED
    assert len(asyncio.all_tasks()) == 1
    with pytest.raises(RuntimeError, match="was entered or closed before"):
        await pool.__aenter__()


@pytest.mark.complains
async def test_a_job_whose_worker_can_not_start_fails_with_that_and_the_next_one_tries_again() -> None:
    connections = Connections()
    async with WorkerPool(max_workers=1, worker_context=connections) as pool:
        connections.refuse = ConnectionRefusedError("down")
        await pool.run(discard)
        await turns(5)
        for _ in range(2):
            with pytest.raises(ConnectionRefusedError, match="down"):
                await pool.run(use)
        connections.refuse = None
        assert await pool.run(use) == 2


@pytest.mark.complains
async def test_that_a_replacement_can_not_start_is_said_if_nobody_waits_for_it(caplog: pytest.LogCaptureFixture) -> None:
    connections = Connections()
    async with WorkerPool(max_workers=1, worker_context=connections) as pool:
        connections.refuse = ConnectionRefusedError("down")
        await pool.run(discard)
        await turns(5)
    assert [record.message for record in caplog.records if record.name == "weirpool.resource"] == [
        "the context of worker 2 of pool 'pool' could not be entered"
    ]


@pytest.mark.complains
async def test_of_several_workers_that_can_not_start_the_first_says_why() -> None:
    connections = Connections()
    connections.refuse = ConnectionRefusedError("down")
    with pytest.raises(ConnectionRefusedError, match="down"):
        async with WorkerPool(max_workers=3, worker_context=connections):
            pass


@pytest.mark.complains
async def test_a_task_factory_that_fails_costs_a_job_and_nothing_else() -> None:
    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        if failing and "Workers" in coroutine.__qualname__:
            raise MemoryError
        return asyncio.Task(coroutine, loop=loop, **options)

    failing = False
    asyncio.get_running_loop().set_task_factory(factory)
    async with WorkerPool(max_workers=1, worker_context=Connections()) as pool:
        failing = True
        await pool.run(discard)
        await turns(3)
        with pytest.raises(MemoryError):
            await pool.run(use)
        failing = False
        assert await pool.run(use) == 2
    asyncio.get_running_loop().set_task_factory(None)


async def test_what_is_no_context_manager_is_refused_by_its_name() -> None:
    factory: Any = lambda: 42  # noqa: E731
    with pytest.raises(TypeError, match=r"worker_context must return an async context manager .* it returned 42 \(int\)"):
        async with WorkerPool(max_workers=1, worker_context=factory):
            pass


async def test_the_time_that_a_worker_takes_to_start_is_the_jobs(clock: Clock) -> None:
    connections = Connections()
    async with WorkerPool(max_workers=1, worker_context=connections) as pool:
        connections.entering = 5
        await pool.run(discard)
        clock.start()
        with pytest.raises(JobTimeout):
            await pool.run(use, timeout=1)
        assert clock.shows(1)
        assert await pool.run(use) == 2, "what has been started goes on, for the next one"
        assert clock.shows(5)
        assert connections.made == [1, 2]


async def test_a_job_that_is_cancelled_in_the_moment_in_which_it_gets_a_worker_gives_it_back() -> None:
    handles: list[Any] = []
    made: list[int] = []

    class Late:
        async def __aenter__(self) -> int:
            made.append(len(made) + 1)
            await asyncio.sleep(1)
            if len(made) == 2:
                handles[-1].cancel()
            return made[-1]

        async def __aexit__(self, *_: object) -> None:
            pass

    async with WorkerPool(min_workers=1, max_workers=2, worker_context=Late) as pool:
        handles = [await pool.submit(use, 3) for _ in range(2)]
        with pytest.raises(JobCancelled):
            await handles[1]
        assert await pool.run(use) == 2, "while the first has another job"
        assert await handles[0] == 1
    assert made == [1, 2]


# Places that are lent -------------------------------------------------------------------------------------------------------


async def test_a_job_that_waits_for_its_own_pool_keeps_its_worker_and_the_other_has_one_too() -> None:
    """R9."""
    connections = Connections()

    async def parent() -> tuple[int, int, int]:
        mine = current_worker().resource
        return mine, await pool.run(use), current_worker().resource

    async with WorkerPool(max_workers=1, queue_size=1, worker_context=connections) as pool:
        assert await pool.run(parent) == (1, 2, 1)
        await turns(5)
        assert len(connections.open) == 1, "not more stay than there are places"


async def test_a_job_of_another_pool_has_not_the_worker_of_the_one_that_has_submitted_it() -> None:
    async with WorkerPool(max_workers=1) as other, WorkerPool(max_workers=1, worker_context=Connections()) as pool:

        async def parent() -> int:
            return await other.run(use)

        with pytest.raises(RuntimeError, match=r"make it with WorkerPool\(worker_context=\.\.\.\)"):
            await pool.run(parent)


# Closing --------------------------------------------------------------------------------------------------------------------


async def test_workers_are_there_until_the_last_job_has_ended() -> None:
    """R11."""
    connections = Connections()
    seen: list[bool] = []

    async def job() -> None:
        await asyncio.sleep(1)
        seen.append(current_worker().resource in connections.open)

    async with WorkerPool(max_workers=1, worker_context=connections) as pool:
        for _ in range(3):
            await pool.submit(job)
    assert seen == [True] * 3
    assert connections.open == set()


@pytest.mark.complains
async def test_jobs_that_are_cancelled_can_clean_up_with_their_workers() -> None:
    """R12."""
    connections = Connections()
    seen: list[bool] = []

    async def job() -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            await asyncio.sleep(0.5)
            seen.append(current_worker().resource in connections.open)

    async with WorkerPool(max_workers=1, worker_context=connections, shutdown_timeout=3, cancel_grace=2) as pool:
        await pool.submit(job)
    assert seen == [True]


@pytest.mark.complains
async def test_a_context_that_takes_too_long_to_leave_is_cancelled(clock: Clock) -> None:
    """R13."""
    connections = Connections(leaving=FOREVER)
    clock.start()
    async with WorkerPool(max_workers=2, worker_context=connections, shutdown_timeout=5, cancel_grace=2) as pool:
        pass
    assert clock.shows(3)
    assert connections.open == set()
    assert pool.state is PoolState.CLOSED


@pytest.mark.complains
@pytest.mark.parametrize("hurried", [False, True])
async def test_one_that_ignores_even_that_is_given_up_and_named(
    hurried: bool, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """R13."""
    stubborn = Stubborn()

    class Context:
        async def __aenter__(self) -> None:
            pass

        async def __aexit__(self, *_: object) -> None:
            await stubborn()
            if hurried:
                raise asyncio.CancelledError

    pool = WorkerPool(max_workers=2, worker_context=Context, shutdown_timeout=5, cancel_grace=2)
    await pool.__aenter__()
    if hurried:
        await pool.submit(sleep, FOREVER)
        await turns(3)
    clock.start()
    report = await pool.aclose()
    assert clock.passed <= 5 + clock.tolerance
    assert report.cancelled == hurried
    messages = [record.message for record in caplog.records if record.name == "weirpool.resource"]
    assert len(messages) == 2
    assert all("is not left in time, and is abandoned; it hangs at" in message for message in messages)
    assert all("await stubborn()" in message for message in messages)
    assert not [record for record in caplog.records if record.levelno >= logging.CRITICAL]
    await stubborn.release()
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.complains
async def test_with_a_stray_the_pool_closes_when_the_workers_have_gone() -> None:
    connections = Connections()
    stubborn = Stubborn()
    async with WorkerPool(max_workers=2, worker_context=connections, shutdown_timeout=3, cancel_grace=1) as pool:
        await pool.submit(stubborn)
        await turns(3)
    assert pool.report is not None
    assert pool.report.abandoned == 1
    assert connections.open == set()
    await stubborn.release()


@pytest.mark.complains
async def test_a_context_that_can_not_be_left_properly_is_said_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    connections = Connections()
    connections.fail_to_close = ConnectionResetError("reset")
    async with WorkerPool(max_workers=1, worker_context=connections) as pool:
        await pool.run(use)
    (record,) = [record for record in caplog.records if record.name == "weirpool.resource"]
    assert record.message == "the context of worker 1 of pool 'pool' has not been left properly"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ConnectionResetError)


@pytest.mark.parametrize("how", ["cancel", "close", "timeout"])
@pytest.mark.complains
async def test_a_pool_that_is_given_up_while_its_workers_start_leaves_nothing_behind(how: str, clock: Clock) -> None:
    """R15, R17."""
    connections = Connections(entering=FOREVER)
    pool = WorkerPool(max_workers=2, worker_context=connections)
    opening = asyncio.create_task(pool.__aenter__())
    await asyncio.sleep(1)
    clock.start()
    if how == "cancel":
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
    elif how == "close":
        await pool.aclose()
        with pytest.raises(RuntimeError, match="was closed, or its own task cancelled, before it was open"):
            await opening
    else:
        await pool.aclose(timeout=0)
        with pytest.raises(RuntimeError, match="before it was open"):
            await opening
    assert clock.shows(0)
    assert pool.state is PoolState.CLOSED
    await turns(3)
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.complains
async def test_a_worker_that_can_not_be_stopped_from_starting_does_not_keep_the_pool_from_closing(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """R13."""
    stubborn = Stubborn()

    @asynccontextmanager
    async def context() -> AsyncIterator[None]:
        await stubborn()
        yield

    pool = WorkerPool(max_workers=1, worker_context=context, shutdown_timeout=5, cancel_grace=2)
    opening = asyncio.create_task(pool.__aenter__())
    await asyncio.sleep(1)
    clock.start()
    await pool.aclose()
    assert clock.passed <= 5 + clock.tolerance
    with pytest.raises(RuntimeError, match="before it was open"):
        await opening
    assert not [record for record in caplog.records if record.levelno >= logging.CRITICAL]
    await stubborn.release()
    assert len(asyncio.all_tasks()) == 1


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the events of all warnings, and of what is worse."""
    return [vars(record)["event"] for record in caplog.records if record.levelno >= logging.WARNING]


class LeavesNever:
    """A context that ignores its cancellation while it is left, until the test lets it go."""

    def __init__(self, stubborn: Stubborn) -> None:
        self.stubborn = stubborn

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *_: object) -> None:
        await self.stubborn()


@pytest.mark.complains
async def test_a_tighter_bound_counts_when_only_contexts_are_left(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """R13, R15."""
    stubborn = Stubborn()
    pool = WorkerPool(
        max_workers=1, worker_context=functools.partial(LeavesNever, stubborn), shutdown_timeout=20, cancel_grace=5
    )
    await pool.__aenter__()
    clock.start()
    closing = asyncio.create_task(pool.aclose())
    await asyncio.sleep(16)  # it has been cancelled
    await pool.aclose(timeout=1)
    assert clock.shows(17)
    await closing
    assert warned(caplog) == ["weirpool.resource.abandoned"]
    await stubborn.release()


@pytest.mark.complains
async def test_contexts_are_given_up_in_time_when_an_observer_has_cancelled_the_last_job(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """R13."""
    stubborn = Stubborn()

    class Cancels(Observer):
        def pool_moved(self, event: PoolMoved, /) -> None:
            if event.now is PoolState.CANCELLING:
                handle.cancel()

    pool = WorkerPool(
        max_workers=1,
        worker_context=functools.partial(LeavesNever, stubborn),
        shutdown_timeout=5,
        cancel_grace=2,
        observers=[Cancels()],
    )
    await pool.__aenter__()
    pool.pause()
    handle = await pool.submit(sleep, FOREVER)
    clock.start()
    await pool.aclose(timeout=2)
    assert clock.shows(2)
    assert warned(caplog) == ["weirpool.resource.abandoned"]
    await stubborn.release()


@pytest.mark.complains
async def test_a_pool_that_can_not_be_opened_leaves_the_others_within_its_bound(clock: Clock) -> None:
    """R13."""
    made: list[int] = []

    @asynccontextmanager
    async def context() -> AsyncIterator[None]:
        made.append(1)
        if len(made) == 2:
            await asyncio.sleep(0)
            raise ConnectionRefusedError
        yield
        await asyncio.sleep(FOREVER)

    clock.start()
    with pytest.raises(ConnectionRefusedError):
        await WorkerPool(max_workers=2, worker_context=context, shutdown_timeout=5, cancel_grace=2).__aenter__()
    assert clock.shows(3)
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.complains
@pytest.mark.parametrize("times", [1, 2])
async def test_cancelling_the_pools_own_task_does_not_close_it_before_its_contexts_are_left(times: int, clock: Clock) -> None:
    """R17."""
    connections = Connections(leaving=1)
    pool = WorkerPool(max_workers=2, worker_context=connections, name="mail")
    await pool.__aenter__()
    clock.start()
    closing = asyncio.create_task(pool.aclose())
    (own,) = [task for task in asyncio.all_tasks() if task.get_name() == "weirpool:mail"]
    for _ in range(times):
        await turns(3)
        own.cancel()
    await closing
    assert connections.open == set()
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.complains
def test_at_the_end_of_asyncio_run_a_context_can_clean_up_although_it_was_being_left() -> None:
    cleaned: list[int] = []

    @asynccontextmanager
    async def context() -> AsyncIterator[None]:
        try:
            yield
        finally:
            try:
                await asyncio.sleep(FOREVER)  # is cancelled
            finally:
                await asyncio.sleep(0.01)
                cleaned.append(1)

    async def main() -> WorkerPool:
        pool = WorkerPool(max_workers=2, worker_context=context)
        await pool.__aenter__()
        closing.append(asyncio.create_task(pool.aclose()))
        await turns(5)
        return pool

    closing: list[asyncio.Task[object]] = []
    pool = asyncio.run(main())
    assert cleaned == [1, 1]
    assert pool.state is PoolState.CLOSED


@pytest.mark.complains
def test_at_the_end_of_asyncio_run_a_context_that_takes_too_long_to_leave_is_cancelled() -> None:
    connections = Connections(leaving=FOREVER)

    async def main() -> WorkerPool:
        return await WorkerPool(max_workers=2, worker_context=connections, cancel_grace=2).__aenter__()

    with asyncio.Runner(loop_factory=DeterministicLoop) as runner:
        pool = runner.run(main())
        loop = runner.get_loop()
    assert pool.state is PoolState.CLOSED
    assert loop.time() == 2
    assert connections.open == set()


async def test_after_closing_neither_the_pool_nor_what_it_made_is_held() -> None:
    """R17."""

    class Thing:
        pass

    things: list[weakref.ref[Thing]] = []

    @asynccontextmanager
    async def context() -> AsyncIterator[Thing]:
        thing = Thing()
        things.append(weakref.ref(thing))
        yield thing

    async def job() -> None:
        assert isinstance(current_worker().resource, Thing)

    async with WorkerPool(max_workers=2, worker_context=context) as pool:
        await pool.run(job)
    await turns(2)
    gc.collect()
    assert [thing() for thing in things] == [None, None]


async def test_a_pool_that_is_dropped_lets_its_workers_go() -> None:
    connections = Connections()
    pool = WorkerPool(max_workers=2, worker_context=connections)
    await pool.__aenter__()
    with pytest.warns(ResourceWarning, match="was never closed"):
        pool = None  # type: ignore[assignment]
    await turns(5)
    assert connections.open == set()
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.complains
def test_at_the_end_of_asyncio_run_jobs_can_clean_up_with_their_workers_all_the_same() -> None:
    connections = Connections()
    seen: list[bool] = []

    async def job() -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            await asyncio.sleep(0.01)
            seen.append(current_worker().resource in connections.open)

    async def main() -> WorkerPool:
        pool = WorkerPool(max_workers=2, worker_context=connections)
        await pool.__aenter__()
        await pool.submit(job)
        await asyncio.sleep(0.01)
        return pool

    pool = asyncio.run(main())
    assert seen == [True]
    assert connections.open == set()
    assert pool.state is PoolState.CLOSED


# Wrong places and bad input -------------------------------------------------------------------------------------------------


async def test_outside_of_any_job_there_is_no_worker() -> None:
    with pytest.raises(RuntimeError, match="outside of any job"):
        current_worker()
    late: list[asyncio.Task[int]] = []

    async def job() -> None:
        late.append(asyncio.create_task(use_late()))

    async def use_late() -> int:
        await asyncio.sleep(1)
        return await use()

    async with WorkerPool(max_workers=1, worker_context=Connections()) as pool:
        await pool.run(job)
        with pytest.raises(RuntimeError, match="where the job has ended"):
            await late[0]


def test_what_can_not_make_contexts_is_refused() -> None:
    nonsense: Any

    async def lacks_decorator() -> AsyncIterator[int]:
        yield 1

    async def coroutine() -> None: ...

    @asynccontextmanager
    async def good() -> AsyncIterator[int]:
        yield 1

    for nonsense, hint in [
        (7, r"got 7 \(int\)$"),
        ("connect", r"got 'connect' \(str\)$"),
        (good(), "pass what makes it, since each worker has one of its own"),
        (lacks_decorator, "which lacks that decorator"),
        (coroutine, "which lacks that decorator"),
    ]:
        with pytest.raises(
            TypeError, match=f"worker_context must be a function that returns an async context manager.*{hint}"
        ):
            WorkerPool(worker_context=nonsense)
    WorkerPool(worker_context=good)
    WorkerPool(worker_context=functools.partial(good))


# On many schedules ----------------------------------------------------------------------------------------------------------


@pytest.mark.complains
def test_on_any_schedule_each_job_has_a_worker_for_itself_and_each_context_is_left() -> None:
    async def program() -> None:
        connections = Connections()
        using: set[int] = set()
        wrong: list[str] = []

        async def job(number: int) -> None:
            mine: int = current_worker().resource
            if mine not in connections.open or mine in using:
                wrong.append(f"job {number} has connection {mine}; open: {connections.open}, in use: {using}")
            using.add(mine)
            try:
                if number == 3:
                    current_worker().discard()
                if number == 2:
                    await (await pool.submit(job, 9))
                await asyncio.sleep(number % 3)
            finally:
                if mine not in connections.open | connections.broken:
                    wrong.append(f"job {number} has lost connection {mine}")
                using.discard(mine)

        pool = WorkerPool(
            min_workers=1, max_workers=2, queue_size=9, shutdown_timeout=30, cancel_grace=5, worker_context=connections
        )
        try:
            async with pool:
                handles = [await pool.submit(job, number) for number in range(5)]
                handles[4].cancel()
                await handles[1]
                await pool.resize(max_workers=3)
        finally:
            if connections.open:
                wrong.append(f"left behind: {connections.open}")
            assert wrong == []

    explored = explore(program, tolerate=(PoolError, RuntimeError))
    assert explored.runs > 200
