"""A pool as a `concurrent.futures.Executor`: on the loop, in threads, and what its own kind of shutdown does."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import FOREVER, Gate, echo, sleep, turns
from tests.threads.support import PATIENCE, Home, at_home
from tests.threads.test_from_thread import until
from weirpool import JobCancelled, JobTimeout, PoolOverloaded, WorkerPool, current_job, in_thread
from weirpool.events import JobAccepted, Observer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.realtime
NEVER_AGAIN = "cannot schedule new futures after shutdown"


@pytest.fixture
def home() -> Iterator[Home]:
    """Give a small pool."""
    with at_home(max_workers=1, queue_size=1, submit_timeout=0.05, shutdown_timeout=1.0, cancel_grace=1.0) as home:
        yield home


class Held:
    """A function that blocks its thread until it is told to go on."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, result: Any = None) -> Any:
        self.begun.set()
        assert self.go_on.wait(PATIENCE)
        return result


# On the loop ----------------------------------------------------------------------------------------------------------------


async def test_run_in_executor_runs_a_plain_function_in_a_thread_as_one_job_of_the_pool() -> None:
    def where(factor: int) -> tuple[int, bool, str | None]:
        job = current_job()
        return 2 * factor, threading.current_thread() is threading.main_thread(), None if job is None else job.name

    async with WorkerPool() as pool:
        executor = pool.from_thread.executor()
        loop = asyncio.get_running_loop()
        doubled, on_main_thread, name = await loop.run_in_executor(executor, where, 21)
        assert (doubled, on_main_thread) == (42, False)
        assert name is not None
        assert name.endswith("where#1")
        assert pool.stats().succeeded == 1


async def test_an_async_function_runs_on_the_loop_and_its_future_has_the_result() -> None:
    class Callable_:
        async def __call__(self) -> str:
            return "called"

    async def where(*, number: int) -> tuple[int, bool]:
        return number, threading.current_thread() is threading.main_thread()

    async with WorkerPool() as pool:
        executor = pool.from_thread.executor()
        assert await asyncio.wrap_future(executor.submit(where, number=1)) == (1, True)
        assert await asyncio.wrap_future(executor.submit(Callable_())) == "called"


async def test_on_an_event_loop_it_does_not_wait_for_room() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=0, submit_timeout=None) as pool:
        executor = pool.from_thread.executor()
        held = executor.submit(gate)
        with pytest.raises(PoolOverloaded) as refused:
            executor.submit(gate)
        assert refused.value.reason == "full"

        async def elsewhere() -> None:
            with pytest.raises(PoolOverloaded):
                executor.submit(gate)

        await asyncio.to_thread(asyncio.run, elsewhere())
        gate.open()
        await asyncio.wrap_future(held)
        assert pool.stats().refused["full"] == 2


async def test_on_its_loop_it_does_not_wait_for_the_end() -> None:
    gate = Gate()
    async with WorkerPool() as pool:
        executor = pool.from_thread.executor()
        future = executor.submit(gate, 1)
        with pytest.raises(RuntimeError, match=r"shutdown\(wait=False\), or await asyncio.to_thread\(executor.shutdown\)"):
            executor.shutdown()
        again = executor.submit(gate, 2)  # as that has changed nothing
        gate.open()
        await asyncio.to_thread(executor.shutdown)
        assert (future.result(), again.result()) == (1, 2)
        executor.shutdown()
        with pytest.raises(RuntimeError, match=NEVER_AGAIN):
            executor.submit(gate)
        assert await pool.run(echo, 3) == 3


async def test_a_future_that_is_cancelled_before_its_job_has_begun_cancels_that() -> None:
    async with WorkerPool() as pool:
        future = pool.from_thread.executor().submit(echo, 1)
        assert future.cancel()  # the job has a place and a task by now
        await turns()
        assert pool.stats().cancelled == 1
        assert future in concurrent.futures.wait([future], 0).done


# In threads -----------------------------------------------------------------------------------------------------------------


def test_a_future_is_pending_then_running_then_finished_and_can_be_cancelled_while_pending(home: Home) -> None:
    held = Held()
    executor = home.pool.from_thread.executor()
    running = executor.submit(held, result=1)
    pending = executor.submit(held)
    assert held.begun.wait(PATIENCE)
    assert running.running()
    assert not running.cancel()
    assert not pending.running()
    assert pending.cancel()
    until(lambda: home.pool.stats().cancelled == 1)
    held.go_on.set()
    assert running.result(PATIENCE) == 1
    assert pending in concurrent.futures.wait([pending], PATIENCE).done


def test_it_waits_for_room_in_a_thread_and_then_refuses(home: Home) -> None:
    executor = home.pool.from_thread.executor()
    futures = [executor.submit(sleep, FOREVER) for _ in range(2)]
    with pytest.raises(PoolOverloaded) as refused:
        executor.submit(sleep, 0)
    assert refused.value.reason == "timeout"
    executor.shutdown(wait=False, cancel_futures=True)
    assert [future.cancelled() for future in futures] == [False, True]


def test_what_is_asked_for_goes_for_each_job(home: Home) -> None:
    def name() -> str:
        job = current_job()
        assert job is not None
        return job.name

    with home.pool.from_thread.executor(name="mine", priority=1, key="k") as executor:
        assert executor.submit(name).result() == "mine"
    with home.pool.from_thread.executor(timeout=0.01) as executor, pytest.raises(JobTimeout):
        executor.submit(sleep, FOREVER).result()


def test_bad_options_are_refused_when_it_is_made() -> None:
    pool = WorkerPool()
    with pytest.raises(ValueError, match="timeout must be a number of seconds above 0"):
        pool.from_thread.executor(timeout=-1)
    with pytest.raises(TypeError, match="key must be a str"):
        pool.from_thread.executor(key=1.5)  # type: ignore[arg-type]


def numbers() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (None, r"submit\(\) takes a function, got None .*: pass the function and its arguments apart, submit\(fn, \.\.\.\)"),
        (numbers, "got the generator function numbers: wrap it in one that consumes it"),
    ],
)
def test_what_is_no_function_is_refused(home: Home, fn: Any, message: str) -> None:
    executor = home.pool.from_thread.executor()
    with pytest.raises(TypeError, match=message):
        executor.submit(fn)
    executor.shutdown()
    assert home.pool.stats().accepted == 0


def test_map_gives_results_in_order_and_leaving_the_block_waits() -> None:
    with at_home(max_workers=3) as home, home.pool.from_thread.executor() as executor:
        assert list(executor.map(lambda number: -number, range(20))) == [-number for number in range(20)]
        held = Held()
        future = executor.submit(held, 1)
        threading.Timer(0.02, held.go_on.set).start()
    assert future.done()


def test_it_takes_nothing_when_it_or_the_pool_is_closed_or_not_open_yet(home: Home) -> None:
    executor, other = home.pool.from_thread.executor(), home.pool.from_thread.executor()
    executor.shutdown()
    with pytest.raises(RuntimeError, match=NEVER_AGAIN):
        executor.submit(echo, 1)
    assert other.submit(echo, 1).result(PATIENCE) == 1
    home.call(home.pool.close_intake)
    with pytest.raises(RuntimeError, match=f"{NEVER_AGAIN} of pool 'pool'"):
        other.submit(echo, 1)
    other.shutdown()
    with pytest.raises(RuntimeError, match="needs a pool that was entered"):
        WorkerPool().from_thread.executor().submit(echo, 1)


@pytest.mark.complains  # of jobs that are cancelled as the pool closes
def test_a_job_that_the_pool_cancels_ends_its_future_although_it_runs() -> None:
    home = Home(max_workers=1, shutdown_timeout=0.1, cancel_grace=0.1)
    executor = home.pool.from_thread.executor()
    running, queued = (executor.submit(sleep, FOREVER) for _ in range(2))
    until(running.running)
    home.close()
    for future in (running, queued):
        assert isinstance(future.exception(PATIENCE), JobCancelled)


def test_a_job_that_shuts_it_down_lends_its_place_while_it_waits(home: Home) -> None:
    def outer() -> tuple[Any, Any]:
        executor = home.pool.from_thread.executor()
        future = executor.submit(lambda: 7)
        executor.shutdown()
        with executor_of_its_own() as other:
            last = other.submit(lambda: 8)
        return future.result(0), last.result(0)

    executor_of_its_own: Callable[[], Any] = home.pool.from_thread.executor
    assert home.pool.from_thread.run(in_thread(outer)) == (7, 8)


def test_what_a_function_returns_in_its_grace_stands(home: Home) -> None:
    held = Held()
    future = home.pool.from_thread.executor().submit(held, 7)
    assert held.begun.wait(PATIENCE)
    home.loop.call_soon_threadsafe(home.pool._crew.cancel_all, "cancel")
    home.call(lambda: None)
    held.go_on.set()
    assert future.result(PATIENCE) == 7


def test_a_future_that_is_cancelled_in_the_moment_in_which_its_job_is_accepted_cancels_that() -> None:
    class Cancels(Observer):
        def job_accepted(self, event: JobAccepted, /) -> None:
            if event.name == "late":
                next(iter(executor._futures)).cancel()

    with at_home(max_workers=1, queue_size=0, submit_timeout=None, observers=[Cancels()]) as home:
        held = home.pool.from_thread.submit(sleep, 0.02)
        executor = home.pool.from_thread.executor(name="late")
        future = executor.submit(sleep, FOREVER)
        assert future.cancelled()
        until(lambda: home.pool.stats().cancelled == 1)
        assert held.done()


@pytest.mark.complains
def test_a_failure_that_nobody_looks_at_is_logged(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> None:
        raise ValueError("mine")

    executor = home.pool.from_thread.executor()
    executor.submit(fails)
    executor.shutdown()
    until(lambda: "failed and nobody asked why" in caplog.text)
