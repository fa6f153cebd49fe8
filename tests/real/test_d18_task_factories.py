"""Row 18: the loop's task factory is somebody else's, and the pool keeps its promises with whatever makes its tasks.

Tools that trace and monitor set one. Most wrap the coroutine in another, which awaits it (Sentry's asyncio integration and
aiomonitor do); some make tasks of a class of their own. On eager tasks, in debug mode and on uvloop all of the other tests are
run too, by way of WEIRPOOL_TEST_LOOP and `-X dev -W error`.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from tests.real.kinds import EACH_KIND, run
from tests.support import FOREVER, Gate, Stubborn, adds_up, balanced, echo, fail, sleep, turns
from weirpool import JobCancelled, JobState, JobTimeout, PoolClosed, PoolState, WorkerPool, current_job, testing
from weirpool.testing import NumberedTask

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from weirpool import JobHandle

    Factory = Callable[..., asyncio.Future[Any]]

pytestmark = pytest.mark.realtime


class TracedTask(asyncio.Task[Any]):
    """A task as a monitor has them."""


def plain(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Future[Any]:
    return asyncio.Task(coro, loop=loop, **options)


def without_name(loop: asyncio.AbstractEventLoop, coro: Any, context: Any = None) -> asyncio.Future[Any]:
    return asyncio.Task(coro, loop=loop, context=context)


def of_a_subclass(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Future[Any]:
    return TracedTask(coro, loop=loop, **options)


def in_python(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Future[Any]:
    task: asyncio.Future[Any] = asyncio.tasks._PyTask(coro, loop=loop, **options)  # type: ignore[attr-defined]
    return task


async def traced(coro: Any) -> Any:
    return await coro


async def traced_later(coro: Any) -> Any:
    await turns(2)
    return await coro


def wrapping_in(wrapper: Callable[[Any], Coroutine[Any, Any, Any]]) -> Factory:
    def wrapping(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Future[Any]:
        return asyncio.Task(wrapper(coro), loop=loop, **options)

    return wrapping


FACTORIES: dict[str, Factory] = {
    "plain": plain,
    "without_name": without_name,
    "of_a_subclass": of_a_subclass,
    "in_python": in_python,
    "wrapping": wrapping_in(traced),
    "wrapping_and_late": wrapping_in(traced_later),
}
if sys.version_info >= (3, 12):

    def eager_and_wrapping(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Future[Any]:
        wrapped = traced(coro)
        try:
            task: asyncio.Future[Any] = asyncio.eager_task_factory(loop, wrapped, **options)
        except TypeError:
            wrapped.close()
            raise
        return task

    FACTORIES |= {
        "eager": asyncio.eager_task_factory,
        "eager_and_of_a_subclass": asyncio.create_eager_task_factory(TracedTask),
        "eager_and_wrapping": eager_and_wrapping,
    }

EACH_FACTORY = pytest.mark.parametrize("factory", FACTORIES.values(), ids=FACTORIES)

caller: ContextVar[str] = ContextVar("caller")


async def probe() -> None:
    """Do with a task what asyncio's own parts do."""
    async with asyncio.TaskGroup():
        await asyncio.sleep(0)


async def fit(factory: Factory) -> None:
    """Set the factory, unless asyncio itself can't work with it.

    uvloop passes options that some can't take, and from Python 3.14 on a task group does not know a task that is written in
    Python.
    """
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()
    loop.set_task_factory(factory)
    coro = probe()
    try:
        await loop.create_task(coro, name="probe", context=copy_context())
    except (TypeError, RuntimeError) as error:
        coro.close()
        loop.set_task_factory(before)
        pytest.skip(f"asyncio itself can't work with this: {error}")


# Whatever makes the tasks ----------------------------------------------------------------------------------------------


@EACH_KIND
@EACH_FACTORY
def test_jobs_run_fail_time_out_and_are_cancelled_as_ever_whatever_makes_their_tasks(kind: str, factory: Factory) -> None:
    started: list[int] = []

    async def look(number: int) -> tuple[str, str]:
        started.append(number)
        handle = current_job()
        assert handle is not None
        await asyncio.sleep(0)
        return caller.get(), handle.name

    async def main() -> None:
        await fit(factory)
        async with WorkerPool(max_workers=2, queue_size=20) as pool:
            for number in range(10):
                caller.set(f"caller-{number}")
                handle = await pool.submit(look, number, name=f"job-{number}")
                caller.set("somebody else")
                assert number > 5 or await handle == (f"caller-{number}", f"job-{number}")
            with pytest.raises(KeyError):
                await pool.run(fail, KeyError("mine"))
            with pytest.raises(JobTimeout):
                await pool.run(sleep, FOREVER, timeout=0.01)
            assert started == list(range(10))
            ends = [await pool.submit(sleep, FOREVER) for _ in range(4)]
            ends[1].cancel()  # it has had no step yet
            ends[3].cancel()  # it is in the queue
            await turns()
            ends[0].cancel()  # it runs
            ends[2].cancel()  # it has the place of the second
            for handle in ends:
                with pytest.raises(JobCancelled, match="cancel"):
                    await handle
            assert balanced(pool)
            last = await pool.submit(look, 10)
        assert (await last)[0] == "somebody else"
        assert pool.report is not None
        assert adds_up(pool.report)
        assert (pool.report.succeeded, pool.report.failed, pool.report.timed_out, pool.report.cancelled) == (11, 1, 1, 4)

    run(kind, main)


@EACH_KIND
@EACH_FACTORY
def test_a_job_starts_in_the_turn_after_it_got_its_place_whatever_makes_its_task(kind: str, factory: Factory) -> None:
    async def main() -> None:
        await fit(factory)
        late = 2 if factory is FACTORIES["wrapping_and_late"] else 0
        gate = Gate()
        async with WorkerPool() as pool:
            await pool.submit(gate)
            assert gate.most_inside == 0
            await turns(1 + late)
            assert gate.most_inside == 1
            gate.open()

    run(kind, main)


@pytest.mark.complains  # of the job that ignores its cancellation
@EACH_KIND
@EACH_FACTORY
def test_a_job_that_ignores_its_cancellation_is_abandoned_whatever_makes_its_task(kind: str, factory: Factory) -> None:
    async def main() -> None:
        await fit(factory)
        stubborn = Stubborn()
        async with WorkerPool(max_workers=1, cancel_grace=0.05) as pool:
            handle = await pool.submit(stubborn, timeout=0.01)
            following = await pool.submit(echo, "the place is free again")
            with pytest.raises(JobTimeout) as caught:
                await handle
            assert caught.value.abandoned
            assert await following == "the place is free again"
        assert pool.report is not None
        (stray,) = pool.report.strays
        (line,) = stray.stack
        assert "self._released.wait()" in line, "the job's own frames, and nobody else's"
        await stubborn.release()
        assert pool.stats().strays == 0

    run(kind, main)


@pytest.mark.complains  # since what ran had to be cancelled
@EACH_KIND
@EACH_FACTORY
def test_the_end_of_asyncio_run_ends_jobs_that_have_had_no_step_whatever_makes_their_tasks(
    kind: str, factory: Factory
) -> None:
    pools: list[WorkerPool] = []
    handles: list[JobHandle[Any]] = []

    async def main() -> None:
        await fit(factory)
        pools.append(await WorkerPool(max_workers=3, cancel_grace=5).__aenter__())
        handles.append(await pools[0].submit(sleep, FOREVER))
        await turns()
        handles.extend([await pools[0].submit(sleep, FOREVER) for _ in range(4)])
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        while pools[0].state is not PoolState.CLOSED:
            await asyncio.sleep(0)

    run(kind, main)
    assert [handle.state for handle in handles] == [JobState.CANCELLED] * 5
    assert adds_up(pools[0].report)


@pytest.mark.complains
def test_no_schedule_and_no_cancellation_loses_a_job_whose_task_is_wrapped() -> None:
    def numbered(loop: Any, coro: Any, **options: Any) -> asyncio.Future[Any]:
        return NumberedTask(traced(coro), loop=loop, **options)

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(numbered)
        pool = WorkerPool(max_workers=2, queue_size=2, submit_timeout=None, shutdown_timeout=2, cancel_grace=1)
        handles: list[JobHandle[Any]] = []
        try:
            async with pool:
                handles.extend([await pool.submit(echo, number) for number in range(4)])
                handles.append(await pool.submit(sleep, FOREVER, timeout=0.1))
                handles[1].cancel()
                handles.append(await pool.submit(fail, KeyError(1)))
        finally:
            assert pool.state in {PoolState.NEW, PoolState.CLOSED}
            assert all(handle.done() for handle in handles)
            assert not handles or adds_up(pool.report)
            for handle in handles:
                handle.exception()

    explored = testing.explore(main, seeds=30, pairs=100, tolerate=(RuntimeError, PoolClosed))
    assert explored.runs > 100


# A factory that fails --------------------------------------------------------------------------------------------------


def test_a_factory_that_takes_no_context_is_refused_when_the_pool_is_entered_and_not_later() -> None:
    """As asyncio's own TaskGroup would, and every `create_task(context=...)`."""

    def outdated(loop: asyncio.AbstractEventLoop, coro: Any) -> asyncio.Future[Any]:
        return asyncio.Task(coro, loop=loop)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(outdated)
        pool = WorkerPool()
        with pytest.raises(TypeError, match="context"):
            await pool.__aenter__()
        loop.set_task_factory(None)
        async with pool:
            assert await pool.run(echo, 1) == 1
            loop.set_task_factory(outdated)
            with pytest.raises(TypeError, match="context"):
                await pool.run(echo, 2)
            loop.set_task_factory(None)
            assert await pool.run(echo, 3) == 3

    run("stock", main)


@EACH_KIND
@pytest.mark.parametrize("error", [OSError("no more tasks"), asyncio.CancelledError("no more tasks"), GeneratorExit()])
def test_a_job_whose_task_can_not_be_made_has_ended_and_the_others_go_on(kind: str, error: BaseException) -> None:
    """Some factories raise CancelledError, to keep a program that ends from starting anything."""

    def refusing(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> NoReturn:
        raise error

    async def main() -> None:
        loop = asyncio.get_running_loop()
        before = loop.get_task_factory()
        gate = Gate()
        async with WorkerPool(max_workers=1) as pool:
            await pool.submit(gate)
            queued = [await pool.submit(echo, number) for number in range(3)]
            await turns()
            loop.set_task_factory(refusing)
            gate.open()
            await turns()
            assert all(handle.done() for handle in queued)
            direct = await pool.submit(echo, 3)
            assert direct.done()
            loop.set_task_factory(before)
            assert balanced(pool)
            for handle in [*queued, direct]:
                if isinstance(error, asyncio.CancelledError):
                    assert handle.state is JobState.CANCELLED
                else:
                    assert handle.exception() is error
            assert await pool.run(echo, 4) == 4
        assert adds_up(pool.report)

    run(kind, main)


@EACH_KIND
@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_the_making_of_a_task_ends_its_job_and_the_loop(kind: str, interrupt: type[BaseException]) -> None:
    def interrupted(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> NoReturn:
        raise interrupt

    async def main() -> None:
        loop = asyncio.get_running_loop()
        before = loop.get_task_factory()
        async with WorkerPool() as pool:
            pools.append(pool)
            loop.set_task_factory(interrupted)
            handle = await pool.submit(echo, 1)
            loop.set_task_factory(before)
            assert isinstance(handle.exception(), interrupt)
            await asyncio.sleep(FOREVER)

    pools: list[WorkerPool] = []
    with pytest.raises(interrupt):
        run(kind, main)
    assert adds_up(pools[0].report)


@pytest.mark.complains
@EACH_KIND
def test_a_wrapper_that_does_not_run_what_it_wraps_fails_the_job_and_nothing_else(kind: str) -> None:
    async def forgets(coro: Any) -> None:
        pass

    async def main() -> None:
        loop = asyncio.get_running_loop()
        before = loop.get_task_factory()
        async with WorkerPool() as pool:
            loop.set_task_factory(wrapping_in(forgets))
            handle = await pool.submit(echo, 1)
            loop.set_task_factory(before)
            with pytest.raises(RuntimeError, match="ended without having run it"):
                await handle
            assert await pool.run(echo, 2) == 2

    run(kind, main)


@pytest.mark.complains
@EACH_KIND
def test_a_wrapper_that_ignores_its_cancellation_is_a_stray_until_it_ends_and_never_runs_the_job(kind: str) -> None:
    async def main() -> None:
        stubborn = Stubborn()

        async def ignores(coro: Any) -> None:
            await stubborn()
            await coro

        loop = asyncio.get_running_loop()
        before = loop.get_task_factory()
        gate = Gate()
        async with WorkerPool(cancel_grace=0.02) as pool:
            loop.set_task_factory(wrapping_in(ignores))
            handle = await pool.submit(gate)
            loop.set_task_factory(before)
            await stubborn.started.wait()
            handle.cancel()
            with pytest.raises(JobCancelled) as caught:
                await handle
            assert caught.value.abandoned
            assert pool.stats().strays == 1
            await stubborn.release()
            assert pool.stats().strays == 0
            assert gate.most_inside == 0
        assert adds_up(pool.report)

    run(kind, main)


@pytest.mark.complains
@EACH_KIND
def test_a_wrapper_that_has_ignored_its_cancellation_and_gives_up_is_no_stray_any_more(kind: str) -> None:
    async def main() -> None:
        stubborn = Stubborn()

        async def gives_up(coro: Any) -> None:
            await stubborn()

        loop = asyncio.get_running_loop()
        before = loop.get_task_factory()
        async with WorkerPool(cancel_grace=0.02) as pool:
            loop.set_task_factory(wrapping_in(gives_up))
            handle = await pool.submit(echo, 1)
            loop.set_task_factory(before)
            await stubborn.started.wait()
            handle.cancel()
            await handle.wait()
        assert pool.report is not None
        (stray,) = pool.report.strays
        assert "self._released.wait()" in stray.stack[-1]
        await stubborn.release()
        assert pool.stats().strays == 0

    run(kind, main)


@EACH_KIND
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_wrapper_that_fails_harms_its_own_job_at_most(kind: str, when: str) -> None:
    async def fails(coro: Any) -> None:
        if when == "after":
            await coro
        raise OSError("the tracer is broken")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        complaints: list[Any] = []
        loop.set_exception_handler(lambda _, context: complaints.append(context.get("exception")))
        before = loop.get_task_factory()
        gate = Gate()
        async with WorkerPool(shutdown_timeout=5, cancel_grace=2) as pool:
            others = [await pool.submit(gate) for _ in range(3)]
            loop.set_task_factory(wrapping_in(fails))
            handle = await pool.submit(echo, "done")
            loop.set_task_factory(before)
            if when == "after":
                assert await handle == "done"
            else:
                with pytest.raises(OSError, match="tracer"):
                    await handle
            await turns()
            assert pool.state is PoolState.OPEN
            assert await pool.run(echo, 2) == 2
            gate.open()
        assert [other.state for other in others] == [JobState.SUCCEEDED] * 3
        assert adds_up(pool.report)
        gc.collect()
        # What came after the job is nobody's, so that asyncio tells of it.
        assert [type(error) for error in complaints] == ([OSError] if when == "after" else [])

    run(kind, main)


def patched(
    wrapper: Callable[[Any], Coroutine[Any, Any, Any]], only_if: Callable[[], bool]
) -> type[asyncio.SelectorEventLoop]:
    """Return a loop whose `create_task` has been patched, which is what Datadog's tracer does: there is no task factory."""

    class Patched(asyncio.SelectorEventLoop):
        def create_task(self, coro: Any, **options: Any) -> Any:
            return super().create_task(wrapper(coro) if only_if() else coro, **options)

    return Patched


TRACE: ContextVar[bool] = ContextVar("TRACE", default=False)


@pytest.mark.parametrize("only_if", [TRACE.get, lambda: True], ids=["in a trace", "always"])
def test_jobs_run_on_a_loop_whose_create_task_has_been_patched_to_wrap_coroutines(only_if: Callable[[], bool]) -> None:
    async def main() -> None:
        TRACE.set(True)
        async with WorkerPool(max_workers=2, queue_size=10) as pool:
            handles = [await pool.submit(echo, number) for number in range(6)]
            assert [await handle for handle in handles] == [*range(6)]
            assert await pool.run(sees_the_trace) is True
        assert adds_up(pool.report)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with asyncio.Runner(loop_factory=patched(traced, only_if)) as runner:
        runner.run(main())


async def sees_the_trace() -> bool:
    return TRACE.get()
