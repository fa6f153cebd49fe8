"""Each argument is allowed to its limit and refused beyond it, and a refusal shows the value and what is allowed instead."""

from __future__ import annotations

import asyncio
import datetime as dt
import enum
import inspect
from typing import Any

import pytest

from tests.support import Gate, echo
from weirpool import PoolClosed, PoolOverloaded, WorkerPool

TEN_YEARS = 10 * 365 * 86_400


class Seconds(enum.IntEnum):
    """A number of another class, as configurations bring them."""

    FEW = 5


def make(argument: str, value: Any) -> None:
    """Make a pool with one option."""
    options: dict[str, Any] = {argument: value}
    WorkerPool(**options)


def refusal(argument: str, value: Any) -> str:
    """Return what the constructor says of an option."""
    with pytest.raises((TypeError, ValueError)) as caught:
        make(argument, value)
    return str(caught.value)


@pytest.mark.parametrize(("argument", "most"), [("max_workers", 1_000_000), ("queue_size", 1_000_000_000)])
def test_a_million_run_at_once_at_most_and_a_billion_wait(argument: str, most: int) -> None:
    make(argument, most)
    assert f"at most {most:,}" in refusal(argument, most + 1)


@pytest.mark.parametrize("argument", ["job_timeout", "submit_timeout", "shutdown_timeout"])
def test_ten_years_are_the_longest_time(argument: str) -> None:
    make(argument, TEN_YEARS)
    assert "at most ten years" in refusal(argument, TEN_YEARS + 1)


def test_a_time_may_be_an_int_of_another_class() -> None:
    pool = WorkerPool(shutdown_timeout=Seconds.FEW, cancel_grace=Seconds.FEW)
    assert pool.stats().max_workers == 100


@pytest.mark.parametrize(
    ("argument", "zero", "none"),
    [
        ("job_timeout", False, True),
        ("submit_timeout", True, True),
        ("shutdown_timeout", True, False),
        ("cancel_grace", True, False),
    ],
)
def test_a_refusal_of_a_time_says_whether_zero_and_none_are_allowed_and_what_they_mean(
    argument: str, zero: bool, none: bool
) -> None:
    said = refusal(argument, -1)
    assert said.startswith(f"{argument} must be a number of seconds above 0")
    assert ("or 0 (" in said) is zero
    assert ("or None (" in said) is none
    assert said.endswith("got -1 (int)")


async def test_a_deadline_may_be_ten_years_ahead_and_as_far_back_as_a_clock_goes() -> None:
    now = asyncio.get_running_loop().time()
    async with WorkerPool() as pool:
        assert await pool.run(echo, 1, deadline=now + TEN_YEARS) == 1
        handle = await pool.submit(echo, 1, deadline=-0.9e300)
        await handle.wait()
        for deadline in (now + TEN_YEARS + 1, -1e300):
            with pytest.raises(ValueError, match="finite loop time"):
                await pool.submit(echo, 1, deadline=deadline)
        assert isinstance(handle.exception(), asyncio.TimeoutError)


@pytest.mark.parametrize("thing", [5, None, "echo"])
async def test_who_submits_what_can_be_neither_called_nor_awaited_is_not_told_to_await_it(thing: Any) -> None:
    async with WorkerPool() as pool:
        with pytest.raises(TypeError, match=r"must be an async function, got .* \(\w+\)$"):
            await pool.submit(thing)


def test_a_value_is_shown_whole_up_to_eighty_characters_and_cut_to_as_many_beyond() -> None:
    fits, does_not = "x" * 78, "x" * 79  # with their quotes: 80 and 81
    assert f"got {fits!r} (str)" in refusal("max_workers", fits)
    assert f"got '{'x' * 76}... (str)" in refusal("max_workers", does_not)


def test_the_limits_that_are_not_given_are_those_of_the_documentation() -> None:
    stats = WorkerPool().stats()
    assert (stats.name, stats.max_workers, stats.queue_size) == ("pool", 100, 1000)


@pytest.mark.virtual
async def test_whoever_does_not_say_how_long_waits_five_seconds_for_room() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=0) as pool:
        await pool.submit(gate)
        with pytest.raises(PoolOverloaded) as caught:
            await pool.submit(echo, 1)
        assert caught.value.waited == pytest.approx(5)
        gate.open()


@pytest.mark.realtime
async def test_submitting_to_a_pool_that_was_never_entered_or_from_elsewhere_says_that_it_was_submitting() -> None:
    with pytest.raises(RuntimeError, match=r"^submitting needs a pool that was entered"):
        WorkerPool().submit_nowait(echo, 1)
    async with WorkerPool() as pool:
        with pytest.raises(RuntimeError, match=r"^submitting was called from a place where no event loop runs"):
            await asyncio.to_thread(pool.submit_nowait, echo, 1)


def test_the_defaults_are_those_of_the_documentation() -> None:
    parameters = inspect.signature(WorkerPool).parameters
    assert {name: parameter.default for name, parameter in parameters.items()} == {
        "max_workers": 100,
        "min_workers": None,
        "scaling": None,
        "queue_size": 1000,
        "overload": "wait",
        "job_timeout": None,
        "submit_timeout": 5.0,
        "shutdown_timeout": 20.0,
        "cancel_grace": 2.0,
        "key_limit": 1,
        "aging": 10.0,
        "rate": None,
        "key_rate": None,
        "max_lending": 10_000,
        "max_strays": None,
        "worker_context": None,
        "name": "pool",
        "observers": (),
        "meter_provider": None,
        "tracer_provider": None,
        "trace": "auto",
        "time_in_queue_histogram": False,
    }


@pytest.mark.parametrize("argument", inspect.signature(WorkerPool).parameters)
def test_a_refusal_begins_with_the_name_of_the_argument(argument: str) -> None:
    assert refusal(argument, object()).startswith(f"{argument} must be ")


def test_only_what_has_total_seconds_is_told_to_use_them() -> None:
    assert "total_seconds" in refusal("job_timeout", dt.timedelta(seconds=1))
    assert "total_seconds" not in refusal("job_timeout", "1")


def test_an_attribute_that_a_pool_of_a_subclass_lacks_is_named_for_whoever_suggests_another() -> None:
    class Mine(WorkerPool):
        pass

    pool: Any = Mine()
    with pytest.raises(AttributeError) as caught:
        pool.submitt  # noqa: B018
    assert (caught.value.name, caught.value.obj) == ("submitt", pool)


async def test_nobody_is_told_to_come_back_later_than_in_a_minute() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=0) as pool:
        await pool.submit(gate)
        pool._admission._refusals._marks = ((asyncio.get_running_loop().time() - 1000, 0),) * 2
        with pytest.raises(PoolOverloaded) as caught:
            pool.submit_nowait(echo, 1)
        gate.open()
    assert caught.value.retry_after == 60


async def test_a_closed_pool_that_was_never_entered_counts_what_it_refuses() -> None:
    pool = WorkerPool()
    await pool.aclose()
    for number in (1, 2):
        with pytest.raises(PoolClosed):
            pool.submit_nowait(echo, 1)
        assert pool.stats().refused["closed"] == number
    pool.close_intake()


async def test_a_callable_that_raises_anything_when_asked_for_its_name_is_called_like_its_class() -> None:
    class Bare(BaseException):
        pass

    class Secretive:
        def __getattr__(self, name: str) -> Any:
            raise Bare

        async def __call__(self) -> int:
            return 7

    async with WorkerPool() as pool:
        handle = await pool.submit(Secretive())
        assert await handle == 7
        assert handle.name.endswith("Secretive#1")


async def test_a_callable_whose_metaclass_hides_its_call_is_run_all_the_same() -> None:
    class Hides(type):
        def __getattribute__(cls, name: str) -> Any:
            if name == "__call__":
                raise LookupError(name)
            return super().__getattribute__(name)

    class Hidden(metaclass=Hides):
        async def __call__(self) -> int:
            return 7

    async with WorkerPool() as pool:
        assert await pool.run(Hidden()) == 7
