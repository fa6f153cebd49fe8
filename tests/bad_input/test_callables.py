"""A callable may be as odd as it likes: it runs, or fails as a job, under a name that is fit to be seen."""

from __future__ import annotations

import asyncio
import functools
import logging
import types
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from tests.bad_input.hostile import Disguised, FightingObject, FightingStr, OfUnnamed, Proxy, Refusal, refuse
from tests.bad_input.support import Submitting, every_way, on_a_loop_of_its_own
from tests.support import Stubborn, adds_up, balanced, echo, turns
from weirpool import JobHandle, JobState, WorkerPool

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator, Iterator


# Callables that fight back --------------------------------------------------------------------------------------------


class FightingCallable(FightingObject):  # type: ignore[misc]
    """May be called, and nothing else."""

    def __call__(self, value: Any) -> Any:
        return echo(value)


class CallableProxy(Proxy):
    """May be called, and not asked what it is."""

    async def __call__(self, value: Any) -> Any:
        return await echo(value)


class CallableOfUnnamed(OfUnnamed):
    """May be called; its class does not tell its name."""

    async def __call__(self, value: Any) -> Any:
        return await echo(value)


class Named:
    """May be called, and is called anything."""

    def __init__(self, name: Any) -> None:
        self.__qualname__ = name

    async def __call__(self, value: Any) -> Any:
        return await echo(value)


def renamed(name: str) -> Callable[..., Any]:
    """Return an async function with another name."""

    async def job(value: Any) -> Any:
        if isinstance(value, Exception):
            raise value
        return await echo(value)

    job.__qualname__ = name
    return job


ODD: dict[str, tuple[Callable[[], Any], str]] = {
    "fighting": (FightingCallable, "FightingCallable"),
    "proxy": (CallableProxy, "CallableProxy"),
    "of a class without a name": (CallableOfUnnamed, "CallableOfUnnamed"),
    "partial of a fighting one": (lambda: functools.partial(FightingCallable()), "FightingCallable"),
    "named by a number": (lambda: Named(7), "Named"),
    "named by a fighting text": (lambda: Named(FightingStr("text")), "text"),
    "function named by a fighting text": (lambda: renamed(FightingStr("text")), "text"),
    "function named by a disguised text": (lambda: renamed(Disguised("text")), "text"),
    "function with two lines for a name": (lambda: renamed("evil\nCRITICAL forged"), "evil\\nCRITICAL forged"),
    "object with two lines for a name": (lambda: Named("evil\nCRITICAL forged"), "evil\\nCRITICAL forged"),
    "function with a name that can't be encoded": (lambda: renamed("job\udcff"), "job\\udcff"),
    "function with an endless name": (lambda: renamed("x" * 1_000_000), f"{'x' * 125}..."),
}


@every_way
async def test_an_odd_callable_runs_and_its_name_can_be_shown(submit: Submitting) -> None:
    async with WorkerPool(shutdown_timeout=0.2, cancel_grace=0.1) as pool:
        for odd, (make, name) in ODD.items():
            assert await submit(pool, make(), 7) == 7, odd
            handle: JobHandle[Any] = await pool.submit(make(), 7)
            assert handle.name == f"{name}#{handle.id}"
            assert type(handle.name) is str
            assert repr(handle).isprintable()
            assert await handle == 7
        assert balanced(pool)
    assert adds_up(pool.report)


async def test_an_odd_callable_waits_in_the_queue_as_any_other() -> None:
    async with WorkerPool(max_workers=1, shutdown_timeout=0.2, cancel_grace=0.1) as pool:
        handles: list[JobHandle[Any]] = [pool.submit_nowait(make(), 7) for make, _ in ODD.values()]
        assert [await handle for handle in handles] == [7] * len(ODD)
    assert adds_up(pool.report)


async def test_the_method_of_an_odd_object_runs() -> None:
    odd = FightingObject()
    async with WorkerPool() as pool:
        assert await pool.run(types.MethodType(echo, odd)) is odd


async def test_a_callable_that_is_gone_fails_as_a_job() -> None:
    async with WorkerPool() as pool:
        proxy: Any = weakref.proxy(Named("short-lived"))
        with pytest.raises(ReferenceError):
            await pool.run(proxy, 7)


@pytest.mark.complains
async def test_no_name_forges_a_line_in_a_log_or_in_the_report(caplog: pytest.LogCaptureFixture) -> None:
    class Forger(Stubborn):
        def __init__(self) -> None:
            super().__init__()
            self.__qualname__ = "job\nCRITICAL forged entry"

    stubborn = Forger()
    async with WorkerPool(shutdown_timeout=0.2, cancel_grace=0.1) as pool:
        await pool.submit(stubborn)
        await pool.submit(renamed("job\nCRITICAL forged entry"), ValueError("and nobody asks why"))
        await turns()
    assert "forged" in caplog.text
    assert "\nCRITICAL" not in caplog.text
    assert "forged" in str(pool.report)
    assert "\nCRITICAL" not in str(pool.report)
    await stubborn.release()


# What a callable may give ---------------------------------------------------------------------------------------------


def stream() -> Iterator[int]:
    """Be no coroutine."""
    yield 1


class Gives:
    """An awaitable whose `__await__` gives something."""

    def __init__(self, thing: Any) -> None:
        self.thing = thing

    def __await__(self) -> Any:
        return self.thing()


class Yields:
    """An awaitable that yields something to the event loop, and returns what comes back."""

    def __init__(self, thing: Any) -> None:
        self.thing = thing

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield self.thing)


class NotSoAwaitable(Proxy):
    """Can't be asked whether it can be awaited."""


def closed_coroutine() -> Coroutine[Any, Any, Any]:
    """Return a coroutine that does not warn that nobody awaits it."""
    coroutine = echo(1)
    coroutine.close()
    return coroutine


def future_of_another_loop() -> asyncio.Future[None]:
    """Return a future that this loop can't wait for."""
    loop = asyncio.new_event_loop()
    loop.close()
    return loop.create_future()


FAIL: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "int": (lambda: 7, TypeError, "returned int instead of an awaitable"),
    "None": (lambda: None, TypeError, "returned NoneType instead of an awaitable"),
    "function": (lambda: echo, TypeError, "returned function instead of an awaitable"),
    "class": (lambda: Yields, TypeError, "returned type instead of an awaitable"),
    "generator": (stream, TypeError, "returned generator instead of an awaitable"),
    "of a class without a name": (OfUnnamed, TypeError, "returned OfUnnamed instead of an awaitable"),
    "fighting": (FightingObject, Refusal, "do not touch me"),
    "proxy": (NotSoAwaitable, Refusal, "do not touch me"),
    "gone": (lambda: weakref.proxy(Named("x")), ReferenceError, "no longer exists"),
    "awaits an int": (lambda: Gives(lambda: 7), TypeError, "non-iterator|must return an iterator"),
    "awaits a list": (lambda: Gives(list), TypeError, "non-iterator|must return an iterator"),
    "awaits a coroutine": (lambda: Gives(closed_coroutine), TypeError, "returned a coroutine|must return an iterator"),
    "awaits and raises": (lambda: Gives(refuse), Refusal, "do not touch me"),
    "yields an int": (lambda: Yields(7), RuntimeError, "bad yield"),
    "yields a coroutine function": (lambda: Yields(echo), RuntimeError, "bad yield"),
    "yields a future as it is": (lambda: Yields(asyncio.get_running_loop().create_future()), RuntimeError, "yield was used"),
    "yields a future of another loop": (future_of_another_loop, RuntimeError, "different loop"),
    "yields its own task": (asyncio.current_task, RuntimeError, "cannot await on itself"),
}


@pytest.mark.parametrize("options", [{}, {"timeout": 0.5}], ids=["no timeout", "timeout"])
async def test_a_callable_that_gives_nonsense_fails_as_a_job(options: dict[str, Any]) -> None:
    async with WorkerPool(max_workers=1, shutdown_timeout=0.5, cancel_grace=0.1) as pool:
        for give, kind, says in FAIL.values():
            handle: JobHandle[Any] = await pool.submit(lambda: give(), **options)  # noqa: B023
            with pytest.raises(kind, match=says):
                await handle
            assert handle.state is JobState.FAILED
        assert await pool.run(echo, 7) == 7
        assert pool.stats().failed == len(FAIL)
    assert adds_up(pool.report)


async def test_an_awaitable_that_yields_nothing_gives_way_for_a_turn() -> None:
    async with WorkerPool() as pool:
        assert await pool.run(lambda: Yields(None)) is None


async def test_a_coroutine_that_is_given_twice_fails_the_second_time() -> None:
    async with WorkerPool() as pool:
        coroutine = echo(7)
        assert await pool.run(lambda: coroutine) == 7
        with pytest.raises(RuntimeError, match="already awaited"):
            await pool.run(lambda: coroutine)


async def test_a_coroutine_that_somebody_else_is_awaiting_fails_and_is_left_alone() -> None:
    coroutine = asyncio.sleep(0.01, 7)
    task = asyncio.create_task(coroutine)
    await turns()
    async with WorkerPool() as pool:
        with pytest.raises(RuntimeError, match="being awaited already"):
            await pool.run(lambda: coroutine)
        assert await task == 7


@pytest.mark.realtime
def test_a_job_whose_task_asyncio_loses_is_abandoned_and_the_pool_closes_in_bound(caplog: pytest.LogCaptureFixture) -> None:
    """An awaitable that yields what can't be looked at makes asyncio drop the task: it is never stepped again."""
    complaints: list[dict[str, Any]] = []

    async def main() -> float:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        async with WorkerPool(max_workers=2, shutdown_timeout=0.2, cancel_grace=0.1) as pool:
            late: JobHandle[Any] = await pool.submit(lambda: Yields(FightingObject()), timeout=0.01)
            lost: JobHandle[Any] = await pool.submit(lambda: Yields(FightingObject()))
            await late.wait()
            assert await pool.run(echo, 7) == 7, "its place is free"
            began = loop.time()
        assert (late.state, lost.state) == (JobState.ABANDONED, JobState.ABANDONED)
        assert pool.report is not None
        assert len(pool.report.strays) == 2
        assert adds_up(pool.report)
        late.exception(), lost.exception()
        return loop.time() - began

    with caplog.at_level(logging.CRITICAL):
        on_a_loop_of_its_own(main())
    assert [type(complaint["exception"]) for complaint in complaints if "exception" in complaint] == [Refusal, Refusal]
