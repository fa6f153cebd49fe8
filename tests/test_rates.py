"""Rates: so many jobs start in a second at most, in the pool or of one key; until then they wait in the queue."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from typing import Any

import pytest

from tests.support import FOREVER, Clock, Gate, balanced, echo, sleep, turns
from weirpool import JobCancelled, JobState, JobTimeout, PoolClosed, PoolError, PoolOverloaded, PoolState, WorkerPool
from weirpool.policies import Retry
from weirpool.testing import explore

pytest.importorskip("aiolimiter", reason="missing: pip install 'weirpool[rate]'")

from aiolimiter import AsyncLimiter

pytestmark = pytest.mark.virtual  # they take as long as they say, and a clock of milliseconds is too coarse


class Starts:
    """A job that notes when it starts, in seconds since this was made."""

    def __init__(self) -> None:
        self.since = asyncio.get_running_loop().time()
        self.times: list[float] = []
        self.of: dict[Any, list[float]] = {}

    async def __call__(self, key: Any = None) -> None:
        now = asyncio.get_running_loop().time() - self.since
        self.times.append(now)
        self.of.setdefault(key, []).append(now)
        await asyncio.sleep(0)


def options(name: str, value: Any) -> Any:
    return {name: value}


def most_in_a_second(times: list[float]) -> int:
    return max(sum(since <= time < since + 1 for time in times) for since in times)


async def test_jobs_start_at_the_rate_evenly() -> None:
    starts = Starts()
    async with WorkerPool(rate=10) as pool:
        for _ in range(40):
            await pool.submit(starts)
    assert len(starts.times) == 40
    assert starts.times[-1] == pytest.approx(3.85, abs=0.06)  # 40 of them at 10 a second, of which 1.5 at once
    assert most_in_a_second(starts.times) <= 11
    gaps = [after - before for before, after in zip(starts.times, starts.times[1:], strict=False)]
    assert min(gaps[2:]) == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("rate", [0.5, 3, 33.3, 1000, 20_000])
async def test_a_pool_that_is_kept_busy_starts_as_many_as_it_may(rate: float) -> None:
    starts = Starts()
    number = max(5, int(rate / 10))
    async with WorkerPool(rate=rate, queue_size=10_000, shutdown_timeout=FOREVER) as pool:
        for _ in range(number):
            await pool.submit(starts)
        await pool.wait_idle()
    burst = int(1 + rate / 20)
    assert starts.times[-1] == pytest.approx((number - burst) / rate, rel=0.02, abs=1 / rate)


async def test_while_none_may_start_jobs_wait_in_the_queue_which_is_bounded_as_ever() -> None:
    """R2: the rate takes nothing from the bound."""
    async with WorkerPool(rate=1, queue_size=2, submit_timeout=0) as pool:
        first = await pool.submit(echo, 1)
        await first
        waiting = [await pool.submit(echo, number) for number in (2, 3)]
        assert (pool.stats().queued, pool.stats().running) == (2, 0)
        with pytest.raises(PoolOverloaded):
            await pool.submit(echo, 4)
        assert [await handle for handle in waiting] == [2, 3]


async def test_without_a_queue_a_submitter_waits_until_its_job_may_start(clock: Clock) -> None:
    async with WorkerPool(rate=2, queue_size=0) as pool:
        await pool.run(echo, 1)
        clock.start()
        with pytest.raises(PoolOverloaded):
            pool.submit_nowait(echo, 2)
        assert await pool.run(echo, 2) == 2
        assert clock.passed == pytest.approx(0.45, abs=0.01)


async def test_a_jobs_timeout_does_not_run_while_it_waits_for_its_turn_and_its_deadline_does() -> None:
    """R6: as in any queue."""
    async with WorkerPool(rate=1) as pool:
        await pool.run(echo, 1)
        patient = await pool.submit(sleep, 0.1, "in time", timeout=0.2)
        late = await pool.submit(echo, 3, deadline=asyncio.get_running_loop().time() + 1.5)
        assert await patient == "in time"
        with pytest.raises(JobTimeout):
            await late


async def test_a_job_that_leaves_the_queue_costs_nobody_a_start() -> None:
    """R7: a cancelled job was never due."""
    starts = Starts()
    async with WorkerPool(rate=1) as pool:
        await pool.run(starts)
        gone = await pool.submit(starts)
        gone.cancel()
        await pool.run(starts)
    assert starts.times == pytest.approx([0.0, 0.95], abs=0.01)


async def test_an_idle_pool_wakes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """R18: a timer is set only while a job waits for its turn."""
    loop = asyncio.get_running_loop()
    async with WorkerPool(rate=1) as pool:
        await pool.run(echo, 1)
        timers = []
        monkeypatch.setattr(loop, "call_later", lambda *given, **_: timers.append(given))
        await turns(5)
        assert pool.stats().running == 0
        assert not timers


async def test_places_are_what_bounds_jobs_where_they_are_fewer() -> None:
    gate = Gate()
    async with WorkerPool(rate=100, max_workers=2) as pool:
        for _ in range(5):
            await pool.submit(gate)
        await asyncio.sleep(1)
        assert (pool.stats().running, pool.stats().queued) == (2, 3)
        gate.open()


async def test_a_pool_that_is_paused_starts_none_and_goes_on_at_its_rate() -> None:
    starts = Starts()
    async with WorkerPool(rate=2) as pool:
        pool.pause()
        for _ in range(3):
            await pool.submit(starts)
        await asyncio.sleep(5)
        assert not starts.times
        pool.resume()
    assert starts.times == pytest.approx([5.0, 5.45, 5.95], abs=0.01)


async def test_a_job_that_waits_for_a_job_of_its_own_pool_has_its_place_back_at_once() -> None:
    """R9: going on is not a start."""
    loop = asyncio.get_running_loop()
    since = loop.time()

    async def outer(pool: WorkerPool) -> float:
        await pool.run(echo, 1)
        return loop.time() - since

    async with WorkerPool(rate=0.1, max_workers=1, shutdown_timeout=FOREVER) as pool:
        assert await pool.run(outer, pool) == pytest.approx(9.95, abs=0.01)


async def test_each_attempt_at_a_job_counts() -> None:
    starts = Starts()

    async def flaky() -> None:
        await starts()
        if len(starts.times) < 4:
            raise ConnectionError

    pytest.importorskip("tenacity", reason="missing: pip install 'weirpool[retry]'")
    async with WorkerPool(rate=1) as pool:
        await pool.run(flaky, retry=Retry(attempts=4, first=0.01, longest=0.02))
    assert starts.times == pytest.approx([0, 0.95, 1.95, 2.95], abs=0.02)


async def test_each_attempt_at_a_job_of_a_key_counts_for_the_key() -> None:
    starts = Starts()

    async def flaky() -> None:
        await starts()
        if len(starts.times) < 3:
            raise ConnectionError

    pytest.importorskip("tenacity", reason="missing: pip install 'weirpool[retry]'")
    async with WorkerPool(key_rate=1) as pool:
        await pool.run(flaky, key="a", retry=Retry(attempts=4, first=0.01, longest=0.02))
        await pool.run(echo, 1, retry=Retry())
    assert starts.times == pytest.approx([0, 0.95, 1.95], abs=0.02)


# Keys -------------------------------------------------------------------------------------------------------------------


async def test_each_key_has_its_rate_and_holds_up_nobody_else() -> None:
    starts = Starts()
    async with WorkerPool(key_rate=1, key_limit=10) as pool:
        for _ in range(3):
            for key in "ab":
                await pool.submit(starts, key, key=key)
        await pool.submit(starts)
    assert starts.of["a"] == pytest.approx([0, 0.95, 1.95], abs=0.01)
    assert starts.of["b"] == pytest.approx([0, 0.95, 1.95], abs=0.01)
    assert starts.of[None] == pytest.approx([0], abs=0.01)


async def test_a_key_that_comes_back_after_its_job_has_ended_still_has_to_wait() -> None:
    starts = Starts()
    async with WorkerPool(key_rate=1) as pool:
        await pool.run(starts, key="a")
        await pool.run(starts, key="a")
    assert starts.times == pytest.approx([0, 0.95], abs=0.01)


@pytest.mark.parametrize("queue_size", [0, 1])
async def test_a_submitter_that_waits_for_room_is_woken_when_its_key_may_start_a_job(queue_size: int) -> None:
    starts = Starts()
    async with WorkerPool(key_rate=1, key_limit=9, queue_size=queue_size, submit_timeout=None) as pool:
        await asyncio.gather(*(pool.run(starts, key="a") for _ in range(4)))
    assert starts.times == pytest.approx([0, 0.95, 1.95, 2.95], abs=0.01)


async def test_of_a_key_the_jobs_of_all_priorities_count() -> None:
    starts = Starts()
    async with WorkerPool(key_rate=1, key_limit=10, aging=1000) as pool:
        for priority in (1, 0, 1, 0):
            await pool.submit(starts, priority, key="a", priority=priority)
    assert starts.of[1] == pytest.approx([0, 2.95], abs=0.01)  # the first was there alone
    assert starts.of[0] == pytest.approx([0.95, 1.95], abs=0.01)


async def test_a_keys_jobs_may_all_have_gone_when_its_turn_comes() -> None:
    async with WorkerPool(key_rate=1) as pool:
        await pool.run(echo, 1, key="a")
        gone = await pool.submit(echo, 2, key="a")
        gone.cancel()
        await asyncio.sleep(2)
        assert pool.stats().queued == 0


async def test_pool_and_key_may_both_have_a_rate() -> None:
    starts = Starts()
    async with WorkerPool(rate=2, key_rate=1) as pool:
        for key in "aabb":
            await pool.submit(starts, key, key=key)
    assert len(starts.times) == 4
    assert most_in_a_second(starts.times) <= 3
    assert all(after - before >= 0.94 for before, after in starts.of.values())


async def test_keys_that_are_not_used_any_more_are_forgotten() -> None:
    """R17: memory is bounded by the keys of late."""
    async with WorkerPool(key_rate=10) as pool:
        for number in range(1000):
            await pool.run(echo, 1, key=number)
            await asyncio.sleep(0.01)
        lanes: Any = pool._crew._queue.lanes
        assert len(lanes.paces) < 200


# Limiters ---------------------------------------------------------------------------------------------------------------


async def test_a_limiter_of_ones_own_may_allow_bursts() -> None:
    starts = Starts()
    async with WorkerPool(rate=AsyncLimiter(3, 30)) as pool:
        for _ in range(4):
            await pool.submit(starts)
    assert starts.times == pytest.approx([0, 0, 0, 10], abs=0.01)


async def test_two_pools_may_share_a_limiter() -> None:
    starts = Starts()
    limiter = AsyncLimiter(1, 1)
    async with WorkerPool(rate=limiter) as one, WorkerPool(rate=limiter) as other:
        for _ in range(4):
            await one.submit(starts, "one")
            await other.submit(starts, "other")
    assert starts.times == pytest.approx(range(8), abs=0.01)
    assert {len(times) for times in starts.of.values()} == {4}


# Closing ----------------------------------------------------------------------------------------------------------------


@pytest.mark.complains
async def test_closing_drains_at_the_rate_and_cancels_what_is_not_due_in_time(clock: Clock) -> None:
    """R11, R13: the bound holds."""
    async with WorkerPool(rate=1, shutdown_timeout=5, cancel_grace=1) as pool:
        handles = [await pool.submit(echo, number) for number in range(10)]
        clock.start()
    assert clock.passed == pytest.approx(4, abs=0.1)
    assert [handle.state for handle in handles] == [JobState.SUCCEEDED] * 5 + [JobState.CANCELLED] * 5
    assert pool.report is not None
    assert balanced(pool)


@pytest.mark.complains
@pytest.mark.parametrize("rates", [{"rate": 0.001}, {"key_rate": 0.001}, {"rate": 0.001, "key_rate": 0.001}])
async def test_closing_leaves_no_timer(rates: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """R17."""
    loop = asyncio.get_running_loop()
    timers: list[asyncio.TimerHandle] = []
    call_later = loop.call_later

    def noted(*given: Any, **options: Any) -> asyncio.TimerHandle:
        timers.append(call_later(*given, **options))
        return timers[-1]

    monkeypatch.setattr(loop, "call_later", noted)
    async with WorkerPool(**rates, shutdown_timeout=0.1, cancel_grace=0.1) as pool:
        await pool.run(echo, 1, key="a")
        late = await pool.submit(echo, 2, key="a")
        assert any(not timer.cancelled() for timer in timers)
    with pytest.raises(JobCancelled):
        await late
    assert all(timer.cancelled() for timer in timers)
    with pytest.raises(PoolClosed):
        await pool.submit(echo, 3)


@pytest.mark.realtime
@pytest.mark.complains
@pytest.mark.parametrize("queue_size", [0, 1])
@pytest.mark.parametrize(("rate", "key_rate"), [(3, None), (None, 2), (5, 2)])
def test_on_every_schedule_the_books_balance_and_no_more_start_than_may(rate: Any, key_rate: Any, queue_size: int) -> None:
    """R1, R2, R7, R17: each task is cancelled before each of its steps."""

    async def main() -> None:
        starts = Starts()
        pool = WorkerPool(
            rate=rate,
            key_rate=key_rate,
            max_workers=2,
            queue_size=queue_size,
            submit_timeout=None,
            shutdown_timeout=60,
            cancel_grace=1,
        )

        async def submitter(key: str) -> None:
            for number in range(2):
                handle = await pool.submit(starts, key, key=key)
                if number:
                    handle.cancel()

        try:
            await pool.__aenter__()
        except RuntimeError:
            assert pool.state is PoolState.CLOSED  # its own task was cancelled before it was open
            return
        try:
            async with asyncio.TaskGroup() as group:
                for key in "ab":
                    group.create_task(submitter(key))
        finally:
            await pool.aclose()
            assert balanced(pool)
            assert not starts.times or most_in_a_second(starts.times) <= (99 if rate is None else 1 + 1.05 * rate)
            for times in starts.of.values():
                assert key_rate is None or most_in_a_second(times) <= 1 + 1.05 * key_rate

    explore(main, seeds=20, tolerate=(PoolError,))


# Bad input --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rate", "key_rate"])
@pytest.mark.parametrize("value", [0, -1, 1e-300, float("nan"), float("inf"), 1e7, 10**400])
def test_a_rate_out_of_range_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must be a number of jobs per second from 0.000001 to 1,000,000") as caught:
        WorkerPool(**options(name, value))
    assert repr(value)[:10] in str(caught.value)


@pytest.mark.parametrize("name", ["rate", "key_rate"])
@pytest.mark.parametrize("value", ["5", True, [1], object()])
def test_what_is_no_rate_is_refused(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=rf"^{name} must be a number of jobs per second .* got "):
        WorkerPool(**options(name, value))


def test_a_limiter_by_which_no_job_may_ever_start_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^rate must be a limiter that allows one job at least at once, got max_rate=0.5"):
        WorkerPool(rate=AsyncLimiter(0.5, 1))


@pytest.mark.parametrize("period", [0.0, float("inf"), float("nan")])
def test_a_limiter_without_a_length_of_time_is_refused(period: float) -> None:
    limiter = AsyncLimiter(1, 1)
    limiter.time_period = period
    with pytest.raises(ValueError, match=r"^rate.time_period must be a number of seconds above 0"):
        WorkerPool(rate=limiter)


def test_a_limiter_is_none_for_each_key() -> None:
    with pytest.raises(TypeError, match=r"^key_rate must be a number"):
        WorkerPool(**options("key_rate", AsyncLimiter(1, 1)))


@pytest.mark.parametrize("name", ["rate", "key_rate"])
def test_without_aiolimiter_it_is_said_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiolimiter", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=rf"^{name} needs aiolimiter: pip install 'weirpool\[rate\]'$"):
        WorkerPool(**options(name, 1))
