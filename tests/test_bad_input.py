"""Bad input gets an error that names the argument, the value and what is allowed, before anything changes."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import datetime as dt
import decimal
import functools
import inspect
import threading
import types
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support import FOREVER, Gate, echo, sleep, turns
from weirpool import JobHandle, JobState, JobTimeout, PoolClosed, PoolState, WorkerPool
from weirpool.events import Observer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

TEN_YEARS = 10 * 365 * 86_400
NAN, INF = float("nan"), float("inf")


class Unshowable:
    """Something whose repr fails."""

    def __repr__(self) -> str:
        raise ValueError("not today")


class Subtle(float):
    """A number of another library, such as numpy's."""


def cases(allowed: str, wrong_kind: list[Any], wrong_size: list[Any]) -> list[tuple[Any, type[Exception], str]]:
    """Pair each bad value with the error that it deserves and what that has to say."""
    return [(value, TypeError, allowed) for value in wrong_kind] + [(value, ValueError, allowed) for value in wrong_size]


def shown(value: object) -> str:
    """Return how an error shows a value."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001, RUF100
        return "repr() failed"
    return text[:77]


WHOLE = [True, False, 2.5, 2.0, NAN, INF, "3", b"3", None, [1], decimal.Decimal(3), 3j, Unshowable()]
SECONDS = [True, False, "1", b"1", [1], decimal.Decimal(1), dt.timedelta(seconds=1), 1j, object(), Unshowable()]
SIZES = [-1, -0.001, NAN, INF, -INF, TEN_YEARS + 1, TEN_YEARS * 1.01, 10**400, 10**5000, Subtle(-1), Subtle("nan")]
NAMES_KIND = [None, 3, b"pool", ["pool"], object()]
NAMES_SIZE = ["", "x" * 129, "evil\nCRITICAL forged entry", "a\tb", "\x1b[31mred", "zero\u200bwidth", "\u202eright-to-left"]

CONSTRUCTOR = {
    "max_workers": cases("an int of at least 1", WHOLE, [0, -1, 10**10, 10**5000]),
    "queue_size": cases("an int of at least 0", WHOLE, [-1, -(10**400), 10**10]),
    "job_timeout": cases("a number of seconds above 0 and at most ten years or None", SECONDS, [0, 0.0, *SIZES]),
    "submit_timeout": cases("a number of seconds above 0 and at most ten years or 0 (do not wait) or None", SECONDS, SIZES),
    "shutdown_timeout": cases("a number of seconds above 0 and at most ten years or 0", [None, *SECONDS], SIZES),
    "cancel_grace": cases("a number of seconds above 0 and at most ten years or 0", [None, *SECONDS], SIZES),
    "name": cases("a printable str of 1 to 128 characters", NAMES_KIND, NAMES_SIZE),
    "observers": cases(
        "a sequence of weirpool",
        [None, 3, Observer(), {Observer()}, "observers", [object()], [Observer], [Observer(), None]],
        [],
    ),
}
SUBMIT = {
    "timeout": cases("a number of seconds above 0 and at most ten years or None (no limit)", SECONDS, [0, 0.0, *SIZES]),
    "deadline": cases("a finite loop time in seconds", SECONDS, [NAN, INF, -INF, 1e300, 10**400, -(10**5000)]),
    "name": cases("a printable str of 1 to 128 characters", NAMES_KIND[1:], NAMES_SIZE),
}
ACLOSE = cases("a number of seconds above 0 and at most ten years or 0 (wait for nothing) or None", SECONDS, SIZES)


@contextlib.contextmanager
def refused(kind: type[Exception], argument: str, value: object, allowed: str) -> Iterator[None]:
    """Expect an error that names the argument, the value and what is allowed, on one line of reasonable length."""
    try:
        yield
    except Exception as error:  # noqa: BLE001, RUF100
        caught: Exception | None = error
    else:
        caught = None
    assert type(caught) is kind, (shown(value), caught)
    text = str(caught)
    assert text.startswith(f"{argument} must be ")
    assert allowed in text
    assert shown(value[-1] if isinstance(value, list) and argument == "observers" else value) in text
    assert len(text) < 300
    assert "\n" not in text


@pytest.fixture
async def pool() -> AsyncIterator[WorkerPool]:
    """An open pool with a job that runs; it must be none the worse for what a test does to it."""
    gate = Gate()
    async with WorkerPool(max_workers=2, queue_size=2, name="webhooks") as pool:
        handle = await pool.submit(gate, "undisturbed")
        await turns()
        before = pool.stats()
        yield pool
        assert pool.stats() == before, "nothing has changed"
        assert pool.state is PoolState.OPEN
        assert await pool.run(echo, 7) == 7
        gate.open()
        assert await handle == "undisturbed"


# The constructor ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("argument", CONSTRUCTOR)
def test_the_constructor_refuses_bad_values_by_name(argument: str) -> None:
    for value, kind, allowed in CONSTRUCTOR[argument]:
        with refused(kind, argument, value, allowed):
            WorkerPool(**{argument: value})


def test_the_constructor_refuses_a_grace_that_is_longer_than_the_whole_budget() -> None:
    with pytest.raises(ValueError, match=r"cancel_grace must be at most shutdown_timeout \(3 s\).*got 3\.5"):
        WorkerPool(shutdown_timeout=3, cancel_grace=3.5)
    with pytest.raises(ValueError, match=r"cancel_grace must be at most shutdown_timeout \(1 s\).*got 2\.0"):
        WorkerPool(shutdown_timeout=1)


def test_the_constructor_refuses_what_it_does_not_know() -> None:
    with pytest.raises(TypeError, match="workers"):
        WorkerPool(workers=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="positional"):
        WorkerPool(3)  # type: ignore[call-arg]


async def test_the_constructor_takes_everything_up_to_the_bounds() -> None:
    options: list[dict[str, Any]] = [
        {"max_workers": 1, "queue_size": 0},
        {"max_workers": 1_000_000_000, "queue_size": 1_000_000_000},
        {"job_timeout": 0.001, "submit_timeout": 0},
        {"job_timeout": 1, "submit_timeout": None},
        {"job_timeout": Subtle(1.5), "submit_timeout": Subtle(0), "shutdown_timeout": Subtle(3)},
        {"job_timeout": TEN_YEARS, "shutdown_timeout": TEN_YEARS, "cancel_grace": TEN_YEARS},
        {"shutdown_timeout": 0, "cancel_grace": 0},
        {"name": "x" * 128},
        {"name": "Zahlungen, größer als 3 €"},
        {"observers": ()},
        {"observers": [Observer(), Observer()]},
    ]
    for chosen in options:
        async with WorkerPool(**chosen) as pool:
            assert await pool.run(echo, 7, timeout=FOREVER) == 7


def test_a_pool_is_made_without_a_running_loop_and_without_any_effect() -> None:
    before = threading.enumerate()
    assert WorkerPool().state is PoolState.NEW
    assert threading.enumerate() == before


# Submitting -----------------------------------------------------------------------------------------------------------

Submitting = Any


async def _submit(pool: WorkerPool, *args: Any, **options: Any) -> Any:
    return await (await pool.submit(*args, **options))


async def _submit_nowait(pool: WorkerPool, *args: Any, **options: Any) -> Any:
    return await pool.submit_nowait(*args, **options)


async def _run(pool: WorkerPool, *args: Any, **options: Any) -> Any:
    return await pool.run(*args, **options)


every_way = pytest.mark.parametrize("submit", [_submit, _submit_nowait, _run], ids=["submit", "submit_nowait", "run"])


@every_way
@pytest.mark.parametrize("argument", SUBMIT)
async def test_submitting_refuses_bad_values_by_name(pool: WorkerPool, submit: Submitting, argument: str) -> None:
    for value, kind, allowed in SUBMIT[argument]:
        with refused(kind, argument, value, allowed):
            await submit(pool, echo, 1, **{argument: value})


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
    "unshowable": (Unshowable, "got <Unshowable whose repr() failed>"),
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
        with pytest.raises(TypeError, match=r"returned int instead of an awaitable.*asyncio\.to_thread"):
            await handle
        assert handle.state is JobState.FAILED


async def test_a_job_that_does_not_take_its_arguments_fails_as_a_job() -> None:
    async with WorkerPool() as pool:
        handle = await pool.submit(echo, 1, 2)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="echo"):
            await handle
        assert handle.state is JobState.FAILED


async def test_a_deadline_in_the_past_is_a_deadline() -> None:
    loop = asyncio.get_running_loop()
    async with WorkerPool() as pool:
        for deadline in (loop.time() - 1, -FOREVER, 0):
            handle = await pool.submit(echo, 1, deadline=deadline)
            with pytest.raises(JobTimeout) as caught:
                await handle
            assert caught.value.phase == "queued"


# Closing --------------------------------------------------------------------------------------------------------------


async def test_aclose_refuses_bad_values_by_name(pool: WorkerPool) -> None:
    for value, kind, allowed in ACLOSE:
        with refused(kind, "timeout", value, allowed):
            await pool.aclose(timeout=value)
    assert pool.report is None


async def test_aclose_refuses_bad_input_in_a_pool_that_is_closed_or_was_never_entered_too() -> None:
    unused = WorkerPool()
    async with WorkerPool() as used:
        pass
    for pool in (unused, used):
        with pytest.raises(ValueError, match="timeout must be"):
            await pool.aclose(timeout=-1)
    assert unused.state is PoolState.NEW


async def test_aclose_takes_its_timeout_by_name_only(pool: WorkerPool) -> None:
    with pytest.raises(TypeError, match="positional"):
        await pool.aclose(5)  # type: ignore[call-arg]


# Nonsense of all kinds ------------------------------------------------------------------------------------------------

nonsense = st.one_of(
    st.integers(),
    st.integers(min_value=-(10**30), max_value=10**30),
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(min_value=0, max_value=1e9),
    st.booleans(),
    st.none(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.decimals(),
    st.fractions(),
    st.complex_numbers(),
    st.timedeltas(),
    st.lists(st.integers(), max_size=2),
)
thorough = settings(max_examples=100, deadline=None, database=None, derandomize=True)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= 10**9


def is_seconds(value: Any) -> bool:
    return is_number(value) and 0 < value <= TEN_YEARS


LEGAL: dict[str, Callable[[Any], bool]] = {
    "max_workers": lambda value: is_whole(value, 1),
    "queue_size": lambda value: is_whole(value, 0),
    "job_timeout": lambda value: value is None or is_seconds(value),
    "submit_timeout": lambda value: value is None or is_seconds(value) or (is_number(value) and value == 0),
    "shutdown_timeout": lambda value: is_seconds(value) or (is_number(value) and value == 0),
    "cancel_grace": lambda value: (is_seconds(value) or (is_number(value) and value == 0)) and value <= 20,
}


@pytest.mark.parametrize("argument", LEGAL)
@thorough
@given(value=nonsense)
@example(value=NAN)
@example(value=0)
@example(value=-0.0)
@example(value=5e-324)
@example(value=10**9)
def test_a_number_for_the_constructor_is_either_legal_or_refused_by_name(argument: str, value: Any) -> None:
    options: dict[str, Any] = {"cancel_grace": 0} if argument == "shutdown_timeout" else {}
    refusal = refusal_of(lambda: WorkerPool(**{argument: value, **options}))
    whole = argument in {"max_workers", "queue_size"}
    of_the_right_kind = is_number(value) and (isinstance(value, int) or not whole)
    check(refusal, argument, legal=LEGAL[argument](value), of_the_right_kind=of_the_right_kind)


def refusal_of(call: Callable[[], object]) -> Exception | None:
    """Return what a call raises, if it does."""
    try:
        call()
    except Exception as error:  # noqa: BLE001, RUF100
        return error
    return None


def check(refusal: Exception | None, argument: str, *, legal: bool, of_the_right_kind: bool) -> None:
    """Check that a value was refused if it is not legal, and rightly."""
    if legal:
        assert refusal is None
    else:
        assert type(refusal) is (ValueError if of_the_right_kind else TypeError)
        assert str(refusal).startswith(f"{argument} must be ")


def on_a_loop_of_its_own(main: Any) -> None:
    """Run a coroutine to its end; hypothesis calls its tests more than once, and pytest-asyncio does not."""
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(main)
    finally:
        loop.close()


@pytest.mark.realtime
@pytest.mark.parametrize("argument", ["timeout", "deadline"])
@thorough
@given(value=nonsense)
@example(value=NAN)
@example(value=5e-324)
def test_a_number_for_submit_is_either_legal_or_refused_by_name(argument: str, value: Any) -> None:
    async def main() -> None:
        async with WorkerPool() as pool:
            legal = value is None or (is_seconds(value) if argument == "timeout" else is_number(value) and abs(value) < 1e15)
            handles: list[JobHandle[Any]] = []
            refusal = refusal_of(lambda: handles.append(pool.submit_nowait(echo, 1, **{argument: value})))
            check(refusal, argument, legal=legal, of_the_right_kind=is_number(value))
            assert pool.stats().accepted == len(handles) == legal
            for handle in handles:
                await handle.wait()
                assert handle.state in {JobState.SUCCEEDED, JobState.TIMED_OUT}
                handle.exception()
            assert await pool.run(echo, 7) == 7

    on_a_loop_of_its_own(main())


@pytest.mark.realtime
@thorough
@given(value=nonsense)
@example(value=NAN)
def test_a_number_for_aclose_is_either_legal_or_refused_by_name(value: Any) -> None:
    async def main() -> None:
        async with WorkerPool() as pool:
            legal = value is None or is_seconds(value) or (is_number(value) and value == 0)
            (refusal,) = await asyncio.gather(pool.aclose(timeout=value), return_exceptions=True)
            error = refusal if isinstance(refusal, Exception) else None
            check(error, "timeout", legal=legal, of_the_right_kind=is_number(value))
            assert pool.state is (PoolState.CLOSED if legal else PoolState.OPEN)
            assert legal or await pool.run(echo, 7) == 7

    on_a_loop_of_its_own(main())


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
