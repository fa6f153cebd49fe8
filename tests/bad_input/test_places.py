"""A call at the wrong moment, or from the wrong place, is refused and told how it is done."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import inspect
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.bad_input.support import (
    on_a_loop_of_its_own,
)
from tests.support import Gate, echo, sleep, turns
from weirpool import JobHandle, JobState, PoolClosed, PoolState, WorkerPool, current_job, remaining

if TYPE_CHECKING:
    from collections.abc import Callable


# The wrong moment -----------------------------------------------------------------------------------------------------


async def test_a_pool_that_was_not_entered_refuses_jobs_and_says_how_it_is_done() -> None:
    pool = WorkerPool(name="webhooks")
    before = pool.stats()
    for call in (lambda: pool.submit(echo, 1), lambda: pool.run(echo, 1)):
        with pytest.raises(RuntimeError, match=r"needs a pool that was entered: async with WorkerPool\(\.\.\.\) as pool"):
            await call()
    with pytest.raises(RuntimeError, match="submitting needs a pool that was entered"):
        pool.submit_nowait(echo, 1)
    with pytest.raises(RuntimeError, match=r"close_intake.* needs a pool that was entered"):
        pool.close_intake()
    assert pool.stats() == before
    async with pool:
        assert await pool.run(echo, 7) == 7


async def test_a_coroutine_is_closed_even_if_the_pool_was_not_entered() -> None:
    coroutine = echo(1)
    with pytest.raises(TypeError, match="got the coroutine"):
        WorkerPool().submit_nowait(coroutine)  # type: ignore[arg-type]
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED


async def test_a_closed_pool_refuses_jobs() -> None:
    async with WorkerPool(name="webhooks") as pool:
        pass
    for call in (lambda: pool.submit(echo, 1), lambda: pool.run(echo, 1)):
        with pytest.raises(PoolClosed, match="'webhooks' takes no more jobs"):
            await call()
    with pytest.raises(PoolClosed):
        pool.submit_nowait(echo, 1)


async def test_a_pool_that_is_open_cannot_be_entered_again(pool: WorkerPool) -> None:
    with pytest.raises(RuntimeError, match=r"<WorkerPool 'webhooks' open: .*> was entered or closed before: .*make a new one"):
        await pool.__aenter__()


async def test_a_pool_that_was_closed_cannot_be_entered_again() -> None:
    async with WorkerPool() as pool:
        pass
    with pytest.raises(RuntimeError, match="was entered or closed before: a pool is used once, make a new one"):
        await pool.__aenter__()
    assert pool.state is PoolState.CLOSED


async def test_a_pool_that_was_closed_without_being_entered_is_closed_for_good() -> None:
    pool = WorkerPool(name="webhooks")
    await pool.aclose()
    with pytest.raises(RuntimeError, match=r"<WorkerPool 'webhooks' closed: .*> was entered or closed before"):
        await pool.__aenter__()
    for call in (lambda: pool.submit(echo, 1), lambda: pool.run(echo, 1)):
        with pytest.raises(PoolClosed, match="'webhooks' takes no more jobs"):
            await call()
    with pytest.raises(PoolClosed):
        pool.submit_nowait(echo, 1)
    assert pool.stats().refused["closed"] == 3
    assert pool.report is not None
    assert pool.report.accepted == 0


def test_a_pool_that_is_entered_where_no_loop_runs_can_be_entered_later() -> None:
    pool = WorkerPool()
    entering = pool.__aenter__()
    with pytest.raises(RuntimeError, match="no running event loop"):
        entering.send(None)
    assert pool.state is PoolState.NEW

    async def main() -> Any:
        async with pool:
            return await pool.run(echo, 7)

    assert asyncio.run(main()) == 7


def test_a_pool_is_entered_with_async_with() -> None:
    pool = WorkerPool()
    with pytest.raises(TypeError, match="context manager"), pool:  # type: ignore[attr-defined]
        pass
    assert pool.state is PoolState.NEW


async def test_two_tasks_that_enter_a_pool_at_once_are_told_apart() -> None:
    pool = WorkerPool()
    outcomes = await asyncio.gather(pool.__aenter__(), pool.__aenter__(), return_exceptions=True)
    assert sum(outcome is pool for outcome in outcomes) == 1
    assert sum(type(outcome) is RuntimeError for outcome in outcomes) == 1
    assert await pool.run(echo, 7) == 7
    await pool.aclose()


async def test_the_outcome_of_a_job_that_has_not_ended_is_refused() -> None:
    gate = Gate()
    async with WorkerPool() as pool:
        handle = await pool.submit(gate, 7, name="delivery-7")
        for look in (handle.result, handle.exception):
            with pytest.raises(asyncio.InvalidStateError, match="'delivery-7' is running: it has no outcome yet"):
                look()
        gate.open()
        assert await handle == 7


# The wrong place ------------------------------------------------------------------------------------------------------


def elsewhere(call: Callable[[], Any], *, with_a_loop: bool) -> BaseException | None:
    """Make a call in another thread, which runs a loop of its own or none, and return what it raised."""
    outcome: list[BaseException | None] = []

    async def on_a_loop() -> None:
        result = call()
        if inspect.isawaitable(result):
            await result

    def in_thread() -> None:
        try:
            if with_a_loop:
                on_a_loop_of_its_own(on_a_loop())
            elif inspect.isawaitable(result := call()):
                result.__await__().send(None)
        except BaseException as error:  # noqa: BLE001, RUF100
            outcome.append(error)
        else:
            outcome.append(None)

    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join(5)
    return outcome[0]


CALLS: dict[str, Callable[[Any, JobHandle[Any]], Any]] = {
    "submit": lambda pool, _: pool.submit(echo, 1),
    "run": lambda pool, _: pool.run(echo, 1),
    "submit_nowait": lambda pool, _: pool.submit_nowait(echo, 1),
    "aclose": lambda pool, _: pool.aclose(),
    "close_intake": lambda pool, _: pool.close_intake(),
    "cancel": lambda _, handle: handle.cancel(),
    "await": lambda _, handle: handle,
    "wait": lambda _, handle: handle.wait(),
}


@pytest.mark.realtime
@pytest.mark.parametrize("call", CALLS)
async def test_a_call_from_another_event_loop_is_refused_and_says_how_it_is_done(call: str) -> None:
    gate = Gate()
    async with WorkerPool(shutdown_timeout=0.2, cancel_grace=0.1) as pool:
        handle = await pool.submit(gate, 7)
        before = pool.stats()
        error = elsewhere(lambda: CALLS[call](pool, handle), with_a_loop=True)
        assert type(error) is RuntimeError
        assert "was called from another event loop" in str(error)
        assert "asyncio.run_coroutine_threadsafe()" in str(error)
        assert pool.stats() == before
        assert not handle.done()
        gate.open()
        assert await handle == 7


@pytest.mark.realtime
@pytest.mark.parametrize("call", CALLS)
async def test_a_call_from_a_thread_without_a_loop_is_refused_and_says_how_it_is_done(call: str) -> None:
    gate = Gate()
    async with WorkerPool(shutdown_timeout=0.2, cancel_grace=0.1) as pool:
        handle = await pool.submit(gate, 7)
        before = pool.stats()
        error = elsewhere(lambda: CALLS[call](pool, handle), with_a_loop=False)
        assert type(error) is RuntimeError
        assert "another thread, or a forked process?" in str(error)
        assert "loop.call_soon_threadsafe()" in str(error)
        assert pool.stats() == before
        assert not handle.done()
        gate.open()
        assert await handle == 7


@pytest.mark.realtime
async def test_the_way_that_the_error_shows_works() -> None:
    loop = asyncio.get_running_loop()

    def in_thread() -> Any:
        return asyncio.run_coroutine_threadsafe(entered.run(echo, 7), loop).result(5)

    async with WorkerPool() as entered:
        assert await asyncio.to_thread(in_thread) == 7


FORK = """
import asyncio, os, sys
from weirpool import WorkerPool


async def echo(value):
    return value


def refused(call):
    try:
        call()
    except RuntimeError as error:
        return "it must be called on the event loop that the pool was entered on" in str(error)


async def refused_on_another_loop(pool, handle):
    return [refused(lambda: call.__await__().send(None)) for call in (pool.submit(echo, 1), pool.aclose(), handle.wait())]


async def main():
    async with WorkerPool() as pool:
        handle = await pool.submit(asyncio.sleep, 0.05, 7)
        before = pool.stats()
        child = os.fork()
        if not child:
            calls = lambda: pool.submit_nowait(echo, 1), pool.close_intake, handle.cancel
            answers = [*map(refused, calls), *asyncio.run(refused_on_another_loop(pool, handle)), pool.stats() == before]
            print(answers, flush=True)
            os._exit(0 if answers == [True] * 7 else 1)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert await handle == 7 == await pool.run(echo, 7)
    return status

sys.exit(asyncio.run(main()))
"""


@pytest.mark.realtime
def test_a_call_from_a_forked_process_is_refused_and_the_parents_pool_goes_on() -> None:
    run = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", FORK], capture_output=True, text=True, timeout=30, check=False
    )
    assert (run.returncode, run.stderr) == (0, ""), run.stdout


async def test_a_job_that_waits_for_itself_is_told_so() -> None:
    handles: list[JobHandle[Any]] = []

    async def awaits_itself() -> Any:
        return await handles[0]

    async with WorkerPool() as pool:
        handles.append(await pool.submit(awaits_itself))
        with pytest.raises(RuntimeError, match="waits for itself; it would wait for ever"):
            await handles[0]


# A subclass that is not made as it should be ----------------------------------------------------------------------------


class NotAPool(WorkerPool):
    """Forgets to call super().__init__()."""

    def __init__(self) -> None:
        self.mine = 3


@dataclasses.dataclass
class NoPoolEither(WorkerPool):
    """Its __init__ is made for it, and does not call super().__init__()."""

    mine: int = 3


@pytest.mark.parametrize("kind", [NotAPool, NoPoolEither])
async def test_a_pool_whose_subclass_forgot_super_says_so_whatever_is_asked_of_it(kind: Any) -> None:
    pool: WorkerPool = kind()
    calls: list[Callable[[], Any]] = [
        pool.__aenter__,
        pool.aclose,
        pool.stats,
        pool.close_intake,
        lambda: pool.submit(echo, 1),
        lambda: pool.submit_nowait(echo, 1),
        lambda: pool.run(echo, 1),
        lambda: pool.state,
        lambda: pool.report,
        lambda: pool.name,
        lambda: WorkerPool.__repr__(pool),
    ]
    for call in calls:
        with pytest.raises(RuntimeError, match=rf"{kind.__name__}\.__init__\(\) must call super\(\)\.__init__\(\)"):
            result = call()
            await result
    assert not hasattr(pool, "others")
    assert kind.mine if kind is NoPoolEither else pool.mine == 3  # type: ignore[attr-defined]


async def test_a_proper_subclass_is_a_pool() -> None:
    class Mine(WorkerPool):
        def __init__(self, limit: int) -> None:
            super().__init__(max_workers=limit)

    async with Mine(3) as pool:
        assert await pool.run(echo, 7) == 7
        with pytest.raises(AttributeError, match="'Mine' object has no attribute 'limit'"):
            _ = pool.limit  # type: ignore[attr-defined]


def test_a_subclass_may_have_its_own_way_with_attributes() -> None:
    class Mine(WorkerPool):
        def __getattr__(self, name: str) -> str:
            return name

    assert Mine().anything == "anything"


# Arguments that a method does not have ----------------------------------------------------------------------------------


async def test_methods_refuse_arguments_that_they_do_not_have_and_nothing_has_changed() -> None:
    gate = Gate()
    async with WorkerPool() as pool:
        handle = await pool.submit(gate, 7)
        await turns()
        before = pool.stats()
        methods: list[Any] = [
            *(handle.cancel, handle.done, handle.wait, handle.result, handle.exception),
            *(pool.close_intake, pool.stats, pool.__aenter__, current_job, remaining),
        ]
        for method in methods:
            for wrong in (functools.partial(method, 7), functools.partial(method, None), functools.partial(method, timeout=7)):
                with pytest.raises(TypeError):
                    wrong()
        for thing, attributes in ((handle, ("id", "name", "state", "anything")), (pool, ("name", "state", "report"))):
            for attribute in attributes:
                with pytest.raises(AttributeError):
                    setattr(thing, attribute, 7)
        assert (pool.stats(), handle.state) == (before, JobState.RUNNING)
        gate.open()
        assert await handle == 7


async def test_a_job_with_a_name_of_bad_taste_is_called_by_it_all_the_same() -> None:
    async with WorkerPool(name="😀") as pool:
        handle = await pool.submit(sleep, 0, name="x" * 128)
        assert handle.name == "x" * 128
