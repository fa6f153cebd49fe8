"""Rates: so many jobs start in a second at most, in the pool or of one key; until then they wait in the queue."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import FOREVER, Clock, Gate, Stubborn, balanced, echo, fail, sleep, turns
from weirpool import JobCancelled, JobState, JobTimeout, PoolClosed, PoolError, PoolOverloaded, PoolState, WorkerPool
from weirpool.policies import Adaptive, OnDemand, QueueDelay, Retry, Step
from weirpool.testing import explore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytest.importorskip("aiolimiter", reason="missing: pip install 'weirpool[rate]'")

from aiolimiter import AsyncLimiter

from weirpool._pace import Pace

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

    def failing(self, times: int, key: Any = None) -> Callable[[], Awaitable[None]]:
        """Return a job that notes when it starts, too, and fails so many times."""
        pytest.importorskip("tenacity", reason="missing: pip install 'weirpool[retry]'")

        async def flaky() -> None:
            await self(key)
            if len(self.of[key]) <= times:
                raise ConnectionError

        return flaky


def options(name: str, value: Any) -> Any:
    return {name: value}


@pytest.fixture(autouse=True)
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have pauses between attempts take as long as they may, and leave nothing to chance."""
    monkeypatch.setattr("random.uniform", lambda _, most: most)


def timers() -> list[Any]:
    """Return the timers that the loop has, but for that of the test's own timeout."""
    loop: Any = asyncio.get_running_loop()
    return [timer for timer in loop._scheduled if not timer.cancelled()]


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


@pytest.mark.parametrize("options", [{"rate": 50}, {"key_rate": 50}, {"rate": 50, "key_rate": 40}, {"key_limit": 1}], ids=str)
async def test_those_who_wait_for_room_start_in_the_order_in_which_they_came(options: Any) -> None:
    """R3: there are many free places, but only one may start at a time."""
    order: list[int] = []

    async def job(number: int) -> None:
        order.append(number)
        await asyncio.sleep(0.01)

    async with WorkerPool(queue_size=0, submit_timeout=1, **options) as pool:
        await asyncio.gather(*(pool.run(job, number, key="one") for number in range(12)))
    assert order == list(range(12))


async def test_of_those_who_wait_for_room_one_is_woken_for_each_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each start would wake all of them, as there are so many free places."""
    woken: list[object] = []
    async with WorkerPool(rate=100, queue_size=0, submit_timeout=None) as pool:
        give_room = pool._admission._give_room

        def note(place: Any) -> None:
            woken.append(place)
            give_room(place)

        monkeypatch.setattr(pool._admission, "_give_room", note)
        await asyncio.gather(*(pool.run(echo, number) for number in range(50)))
    assert len(woken) < 60


async def test_after_idleness_a_pool_that_is_full_says_from_its_rate_when_to_come_again() -> None:
    async with WorkerPool(rate=50, queue_size=100, submit_timeout=0) as pool:
        await pool.run(echo, 1)
        await asyncio.sleep(600)
        for moment in range(5):
            with pytest.raises(PoolOverloaded) as refused:
                for _ in range(200):
                    await pool.submit(echo, 1)
            assert refused.value.retry_after <= 4, moment
            await asyncio.sleep(1)


async def test_steering_an_idle_pool_sets_no_timer() -> None:
    """R18."""
    async with WorkerPool(rate=0.1) as pool:
        await pool.run(echo, 1)
        for change in (pool.pause, pool.resume):
            change()
            assert not timers()


async def test_a_job_that_is_to_be_tried_again_gets_a_place_that_a_paused_pool_is_given() -> None:
    """R20: it was accepted, and is as good as running."""
    async with WorkerPool(rate=100, min_workers=1, max_workers=1) as pool:
        handle = await pool.submit(Starts().failing(1), retry=Retry(first=5, longest=5))
        await asyncio.sleep(0.1)
        other = await pool.submit(asyncio.sleep, 100)
        await asyncio.sleep(20)
        pool.pause()
        assert not handle.done()
        await pool.resize(max_workers=2, min_workers=2)
        await asyncio.sleep(1)
        assert handle.done()
        pool.resume()
        other.cancel()


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


async def test_an_idle_pool_wakes_nothing() -> None:
    """R18: a timer is set only while a job waits for its turn."""
    async with WorkerPool(rate=1) as pool:
        await pool.run(echo, 1)
        await turns(5)
        assert pool.stats().running == 0
        assert not timers()


@pytest.mark.parametrize("rates", [{"rate": 0.1}, {"key_rate": 0.1}, {"rate": 0.1, "key_rate": 0.1}])
async def test_who_is_refused_or_gives_up_leaves_no_timer_behind(rates: Any) -> None:
    """R18: nobody waits any more."""
    async with WorkerPool(**rates, queue_size=0, submit_timeout=1) as pool:
        await pool.run(echo, 1, key="a")
        with pytest.raises(PoolOverloaded):
            pool.submit_nowait(echo, 2, key="a")
        assert not timers()
        with pytest.raises(PoolOverloaded):
            await pool.submit(echo, 3, key="a")
        assert not timers()
        waiting = asyncio.create_task(pool.submit(echo, 4, key="a"))
        await turns()
        assert timers()
        waiting.cancel()
        await asyncio.wait([waiting])
        assert not timers()


@pytest.mark.parametrize("rates", [{"rate": 0.1}, {"key_rate": 0.1}, {"rate": 0.1, "key_rate": 0.1}])
async def test_jobs_that_are_cancelled_while_they_wait_leave_no_timer_behind(rates: Any) -> None:
    """R18: in the queue, and before another attempt."""
    pytest.importorskip("tenacity", reason="missing: pip install 'weirpool[retry]'")
    async with WorkerPool(**rates) as pool:
        tried = await pool.submit(fail, ConnectionError(), key="a", retry=Retry(first=0.1, longest=0.1))
        await asyncio.sleep(1)
        assert timers()
        tried.cancel()
        await tried.wait()
        assert not timers()
        waiting = await pool.submit(echo, 1, key="a")
        assert timers()
        waiting.cancel()
        assert not timers()


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
    flaky = starts.failing(3)
    async with WorkerPool(rate=1) as pool:
        await pool.run(flaky, retry=Retry(attempts=4, first=0.01, longest=0.02))
    assert starts.times == pytest.approx([0, 0.95, 1.95, 2.95], abs=0.02)


async def test_each_attempt_at_a_job_of_a_key_counts_for_the_key() -> None:
    starts = Starts()
    flaky = starts.failing(2)
    async with WorkerPool(key_rate=1) as pool:
        await pool.run(flaky, key="a", retry=Retry(attempts=4, first=0.01, longest=0.02))
        await pool.run(echo, 1, retry=Retry())
    assert starts.times == pytest.approx([0, 0.95, 1.95], abs=0.02)


@pytest.mark.parametrize("rates", [{"rate": 10}, {"key_rate": 10}, {"rate": 10, "key_rate": 10}])
async def test_another_attempt_does_not_wait_for_the_queue_to_be_empty(rates: Any) -> None:
    """R3: it was accepted before what is there."""
    starts = Starts()
    flaky = starts.failing(3, "flaky")
    async with WorkerPool(**rates, key_limit=5, shutdown_timeout=FOREVER) as pool:
        await pool.submit(flaky, key="a", retry=Retry(attempts=4, first=0.1, longest=0.1))
        for _ in range(100):
            await pool.submit(starts, key="a")
    assert starts.of["flaky"][-1] < 1
    assert most_in_a_second(starts.times) <= 11


@pytest.mark.parametrize("rates", [{"rate": 1}, {"key_rate": 1}, {"rate": 1, "key_rate": 1}])
async def test_attempts_that_are_due_while_no_place_is_free_do_not_start_all_at_once_later(rates: Any) -> None:
    """R2: a start is one when it has a place."""
    gate = Gate()
    starts = Starts()
    flaky = starts.failing(3)
    async with WorkerPool(**rates, max_workers=1, key_limit=5, shutdown_timeout=FOREVER) as pool:
        for _ in range(3):
            await pool.submit(flaky, key="a", retry=Retry(first=5, longest=5))
        await pool.submit(gate, key="a")
        await asyncio.sleep(20)
        gate.open()
    assert starts.times == pytest.approx([0, 0.95, 1.95, 20, 20.95, 21.95], abs=0.1)


async def test_who_wants_a_lent_place_back_comes_before_attempts_that_need_one() -> None:
    """R9: going on is not a start."""
    gate = Gate()
    order = list[str]()

    async def flaky() -> None:
        order.append("flaky")
        if order == ["flaky"]:
            raise ConnectionError

    async def outer(pool: WorkerPool) -> None:
        await pool.submit(gate)
        nested = await pool.submit(echo, 1)
        asyncio.get_running_loop().call_later(0.5, nested.cancel)
        with pytest.raises(JobCancelled):
            await nested
        order.append("outer")

    pytest.importorskip("tenacity", reason="missing: pip install 'weirpool[retry]'")
    async with WorkerPool(rate=AsyncLimiter(100, 1), max_workers=1) as pool:
        await pool.submit(flaky, retry=Retry(first=1, longest=1))
        await pool.submit(outer, pool)
        await asyncio.sleep(2)
        assert order == ["flaky"]
        gate.open()
    assert order == ["flaky", "outer", "flaky"]


async def test_an_attempt_that_has_kept_its_place_waits_for_its_turn_only() -> None:
    """R9: where too many lend their places already."""
    starts = Starts()
    flaky = starts.failing(2)
    async with WorkerPool(rate=1, max_workers=1, max_lending=0) as pool:
        await pool.run(flaky, retry=Retry(attempts=4, first=0.01, longest=0.02))
    assert starts.times == pytest.approx([0, 0.95, 1.95], abs=0.02)


async def test_a_job_that_its_caller_runs_is_tried_again_at_the_rate() -> None:
    starts = Starts()
    flaky = starts.failing(2)
    async with WorkerPool(rate=AsyncLimiter(2, 2), max_workers=1, queue_size=0, overload="caller_runs") as pool:
        gate = Gate()
        await pool.submit(gate)
        await pool.run(flaky, retry=Retry(attempts=4, first=0.01, longest=0.02))
        gate.open()
    assert starts.times == pytest.approx([0, 1, 2], abs=0.02)


async def test_a_caller_does_not_run_a_job_while_none_may_start() -> None:
    """It waits for room instead, as it would for a pool that is paused."""
    starts = Starts()
    gate = Gate()
    async with WorkerPool(rate=1, max_workers=1, queue_size=1, overload="caller_runs", submit_timeout=None) as pool:
        await pool.submit(gate)
        await pool.submit(starts)
        asyncio.get_running_loop().call_later(5, gate.open)
        await pool.submit(starts)
        await pool.submit(starts)
    assert len(starts.times) == 3
    assert most_in_a_second(starts.times) <= 2


async def test_an_attempt_that_waits_for_a_place_counts_when_it_is_asked_whether_there_should_be_more() -> None:
    """R20."""
    gate = Gate()
    starts = Starts()
    flaky = starts.failing(1)
    async with WorkerPool(rate=1, min_workers=1, max_workers=2) as pool:
        tried = await pool.submit(flaky, retry=Retry(first=2.5, longest=2.5))
        await pool.submit(gate)
        await tried
        assert starts.times == pytest.approx([0, 2.5], abs=0.1)
        gate.open()


@pytest.mark.parametrize("scaling", [OnDemand(), Step(interval=1), QueueDelay(interval=1, target=0.1)])
async def test_while_jobs_wait_for_their_turn_only_there_are_no_more_places(scaling: Any) -> None:
    """R20: they would not help."""
    async with WorkerPool(rate=2, min_workers=2, max_workers=50, scaling=scaling, shutdown_timeout=FOREVER) as pool:
        for _ in range(100):
            await pool.submit(echo, 1)
        await asyncio.sleep(30)
        assert pool.stats().queued
        assert pool.stats().workers == 2


async def test_adaptive_goes_by_the_places_in_use_whatever_jobs_wait_for() -> None:
    """R20: and stops at about twice as many."""
    scaling = Adaptive(interval=1)
    async with WorkerPool(rate=2, min_workers=1, max_workers=50, scaling=scaling, shutdown_timeout=FOREVER) as pool:
        for _ in range(100):
            await pool.submit(echo, 1)
        await asyncio.sleep(40)
        assert pool.stats().queued
        assert pool.stats().workers <= 3


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


async def test_a_job_whose_deadline_has_passed_costs_its_key_no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """R6: it never started."""
    loop = asyncio.get_running_loop()
    async with WorkerPool(key_rate=1, key_limit=2) as pool:
        await pool.run(echo, 1, key="a")
        pool.pause()
        late = await pool.submit(echo, 2, key="a", deadline=loop.time() + 3)
        next_one = await pool.submit(echo, 3, key="a")
        await asyncio.sleep(2)
        now = loop.time() + 2
        with monkeypatch.context() as blocked:  # something has blocked the loop
            blocked.setattr(loop, "time", lambda: now)
            pool.resume()
        assert (late.state, next_one.state) == (JobState.TIMED_OUT, JobState.RUNNING)
        with pytest.raises(JobTimeout):
            await late


async def test_keys_that_are_not_used_any_more_are_forgotten() -> None:
    """R17: memory is bounded by the keys of late."""
    async with WorkerPool(key_rate=10) as pool:
        for number in range(1000):
            await pool.run(echo, 1, key=number)
            await asyncio.sleep(0.01)
        crew: Any = pool._crew
        assert len(crew._keys) < 200


# Limiters ---------------------------------------------------------------------------------------------------------------


async def test_a_limiter_of_ones_own_may_allow_bursts() -> None:
    starts = Starts()
    async with WorkerPool(rate=AsyncLimiter(3, 30)) as pool:
        for _ in range(4):
            await pool.submit(starts)
    assert starts.times == pytest.approx([0, 0, 0, 10], abs=0.01)


async def test_a_start_that_was_not_due_is_made_up_for_by_the_next() -> None:
    """The garbage collector may bring a finalizer that submits, between the question and the start."""
    pace = Pace(AsyncLimiter(1, 1), asyncio.get_running_loop(), lambda: None)
    assert pace.is_due()
    pace.take()
    pace.take()
    pace.take()
    assert not pace.is_fresh
    since = asyncio.get_running_loop().time()
    while not pace.is_due():
        await asyncio.sleep(0.01)
    assert asyncio.get_running_loop().time() - since == pytest.approx(3, abs=0.02)
    pace.end()


def test_a_limiter_that_is_in_use_on_another_loop_is_refused() -> None:
    limiter = AsyncLimiter(1, 1)
    other = asyncio.new_event_loop()
    try:
        other.run_until_complete(limiter.acquire())

        async def main() -> None:
            pool = WorkerPool(rate=limiter)
            with pytest.raises(RuntimeError, match=r"^rate must be a limiter of the event loop that the pool is opened on"):
                await pool.__aenter__()
            assert pool.state is PoolState.NEW

        asyncio.run(main())
    finally:
        other.close()


def test_a_limiter_of_a_loop_that_is_closed_may_be_used_and_aiolimiter_warns_of_it_at_once() -> None:
    limiter = AsyncLimiter(1, 1)
    asyncio.run(limiter.acquire())

    async def main() -> int:
        pool = WorkerPool(rate=limiter)
        with pytest.warns(RuntimeWarning, match="across loops"):
            await pool.__aenter__()
        try:
            return await pool.run(echo, 1)
        finally:
            await pool.aclose()

    assert asyncio.run(main()) == 1


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


@pytest.mark.complains
async def test_a_stray_that_ends_after_closing_leaves_no_timer_behind() -> None:
    """R17."""
    stubborn = Stubborn()
    async with WorkerPool(rate=0.01, shutdown_timeout=0.2, cancel_grace=0.1, max_strays=0) as pool:
        await pool.submit(stubborn)
    assert pool.stats().strays == 1
    await stubborn.release()
    assert pool.stats().strays == 0
    assert not timers()


@pytest.mark.realtime
@pytest.mark.complains
@pytest.mark.parametrize("queue_size", [0, 1])
@pytest.mark.parametrize(("rate", "key_rate"), [(3, None), (None, 2), (5, 2)])
@pytest.mark.parametrize("attempts", [1, 2])
def test_on_every_schedule_the_books_balance_and_no_more_start_than_may(
    rate: Any, key_rate: Any, queue_size: int, attempts: int, steady: None
) -> None:
    """R1, R2, R7, R17: each task is cancelled before each of its steps."""
    pytest.importorskip("tenacity", reason="missing: pip install 'weirpool[retry]'")

    async def main() -> None:
        starts = Starts()
        tried = set[Any]()

        async def flaky(key: str, number: int) -> None:
            await starts(key)
            if (key, number) not in tried:
                tried.add((key, number))
                raise ConnectionError

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
                if attempts > 1:
                    handle = await pool.submit(flaky, key, number, key=key, retry=Retry(attempts=attempts, first=0.1))
                else:
                    handle = await pool.submit(starts, key, key=key)
                if number == attempts - 1:
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


def test_a_limiter_of_a_class_of_ones_own_is_refused() -> None:
    class Mine(AsyncLimiter):
        pass

    with pytest.raises(TypeError, match=r"^rate must be an aiolimiter.AsyncLimiter itself, and of no class"):
        WorkerPool(rate=Mine(1, 1))


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
