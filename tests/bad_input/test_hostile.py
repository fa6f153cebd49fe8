"""Whatever a value says or does when it is looked at, it is refused by name if it is none, and else taken for what it is."""

from __future__ import annotations

import asyncio
import functools
import tracemalloc
import unittest.mock
from typing import TYPE_CHECKING, Any

import pytest

from tests.bad_input.hostile import (
    NOTHINGS,
    Big,
    Colour,
    Disguised,
    FightingFloat,
    FightingInt,
    FightingStr,
    Refusal,
    Subtle,
    refuse,
)
from tests.bad_input.support import CONSTRUCTOR, SUBMIT, Submitting, every_way, refused
from tests.support import Stubborn, echo, sleep
from weirpool import JobHandle, JobState, JobTimeout, PoolOverloaded, WorkerPool
from weirpool.events import Observer

if TYPE_CHECKING:
    from collections.abc import Iterator

# Refused --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("argument", CONSTRUCTOR)
def test_the_constructor_refuses_it_by_name(argument: str) -> None:
    allowed = CONSTRUCTOR[argument][0][2]
    for make in NOTHINGS.values():
        value = make()
        with refused(TypeError, argument, value, allowed):
            WorkerPool(**{argument: value})


def test_the_constructor_refuses_it_as_one_of_the_observers() -> None:
    for make in NOTHINGS.values():
        value = [Observer(), make()]
        with refused(TypeError, "observers", value, "a sequence of weirpool.events.Observer instances"):
            WorkerPool(observers=value)


@every_way
@pytest.mark.parametrize("argument", SUBMIT)
async def test_submitting_refuses_it_by_name(pool: WorkerPool, submit: Submitting, argument: str) -> None:
    allowed = SUBMIT[argument][0][2]
    for make in NOTHINGS.values():
        value = make()
        with refused(TypeError, argument, value, allowed):
            await submit(pool, echo, 1, **{argument: value})


@every_way
async def test_submitting_refuses_it_as_a_function(pool: WorkerPool, submit: Submitting) -> None:
    for make in NOTHINGS.values():
        value = make()
        with refused(TypeError, "fn", value, "an async function"):
            await submit(pool, value, 1)


async def test_aclose_refuses_it_by_name(pool: WorkerPool) -> None:
    for make in NOTHINGS.values():
        value = make()
        with refused(TypeError, "timeout", value, "a number of seconds above 0 and at most ten years or 0 (wait for nothing)"):
            await pool.aclose(timeout=value)


def test_a_text_of_ten_megabytes_is_refused_without_showing_all_of_it() -> None:
    name = "x" * 10_000_000
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="name must be a printable str of 1 to 128 characters, got 'xxx"):
            WorkerPool(name=name)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_lone_surrogate_which_no_log_could_be_written_with_is_refused() -> None:
    with refused(ValueError, "name", "pool\udcff", "a printable str"):
        WorkerPool(name="pool\udcff")


def test_a_disguised_name_is_refused_for_what_it_is() -> None:
    with pytest.raises(ValueError, match="name must be a printable str"):
        WorkerPool(name=Disguised("a\nb"))


@pytest.mark.parametrize("argument", ["job_timeout", "submit_timeout", "shutdown_timeout", "cancel_grace"])
@pytest.mark.parametrize("kind", [Big, FightingInt])
@pytest.mark.parametrize("value", [10**400, -(10**400)], ids=["huge", "hugely negative"])
def test_a_whole_number_beyond_any_float_is_out_of_range_and_not_an_overflow(argument: str, kind: Any, value: int) -> None:
    with pytest.raises(ValueError, match=f"{argument} must be a number of seconds"):
        WorkerPool(**{argument: kind(value)})


class Sequential(list[Observer]):
    """A list that can't be gone through."""

    def __iter__(self) -> Iterator[Observer]:
        refuse()


def test_a_sequence_of_observers_that_cannot_be_gone_through_is_refused_and_says_why() -> None:
    with pytest.raises(TypeError, match="observers must be a sequence of") as caught:
        WorkerPool(observers=Sequential())
    assert isinstance(caught.value.__cause__, Refusal)


async def _is_async(event: Any) -> None:
    raise NotImplementedError


@pytest.mark.parametrize(
    "hook",
    [None, 7, _is_async, functools.partial(_is_async), property(refuse)],
    ids=["None", "int", "async", "partial", "raises"],
)
def test_an_observer_that_could_not_be_told_is_refused_by_the_name_of_its_method(hook: Any) -> None:
    deaf = type("Deaf", (Observer,), {"job_started": hook})
    with pytest.raises(TypeError, match=r"observers must be .*\(Deaf\) as number 0: its job_started must be a plain function"):
        WorkerPool(observers=[deaf()])


async def test_a_mock_of_an_observer_is_one() -> None:
    mock = unittest.mock.Mock(Observer)
    async with WorkerPool(observers=[mock]) as pool:
        assert await pool.run(echo, 7) == 7
    mock.job_ended.assert_called_once()


class Changing(list[Any]):
    """A list that shows an observer to who looks first, and something else afterwards."""

    def __init__(self) -> None:
        super().__init__([Observer()])
        self.looks = 0

    def __iter__(self) -> Iterator[Any]:
        self.looks += 1
        return iter([Observer()] if self.looks == 1 else [None])


async def test_a_sequence_of_observers_that_changes_is_looked_at_once() -> None:
    observers = Changing()
    async with WorkerPool(observers=observers) as pool:
        assert await pool.run(echo, 7) == 7
    assert observers.looks == 1


# Taken for what it is -------------------------------------------------------------------------------------------------


@pytest.mark.complains
async def test_numbers_and_names_that_fight_back_are_taken_for_what_they_are() -> None:
    """Each number is used: none of them may raise later, in the midst of something."""
    stubborn = Stubborn()
    async with WorkerPool(
        max_workers=FightingInt(1),
        queue_size=FightingInt(0),
        job_timeout=FightingFloat(0.2),
        submit_timeout=FightingFloat(0.1),
        shutdown_timeout=FightingFloat(0.5),
        cancel_grace=FightingFloat(0.05),
        name=FightingStr("webhooks"),
    ) as pool:
        handle: JobHandle[Any] = await pool.submit(sleep, 0.15, 7, name=FightingStr("first"))
        with pytest.raises(PoolOverloaded, match=r"'webhooks' had no room for 0\.1\d* s"):
            await pool.submit(echo, 1)
        assert await handle == 7
        assert type(handle.name) is str
        with pytest.raises(JobTimeout, match=r"0\.2 s"):
            await pool.run(sleep, 1)
        with pytest.raises(JobTimeout, match=r"0\.1 s"):
            await pool.run(sleep, 1, timeout=FightingFloat(0.1))
        with pytest.raises(JobTimeout):
            await pool.run(sleep, 1, deadline=FightingFloat(asyncio.get_running_loop().time() + 0.1))
        lost = await pool.submit(stubborn)
        assert type(pool.name) is str
        assert "<WorkerPool 'webhooks' open: 1 of 1 running, 0 of 0 queued>" in repr(pool)
        assert all(type(number) is int for number in (pool.stats().max_workers, pool.stats().queue_size))
        report = await pool.aclose(timeout=FightingFloat(0.3))
        assert report.abandoned == 1
    assert lost.state is JobState.ABANDONED
    await stubborn.release()


async def test_waiting_for_nothing_may_be_said_by_a_number_of_another_library() -> None:
    async with WorkerPool(max_workers=1, queue_size=0, submit_timeout=FightingFloat(0)) as pool:
        handle = await pool.submit(sleep, 0.01)
        with pytest.raises(PoolOverloaded, match="is full"):
            await pool.submit(echo, 1)
        await handle


async def test_minus_zero_is_zero() -> None:
    async with WorkerPool(submit_timeout=-0.0, shutdown_timeout=-0.0, cancel_grace=-0.0) as pool:
        assert await pool.run(echo, 7) == 7
        assert (await pool.aclose(timeout=-0.0)).succeeded == 1
    with refused(ValueError, "job_timeout", -0.0, "a number of seconds above 0"):
        WorkerPool(job_timeout=-0.0)


@pytest.mark.parametrize("kind", [Colour, Disguised, FightingStr])
async def test_a_name_is_its_text_whatever_it_calls_itself(kind: Any) -> None:
    name, text = kind("red"), "red"
    async with WorkerPool(name=name) as pool:
        handle = await pool.submit(echo, 7, name=name)
        assert (pool.name, handle.name) == (text, text)
        assert (type(pool.name), type(handle.name)) == (str, str)
        assert await handle == 7


def test_a_number_of_seconds_is_kept_as_a_plain_one_and_shown_in_errors_as_it_was_given() -> None:
    with pytest.raises(ValueError, match=r"shutdown_timeout \(1\.0 s\), of which it is the last part, got 2\.0"):
        WorkerPool(shutdown_timeout=FightingFloat(1), cancel_grace=FightingFloat(2))
    with pytest.raises(ValueError, match=r"got -1\.5 \(Subtle\)"):
        WorkerPool(job_timeout=Subtle(-1.5))
