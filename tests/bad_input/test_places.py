"""A call at the wrong moment, or from the wrong place, is refused and told how it is done."""

from __future__ import annotations

import asyncio
import inspect
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.bad_input.support import (
    on_a_loop_of_its_own,
)
from tests.support import Gate, echo, sleep
from weirpool import JobHandle, PoolClosed, PoolState, WorkerPool

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
    with pytest.raises(RuntimeError, match=r"<WorkerPool 'webhooks' open: .*> was entered before: .*make a new one"):
        await pool.__aenter__()


async def test_a_pool_that_was_closed_cannot_be_entered_again() -> None:
    async with WorkerPool() as pool:
        pass
    with pytest.raises(RuntimeError, match="was entered before: a pool is used once, make a new one"):
        await pool.__aenter__()
    assert pool.state is PoolState.CLOSED


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
            else:
                call()
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
@pytest.mark.parametrize("call", ["submit_nowait", "close_intake", "cancel"])
async def test_a_call_from_a_thread_without_a_loop_is_refused_and_says_how_it_is_done(call: str) -> None:
    gate = Gate()
    async with WorkerPool(shutdown_timeout=0.2, cancel_grace=0.1) as pool:
        handle = await pool.submit(gate, 7)
        before = pool.stats()
        error = elsewhere(lambda: CALLS[call](pool, handle), with_a_loop=False)
        assert type(error) is RuntimeError
        assert "another thread?" in str(error)
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


async def test_a_job_that_waits_for_itself_is_told_so() -> None:
    handles: list[JobHandle[Any]] = []

    async def awaits_itself() -> Any:
        return await handles[0]

    async with WorkerPool() as pool:
        handles.append(await pool.submit(awaits_itself))
        with pytest.raises(RuntimeError, match="waits for itself; it would wait for ever"):
            await handles[0]


async def test_a_job_with_a_name_of_bad_taste_is_called_by_it_all_the_same() -> None:
    async with WorkerPool(name="😀") as pool:
        handle = await pool.submit(sleep, 0, name="x" * 128)
        assert handle.name == "x" * 128
