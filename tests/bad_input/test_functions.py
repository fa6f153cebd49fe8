"""What is no async function is refused as a job, at the call; every form of async function is taken."""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import types
from typing import TYPE_CHECKING, Any

import pytest

from tests.bad_input.hostile import FightingObject, OfUnnamed
from tests.bad_input.support import (
    NAN,
    Submitting,
    every_way,
)
from tests.support import echo, sleep, turns
from weirpool import JobHandle, JobState, WorkerPool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator


@every_way
async def test_submitting_a_coroutine_shows_the_right_call_and_closes_the_coroutine(
    pool: WorkerPool, submit: Submitting
) -> None:
    coroutine = echo(1)
    with pytest.raises(TypeError) as caught:
        await submit(pool, coroutine)
    assert str(caught.value) == (
        "fn must be an async function, got the coroutine echo(...): "
        "pass the function and its arguments, submit(echo, ...) instead of submit(echo(...))"
    )
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED, "or it would warn that it was never awaited"


async def _agen() -> AsyncIterator[int]:
    yield 1


def _gen() -> Iterator[int]:
    yield 1


class Awaitable:
    """An object that can be awaited, and not called."""

    def __await__(self) -> Iterator[None]:
        return iter(())


class Streaming:
    """Objects and methods that stream."""

    async def __call__(self) -> AsyncIterator[int]:
        yield 1

    def generate(self) -> Iterator[int]:
        yield 1


class Partial(functools.partial[Any]):
    """A subclass, which functools does not flatten."""


NOT_FUNCTIONS: dict[str, tuple[Callable[[], Any], str]] = {
    "int": (lambda: 7, "got 7 (int)"),
    "None": (lambda: None, "got None (NoneType)"),
    "str": (lambda: "echo", "got 'echo' (str)"),
    "tuple": (lambda: (echo, 1), "(tuple)"),
    "future": (lambda: asyncio.get_running_loop().create_future(), "await it yourself, or pass an async function that does"),
    "awaitable": (Awaitable, "await it yourself, or pass an async function that does"),
    "async generator": (_agen, "(async_generator)"),
    "generator": (_gen, "(generator)"),
    "class": (lambda: Awaitable, "got the class"),
    "async generator function": (lambda: _agen, "wrap it in"),
    "generator function": (lambda: _gen, "wrap it in"),
    "partial of an async generator function": (lambda: functools.partial(_agen), "wrap it in"),
    "partial of a partial of a generator function": (lambda: Partial(Partial(_gen)), "wrap it in"),
    "async generator method": (lambda: Streaming().__call__, "wrap it in"),
    "partial of a generator method": (lambda: functools.partial(Streaming().generate), "wrap it in"),
    "object that streams when called": (Streaming, "wrap it in"),
    "partial of a class": (lambda: functools.partial(Partial(dict), a=1), "got the class <class 'dict'>"),
    "class of a metaclass": (lambda: OfUnnamed, "got the class"),
    "coroutine of the old style": (lambda: _old_style(1), "await it yourself"),
    "module": (lambda: asyncio, "(module)"),
    "the pool itself": (WorkerPool, "(WorkerPool)"),
    "unshowable": (FightingObject, "got <FightingObject whose repr() failed>"),
    "long": (lambda: "x" * 1000, f"got '{'x' * 76}... (str)"),
}


@every_way
async def test_submitting_refuses_what_is_no_async_function(pool: WorkerPool, submit: Submitting) -> None:
    for make, says in NOT_FUNCTIONS.values():
        thing: Any = make()
        with pytest.raises(TypeError) as caught:
            await submit(pool, thing)
        assert str(caught.value).startswith("fn must be an async function, got ")
        assert says in str(caught.value)
        assert len(str(caught.value)) < 300
        assert str(caught.value).isprintable()


async def test_submitting_a_coroutine_that_somebody_else_runs_refuses_it_and_leaves_it_alone(pool: WorkerPool) -> None:
    task = asyncio.create_task(sleep(0.01, 7))
    await turns()
    with pytest.raises(TypeError, match="got the coroutine sleep"):
        await pool.submit(task.get_coro())  # type: ignore[arg-type]
    assert await task == 7


async def test_submitting_the_coroutine_that_is_running_refuses_it_and_leaves_it_alone(pool: WorkerPool) -> None:
    async def myself() -> int:
        task = asyncio.current_task()
        assert task is not None
        with pytest.raises(TypeError, match="got the coroutine"):
            pool.submit_nowait(task.get_coro())  # type: ignore[arg-type]
        return 7

    assert await asyncio.create_task(myself()) == 7


class Compiled:
    """As Cython's coroutines: no coroutine of Python's own, and not called."""

    cr_running = False
    cr_suspended = False
    cr_frame = types.SimpleNamespace(f_lasti=-1)

    def __init__(self) -> None:
        self.closed = False

    def __await__(self) -> Iterator[None]:
        return iter(())

    def send(self, value: Any) -> None:
        raise NotImplementedError

    def throw(self, *error: Any) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self.closed = True


async def test_submitting_a_coroutine_that_is_not_pythons_own_closes_it_too(pool: WorkerPool) -> None:
    coroutine = Compiled()
    with pytest.raises(TypeError, match=r"got the coroutine Compiled\(\.\.\.\): pass the function"):
        await pool.submit(coroutine)  # type: ignore[arg-type]
    assert coroutine.closed


async def test_nothing_is_called_whose_submission_is_refused(pool: WorkerPool) -> None:
    calls = []

    async def job(value: int) -> None:
        calls.append(value)

    for options in ({"timeout": 0}, {"timeout": NAN}, {"deadline": "noon"}, {"name": ""}, {"retries": 3}):
        for submit in (pool.submit, pool.submit_nowait, pool.run):
            with pytest.raises((TypeError, ValueError)):
                await submit(job, 1, **options)
    await turns()
    assert calls == []


async def test_submitting_a_task_refuses_it_and_leaves_it_alone(pool: WorkerPool) -> None:
    task = asyncio.create_task(echo(7))
    with pytest.raises(TypeError, match="await it yourself"):
        await pool.submit(task)  # type: ignore[arg-type]
    assert await task == 7


@every_way
async def test_submitting_refuses_keywords_of_the_job(pool: WorkerPool, submit: Submitting) -> None:
    with pytest.raises(TypeError, match="value"):
        await submit(pool, echo, value=1)
    with pytest.raises(TypeError):
        await submit(pool)
    with pytest.raises(TypeError):
        await submit(pool, fn=echo)


class Async:
    """Async functions in all their forms."""

    async def method(self, value: Any) -> Any:
        return await echo(value)

    @classmethod
    async def of_class(cls, value: Any) -> Any:
        return await echo(value)

    @staticmethod
    async def static(value: Any) -> Any:
        return await echo(value)

    async def __call__(self, value: Any) -> Any:
        return await echo(value)


def _decorated(fn: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(fn)
    def wrapper(*args: Any) -> Any:
        return fn(*args)

    return wrapper


@types.coroutine
def _old_style(value: Any) -> Any:
    yield
    return value


def _gives_a_future(value: Any) -> asyncio.Future[Any]:
    future = asyncio.get_running_loop().create_future()
    future.set_result(value)
    return future


GOOD = {
    "function": echo,
    "lambda": lambda value: echo(value),
    "partial": functools.partial(functools.partial(echo)),
    "method": Async().method,
    "classmethod": Async.of_class,
    "staticmethod": Async.static,
    "callable object": Async(),
    "decorated": _decorated(echo),
    "old style": _old_style,
    "gives a future": _gives_a_future,
    "gives a task": lambda value: asyncio.ensure_future(echo(value)),
    "to_thread": lambda value: asyncio.to_thread(copy.copy, value),
}


@every_way
async def test_submitting_takes_every_form_of_async_function(submit: Submitting) -> None:
    async with WorkerPool() as pool:
        for form, fn in GOOD.items():
            assert await submit(pool, fn, 7) == 7, form


async def test_a_function_that_turns_out_not_to_be_async_fails_as_a_job_and_says_what_to_do() -> None:
    def blocking() -> int:
        return 7

    async with WorkerPool() as pool:
        handle: JobHandle[Any] = await pool.submit(blocking)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="returned int instead of an awaitable") as caught:
            await handle
        assert str(caught.value).endswith("as in_thread(fn), in_process(fn) or in_interpreter(fn)")
        assert handle.state is JobState.FAILED


async def test_a_job_that_does_not_take_its_arguments_fails_as_a_job() -> None:
    async with WorkerPool() as pool:
        handle = await pool.submit(echo, 1, 2)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="echo"):
            await handle
        assert handle.state is JobState.FAILED
