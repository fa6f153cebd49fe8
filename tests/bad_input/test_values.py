"""Each bad value of an argument is refused by an error that names the argument, the value and what is allowed."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
import time
from typing import Any

import pytest

from tests.bad_input.hostile import Subtle
from tests.bad_input.support import (
    ACLOSE,
    CONSTRUCTOR,
    SUBMIT,
    TEN_YEARS,
    Submitting,
    every_way,
    refused,
)
from tests.support import FOREVER, echo
from weirpool import JobTimeout, PoolState, WorkerPool
from weirpool.events import Observer

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
        {"max_workers": 1_000_000, "queue_size": 1_000_000_000},
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


@every_way
@pytest.mark.parametrize("argument", SUBMIT)
async def test_submitting_refuses_bad_values_by_name(pool: WorkerPool, submit: Submitting, argument: str) -> None:
    for value, kind, allowed in SUBMIT[argument]:
        with refused(kind, argument, value, allowed):
            await submit(pool, echo, 1, **{argument: value})


@every_way
async def test_a_timedelta_is_refused_and_says_what_to_give_instead(pool: WorkerPool, submit: Submitting) -> None:
    with pytest.raises(TypeError, match=r"got datetime\.timedelta\(seconds=5\) \(timedelta\): use its total_seconds\(\)"):
        await submit(pool, echo, 1, timeout=dt.timedelta(seconds=5))


async def test_a_deadline_in_the_past_is_a_deadline() -> None:
    loop = asyncio.get_running_loop()
    async with WorkerPool() as pool:
        for deadline in (loop.time() - 1, -FOREVER, 0):
            handle = await pool.submit(echo, 1, deadline=deadline)
            with pytest.raises(JobTimeout) as caught:
                await handle
            assert caught.value.phase == "queued"


async def test_ten_years_ahead_are_counted_from_now() -> None:
    async with WorkerPool() as pool:
        await asyncio.sleep(0.5)
        now = asyncio.get_running_loop().time()
        assert await pool.run(echo, 7, deadline=now + TEN_YEARS) == 7
        with pytest.raises(ValueError, match="at most ten years ahead"):
            await pool.submit(echo, 7, deadline=now + TEN_YEARS + 1)


@pytest.mark.realtime
async def test_a_deadline_on_another_clock_is_refused_and_says_which_clock_it_is(pool: WorkerPool) -> None:
    """On the wall clock the deadline is more than half a century away, which is none."""
    with pytest.raises(ValueError, match=r"deadline must be .*\(time\.time\(\) is another clock\)"):
        await pool.submit(echo, 1, deadline=time.time() + 5)


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
