"""How long jobs wait and run of late: percentiles within 3 % over a sliding window, from a fixed number of counts (R18)."""

from __future__ import annotations

import asyncio
import math
import random
import sys
from typing import Any

import pytest

from tests.support import sleep
from weirpool import Percentiles, WorkerPool
from weirpool._timings import Timings


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def noted(timings: Timings, clock: Hand, ran: float, waited: float = 0.0) -> None:
    """Have a job end that has waited and run for so long."""
    end(timings, clock.now - ran - waited, clock.now - ran)


def end(timings: Timings, accepted_at: float, started_at: float) -> None:
    """Have a job end, as the crew does."""
    now = timings._time()
    timings.skip -= 1
    if not timings.skip or now > timings.until:
        timings.note(accepted_at, started_at, now)


def exact(values: list[float], share: float) -> float:
    """Return a percentile, as a textbook has it."""
    return sorted(values)[math.ceil(len(values) * share) - 1]


@pytest.mark.parametrize("seed", range(10))
def test_percentiles_are_within_three_percent(seed: int) -> None:
    dice, clock = random.Random(seed), Hand()
    timings = Timings(clock)
    ran = [math.exp(dice.uniform(math.log(2e-6), math.log(5e5))) for _ in range(dice.choice([1, 7, 1000]))]
    waited = [dice.lognormvariate(-3, 2) for _ in ran]
    for run, wait in zip(ran, waited, strict=True):
        clock.now += 0.01
        started = clock.now - run
        end(timings, started - wait, started)
    for recent, values in zip(timings.recent(), (waited, ran), strict=True):
        assert recent is not None
        assert recent.count == len(values)
        for share, percentile in ((0.5, recent.p50), (0.9, recent.p90), (0.99, recent.p99)):
            # To subtract large numbers from each other costs some digits, too.
            assert percentile == pytest.approx(exact(values, share), rel=0.0301, abs=2e-6)


def test_what_is_too_short_to_measure_is_nothing_and_what_is_too_long_is_the_longest() -> None:
    clock = Hand()
    timings = Timings(clock)
    noted(timings, clock, 0.0)
    waited, ran = timings.recent()
    assert waited == ran == Percentiles(1, 0.0, 0.0, 0.0)
    end(timings, -1e12, 0.0)
    clock.now = 1e12
    timings = Timings(clock)
    end(timings, 0.0, float("0"))
    _, ran = timings.recent()
    assert ran is not None
    assert ran.p50 == pytest.approx(1e6, rel=0.1)


def test_the_window_slides() -> None:
    clock = Hand()
    timings = Timings(clock)
    assert timings.recent() == (None, None)
    for _ in range(100):
        noted(timings, clock, 1.0)
    clock.now += 59
    noted(timings, clock, 10.0)
    _, ran = timings.recent()
    assert ran is not None
    assert ran.count == 101
    clock.now += 12
    _, ran = timings.recent()
    assert ran is not None
    assert ran.count == 1
    assert ran.p50 == pytest.approx(10, rel=0.03)
    clock.now += 100
    assert timings.recent() == (None, None)
    noted(timings, clock, 5.0)
    _, ran = timings.recent()
    assert ran is not None
    assert ran.count == 1


@pytest.mark.parametrize("seed", range(5))
def test_the_window_is_never_shorter_than_a_minute_and_at_most_ten_seconds_longer(seed: int) -> None:
    dice, clock = random.Random(seed), Hand()
    timings = Timings(clock)
    ends: list[float] = []
    for _ in range(400):
        clock.now += dice.choice([0.1, 1.0, 3.0, 11.0, dice.expovariate(0.02)])
        if dice.random() < 0.8:
            noted(timings, clock, 1.0)
            ends.append(clock.now)
        _, ran = timings.recent()
        count = 0 if ran is None else ran.count
        assert sum(end > clock.now - 60 for end in ends) <= count <= sum(end > clock.now - 71 for end in ends)


def test_memory_does_not_grow_with_the_jobs_nor_with_time() -> None:
    clock = Hand()
    timings: Any = Timings(clock)

    def size() -> int:
        return sum(sys.getsizeof(counts) for counts in (timings._waited, timings._ran, timings._marks)) + len(timings._marks)

    for _ in range(100):
        clock.now += 11
        noted(timings, clock, 1.0)
    before = size()
    for _ in range(20_000):
        clock.now += 0.5
        noted(timings, clock, random.random())
    assert size() <= before + 5
    assert len(timings._marks) <= 8


@pytest.mark.parametrize("seed", range(5))
def test_of_many_jobs_in_a_second_a_sample_is_counted_that_stands_for_all(seed: int) -> None:
    dice, clock = random.Random(seed), Hand()
    timings, noted_jobs = Timings(clock), 0
    values: list[float] = []
    for number in range(60_000):
        clock.now += 0.0005
        # Every third job is slow: a sample that took every so-manieth would see all of these, or none.
        values.append(dice.uniform(1, 2) * (100 if number % 3 == 0 else 1))
        noted_jobs += timings.skip == 1
        noted(timings, clock, values[-1])
    assert 60_000 / 20 + 300 < noted_jobs < 60_000 / 13 + 300  # the first hundred of ten seconds are all counted
    _, ran = timings.recent()
    assert ran is not None
    assert ran.count == pytest.approx(60_000, abs=31)
    for share, percentile in ((0.5, ran.p50), (0.9, ran.p90), (0.99, ran.p99)):
        assert exact(values, share - 0.05 if share < 0.9 else share - 0.02) * 0.97 <= percentile
        assert percentile <= exact(values, min(1.0, share + 0.05 if share < 0.9 else share + 0.01)) * 1.03


def test_once_jobs_are_rare_each_is_counted_again() -> None:
    clock = Hand()
    timings = Timings(clock)
    for _ in range(5000):
        clock.now += 0.0001
        noted(timings, clock, 0.001)
    assert timings.skip > 1
    _, before = timings.recent()
    for _ in range(10):
        clock.now += 1
        noted(timings, clock, 1.0)
    assert timings.skip == 1
    _, after = timings.recent()
    assert before is not None
    assert after is not None
    assert after.count == before.count + 10


@pytest.mark.parametrize("seed", range(20))
def test_the_slow_jobs_after_many_short_ones_show(seed: int) -> None:
    dice, clock = random.Random(seed), Hand()
    timings = Timings(clock)
    fast = dice.randrange(200, 400)
    for _ in range(fast):
        clock.now += 0.00002
        noted(timings, clock, 0.0001)
    for _ in range(10):
        clock.now += 3
        noted(timings, clock, 30.0)
    _, ran = timings.recent()
    assert ran is not None
    assert ran.p99 == pytest.approx(30, rel=0.03)
    assert ran.p90 == pytest.approx(0.0001, rel=0.03)


@pytest.mark.parametrize("left", [None, 3.0])
async def test_a_job_that_is_cancelled_before_its_function_is_called_has_no_run_time(left: float | None) -> None:
    async with WorkerPool(max_workers=1) as pool:
        first = await pool.submit(sleep, 0.1)
        second = await pool.submit(sleep, 1, timeout=5, deadline=left and asyncio.get_running_loop().time() + left)
        await first
        (job,) = pool.running()  # it has its place, and has not begun
        assert job.running_for == 0
        assert job.time_left is not None
        assert (left or 5.1) - 1 < job.time_left < (left or 5.1)
        second.cancel()
        await second.wait()
        ran = pool.stats().run_time
        assert ran is not None
        assert ran.count == 1


async def test_a_pool_says_how_long_its_jobs_have_waited_and_run() -> None:
    async with WorkerPool(max_workers=1) as pool:
        assert (pool.stats().run_time, pool.stats().time_in_queue) == (None, None)
        for _ in range(3):
            pool.submit_nowait(sleep, 0.1)
        cancelled = pool.submit_nowait(sleep, 0.1)
        cancelled.cancel()  # it has never run
        await pool.wait_idle()
        stats = pool.stats()
        assert stats.run_time is not None
        assert stats.time_in_queue is not None
        assert stats.run_time.count == stats.time_in_queue.count == 3
        assert stats.run_time.p50 == pytest.approx(0.1, rel=0.5)
        assert stats.time_in_queue.p99 == pytest.approx(0.2, rel=0.5)
        assert str(stats.run_time).endswith("of 3 jobs")
        await asyncio.sleep(0)
