"""Nonsense of all kinds, for every argument of every verb, is either legal or refused by name; a refusal changes nothing."""

from __future__ import annotations

import asyncio
import functools
import types
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.bad_input.hostile import NOTHINGS, Big, Disguised, FightingFloat, FightingInt, FightingObject, FightingStr, Subtle
from tests.bad_input.support import INF, NAN, TEN_YEARS, on_a_loop_of_its_own
from tests.support import Gate, adds_up, balanced, echo, turns
from weirpool import JobHandle, JobState, PoolState, WorkerPool
from weirpool.events import Observer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

thorough = settings(max_examples=100, deadline=None, database=None, derandomize=True)


class Given:
    """Hold a value that hypothesis made: hypothesis looks at what it makes, and some of these can't be looked at."""

    def __init__(self, made_by: Callable[..., Any], *of: Any) -> None:
        self.text = f"{getattr(made_by, '__name__', made_by)}({', '.join(f'{part!r:.99}' for part in of)})"
        self.value = made_by(*of)

    def __repr__(self) -> str:
        return self.text


def nothing(which: str) -> Any:
    """Return what is no number, no text, no function and no observer."""
    return NOTHINGS[which]()


def itself(value: Any) -> Any:
    """Return a value of Python's own."""
    return value


def made(kinds: list[Any], of: st.SearchStrategy[Any]) -> st.SearchStrategy[Given]:
    """Return a strategy for values of these kinds."""
    return st.builds(Given, st.sampled_from(kinds), of)


def power(exponent: int) -> int:
    """Return a number that has no repr, if it is large enough; hypothesis must not see that either."""
    return 10**exponent  # type: ignore[no-any-return]


whole = st.one_of(st.integers(), st.integers(-3, 10**6 + 3), st.sampled_from([10**9, 10**9 + 1, 10**400, -(10**400)]))
real = st.one_of(st.floats(), st.floats(0, 1e9), st.sampled_from([0.0, -0.0, 5e-324, NAN, INF, -INF]))
numbers = st.one_of(made([itself, Big, FightingInt], whole), made([itself, Subtle, FightingFloat], real))
texts = made(
    [itself, FightingStr, Disguised],
    st.one_of(st.text(st.characters(), max_size=5), st.text(max_size=140), st.sampled_from(["x" * 128, "x" * 129, "\ud800"])),
)
others = st.one_of(
    made([nothing], st.sampled_from(sorted(NOTHINGS))),
    made([power], st.just(5000)),
    made(
        [itself],
        st.one_of(
            *(st.none(), st.booleans(), st.binary(max_size=5), st.decimals(), st.complex_numbers(), st.timedeltas()),
            *(st.dates(), st.lists(st.integers(), max_size=2), st.sampled_from([echo, Observer, Observer(), asyncio, type])),
        ),
    ),
)
anything = st.one_of(numbers, texts, others)


# What is legal, by the documentation ------------------------------------------------------------------------------------


def number(value: Any) -> int | float | None:
    """Return a number, whatever it says of itself; None if it is none."""
    if type(value) is bool:
        return None
    if issubclass(type(value), int):
        return int.__int__(value)
    return float.__float__(value) if issubclass(type(value), float) else None


def is_whole(value: Any, least: int, most: int) -> bool:
    it = number(value)
    return type(it) is int and least <= it <= most


def is_seconds(value: Any) -> bool:
    it = number(value)
    return it is not None and 0 < it <= TEN_YEARS


def is_zero(value: Any) -> bool:
    return number(value) == 0


def is_name(value: Any) -> bool:
    return issubclass(type(value), str) and 1 <= str.__len__(value) <= 128 and str.isprintable(value)


LEGAL: dict[str, Callable[[Any], bool]] = {
    "max_workers": lambda value: is_whole(value, 1, 10**6),
    "queue_size": lambda value: is_whole(value, 0, 10**9),
    "job_timeout": lambda value: value is None or is_seconds(value),
    "submit_timeout": lambda value: value is None or is_seconds(value) or is_zero(value),
    "shutdown_timeout": lambda value: is_seconds(value) or is_zero(value),
    "cancel_grace": lambda value: is_seconds(value) or is_zero(value),
    "name": is_name,
    "observers": lambda value: type(value) is list and not value,
}
OF_A_JOB: dict[str, Callable[[Any], bool]] = {
    "timeout": LEGAL["job_timeout"],
    "deadline": lambda value: value is None or (number(value) is not None and -1e300 < number(value) <= TEN_YEARS),  # type: ignore[operator]
    "name": lambda value: value is None or is_name(value),
}


KINDS: dict[str, Any] = {"name": str, "max_workers": int, "queue_size": int, "observers": ()}


def takes(legal: Mapping[str, Callable[[Any], bool]], given: Mapping[str, Given], refusal: Exception | None) -> bool:
    """Say whether a call took its arguments; check that it refused them if one is not legal, by its name and rightly."""
    wrong = {argument: each.value for argument, each in given.items() if not legal[argument](each.value)}
    if not wrong:
        assert refusal is None
        return True
    text = str(refusal)
    argument = text.partition(" ")[0]
    assert argument in wrong, text
    assert text.startswith(f"{argument} must be ")
    assert text.isprintable()
    assert len(text) < 350
    kind = KINDS.get(argument, int | float)
    right_kind = type(wrong[argument]) is not bool and issubclass(type(wrong[argument]), kind)
    assert type(refusal) is (ValueError if right_kind else TypeError), text
    return False


# The constructor ------------------------------------------------------------------------------------------------------


def constructor(given: Mapping[str, Given]) -> tuple[WorkerPool | None, Exception | None]:
    """Return a pool, or why there is none."""
    try:
        return WorkerPool(**{argument: each.value for argument, each in given.items()}), None
    except Exception as error:
        return None, error


@pytest.mark.parametrize("argument", LEGAL)
@thorough
@given(value=anything)
def test_the_constructor_takes_a_value_or_refuses_it_by_name(argument: str, value: Given) -> None:
    room = (
        {"cancel_grace": Given(itself, 0)}
        if argument == "shutdown_timeout"
        else {"shutdown_timeout": Given(itself, TEN_YEARS)}
    )
    arguments = {**room, argument: value}
    pool, refusal = constructor(arguments)
    assert (pool is not None) == takes(LEGAL, arguments, refusal)


SENSIBLE: dict[str, st.SearchStrategy[Given]] = {
    "max_workers": made([itself, FightingInt], st.integers(1, 4)),
    "queue_size": made([itself, FightingInt], st.integers(0, 4)),
    "job_timeout": made([itself, FightingFloat], st.floats(0.1, 1)),
    "submit_timeout": made([itself, FightingFloat], st.floats(0, 1)),
    "shutdown_timeout": made([itself, FightingFloat], st.floats(0.5, 1)),
    "cancel_grace": made([itself, FightingFloat], st.floats(0, 0.7)),
    "name": made([itself, FightingStr], st.just("webhooks")),
    "observers": made([itself], st.just([])),
}


@pytest.mark.realtime
@thorough
@given(
    arguments=st.fixed_dictionaries(SENSIBLE),
    nonsense=st.dictionaries(st.sampled_from(sorted(SENSIBLE)), anything, max_size=2),
)
def test_the_constructor_takes_all_its_arguments_or_refuses_one_of_those_that_are_wrong(
    arguments: dict[str, Given], nonsense: dict[str, Given]
) -> None:
    arguments |= nonsense
    pool, refusal = constructor(arguments)
    if "cancel_grace must be at most shutdown_timeout" in str(refusal):
        grace, budget = (number(arguments[argument].value) for argument in ("cancel_grace", "shutdown_timeout"))
        assert grace is not None
        assert budget is not None
        assert grace > budget
    elif takes(LEGAL, arguments, refusal):
        assert pool is not None
        on_a_loop_of_its_own(works(pool))


async def works(pool: WorkerPool) -> None:
    """Use a pool."""
    async with pool:
        assert await pool.run(echo, 7, timeout=1) == 7
        assert balanced(pool)
    assert adds_up(pool.report)


# Submitting -----------------------------------------------------------------------------------------------------------

every_verb = pytest.mark.parametrize("verb", ["submit", "submit_nowait", "run"])


async def refusal_of(verb: str, fn: Any, *args: Any, **options: Any) -> Exception | None:
    """Submit to a busy pool, and return the refusal; nothing else may have changed, and nobody else been disturbed."""
    gate, error, handle = Gate(), None, None
    async with WorkerPool(max_workers=2, queue_size=2, shutdown_timeout=0.5, cancel_grace=0.2) as pool:
        undisturbed = await pool.submit(gate, 7)
        before = pool.stats()
        try:
            handle = getattr(pool, verb)(fn, *args, **options)
            if verb != "submit_nowait":
                handle = await handle
        except Exception as raised:
            error = raised
        accepted = pool.stats().accepted == before.accepted + 1
        if accepted and verb != "run":
            assert isinstance(handle, JobHandle)
            await handle.wait()
            handle.exception()
        assert accepted or pool.stats() == before
        assert accepted == (pool.stats().ended == 1)
        assert balanced(pool)
        gate.open()
        assert await undisturbed == 7
        assert await pool.run(echo, 8) == 8
    assert adds_up(pool.report)
    return None if accepted else error


@pytest.mark.realtime
@every_verb
@thorough
@given(options=st.dictionaries(st.sampled_from(sorted(OF_A_JOB)), anything, max_size=2))
@example(options={"timeout": Given(itself, 5e-324)})
@example(options={"timeout": Given(itself, NAN), "deadline": Given(itself, NAN)})
def test_submitting_takes_its_options_or_refuses_one_of_those_that_are_wrong(verb: str, options: dict[str, Given]) -> None:
    calls: list[int] = []

    async def job() -> None:
        calls.append(1)

    async def main() -> Exception | None:
        return await refusal_of(verb, job, **{argument: each.value for argument, each in options.items()})

    refusal = on_a_loop_of_its_own(main())
    assert takes(OF_A_JOB, options, refusal) or not calls, "it was refused, and called all the same"


@pytest.mark.realtime
@every_verb
@thorough
@given(values=st.lists(anything, max_size=3))
def test_whatever_is_given_to_a_job_arrives_as_it_is(verb: str, values: list[Given]) -> None:
    arrived: list[Any] = []

    async def job(*things: Any) -> Any:
        arrived.extend(things)
        return things[0] if things else None

    things = [each.value for each in values]
    assert on_a_loop_of_its_own(refusal_of(verb, job, *things)) is None
    assert len(arrived) == len(things)
    assert all(thing is arrived_thing for thing, arrived_thing in zip(things, arrived, strict=True))


async def _stream(*_: Any) -> AsyncIterator[int]:
    yield 1


def _generate(*_: Any) -> Iterator[int]:
    yield 1


class Streams:
    """Streams when it is called."""

    __call__ = _stream


class CallableFighter(FightingObject):  # type: ignore[misc]
    """Fights back when it is looked at, not when it is called."""

    __call__ = echo


# Whether each is taken, and how it is made: anew, since a coroutine can be used once, and a future needs its loop.
FUNCTIONS: dict[str, tuple[bool, Callable[[], Any]]] = {
    "async function": (True, lambda: echo),
    "plain function": (True, lambda: lambda *_: 7),
    "function that gives a coroutine": (True, lambda: lambda *_: echo(7)),
    "builtin": (True, lambda: len),
    "fighter": (True, CallableFighter),
    "class": (False, lambda: Streams),
    "generator function": (False, lambda: _generate),
    "async generator function": (False, lambda: _stream),
    "object that streams": (False, Streams),
}
WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "partial": functools.partial,
    "partial with arguments": lambda fn: functools.partial(fn, 1, 2),
    "method": lambda fn: types.MethodType(fn, 3),
}
NO_FUNCTIONS: dict[str, Callable[[], Any]] = {
    "coroutine": lambda: echo(1),
    "future": lambda: asyncio.get_running_loop().create_future(),
    "task": asyncio.current_task,
    "generator": _generate,
    "async generator": _stream,
}


@pytest.mark.realtime
@every_verb
@thorough
@given(
    which=st.sampled_from(sorted(FUNCTIONS)),
    wrappers=st.lists(st.sampled_from(sorted(WRAPPERS)), max_size=4),
    args=st.lists(anything, max_size=2),
)
def test_a_callable_is_taken_unless_it_is_a_class_or_streams_however_it_is_wrapped(
    verb: str, which: str, wrappers: list[str], args: list[Given]
) -> None:
    legal, make = FUNCTIONS[which]

    async def main() -> Exception | None:
        fn = make()
        for wrapper in wrappers:
            fn = WRAPPERS[wrapper](fn)
        return await refusal_of(verb, fn, *(each.value for each in args))

    refusal = on_a_loop_of_its_own(main())
    assert (refusal is None) == legal
    assert legal or (type(refusal) is TypeError and str(refusal).startswith("fn must be an async function, got the "))


@pytest.mark.realtime
@every_verb
@thorough
@given(which=st.sampled_from([None, *NO_FUNCTIONS]), value=anything, args=st.lists(anything, max_size=2))
def test_what_cannot_be_called_is_refused(verb: str, which: str | None, value: Given, args: list[Given]) -> None:
    async def main() -> Exception | None:
        thing = value.value if which is None else NO_FUNCTIONS[which]()
        return await refusal_of(verb, thing, *(each.value for each in args))

    refusal = on_a_loop_of_its_own(main())
    if which is None and value.value is echo:
        assert refusal is None
    else:
        assert type(refusal) is TypeError
        assert str(refusal).startswith("fn must be an async function, got ")
        assert str(refusal).isprintable()
        assert len(str(refusal)) < 350


# Closing, and what a handle is asked ------------------------------------------------------------------------------------


@pytest.mark.realtime
@thorough
@given(value=anything, entered=st.booleans())
@example(value=Given(itself, NAN), entered=True)
def test_aclose_takes_its_timeout_or_refuses_it_by_name(value: Given, entered: bool) -> None:
    legal = {"timeout": lambda value: value is None or is_seconds(value) or is_zero(value)}

    async def main() -> None:
        pool = WorkerPool(cancel_grace=0)
        if entered:
            await pool.__aenter__()
        before, refusal = pool.stats(), None
        try:
            await pool.aclose(timeout=value.value)
        except Exception as error:
            refusal = error
        if takes(legal, {"timeout": value}, refusal):
            assert pool.state is PoolState.CLOSED
        else:
            assert pool.stats() == before
            assert not entered or await pool.run(echo, 7) == 7
        await pool.aclose()
        assert adds_up(pool.report)

    on_a_loop_of_its_own(main())


@pytest.mark.realtime
@thorough
@given(value=anything, by_name=st.booleans())
def test_what_a_handle_or_a_pool_is_told_too_much_is_refused_and_changes_nothing(value: Given, by_name: bool) -> None:
    async def main() -> None:
        gate = Gate()
        async with WorkerPool(shutdown_timeout=0.5, cancel_grace=0.2) as pool:
            handle = await pool.submit(gate, 7)
            await turns()
            before = pool.stats()
            calls: list[Any] = [
                *(handle.cancel, handle.done, handle.wait, handle.result, handle.exception),
                *(pool.close_intake, pool.stats, pool.__aenter__),
            ]
            for call in calls:
                with pytest.raises(TypeError):
                    call(reason=value.value) if by_name else call(value.value)
            with pytest.raises(TypeError):
                await pool.aclose(value.value)  # type: ignore[call-arg]
            assert pool.stats() == before
            assert handle.state is JobState.RUNNING
            gate.open()
            assert await handle == 7

    on_a_loop_of_its_own(main())
