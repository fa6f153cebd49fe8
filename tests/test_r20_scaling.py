"""R20: a pool with a policy scales between its bounds, says why, and has no timer when it is at rest at its lower bound."""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import Clock, Gate, Stubborn, balanced, echo, fail, sleep, turns
from weirpool import JobTimeout, PoolClosed, PoolOverloaded, WorkerPool
from weirpool.events import Observer, PoolResized, StrayEnded
from weirpool.policies import Adaptive, Decision, Load, OnDemand, QueueDelay, Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from weirpool.policies import ScalingController


class Ear(Observer):
    """Hear of every change."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, int, str]] = []

    def pool_resized(self, event: PoolResized) -> None:
        self.heard.append((event.was, event.now, event.reason))


class Scripted:
    """A policy that does as a test says, and keeps what it is told."""

    def __init__(self, decide: Callable[[Load], Decision | None], interval: float = 1.0, *, on_submit: bool = False) -> None:
        self.interval = interval
        self.on_submit = on_submit
        self.while_idle = True
        self.loads: list[Load] = []
        self._decide = decide

    def controller(self) -> ScalingController:
        return self

    def decide(self, load: Load, /) -> Decision | None:
        self.loads.append(load)
        return self._decide(load)


# On demand ----------------------------------------------------------------------------------------------------------------


async def test_an_elastic_pool_begins_with_its_least_number_of_workers() -> None:
    async with WorkerPool(min_workers=2, max_workers=10) as pool:
        stats = pool.stats()
        assert (stats.min_workers, stats.workers, stats.max_workers) == (2, 2, 10)
    assert WorkerPool(min_workers=2, max_workers=10).stats().workers == 2


@pytest.mark.parametrize("queue_size", [0, 5])
async def test_it_grows_within_the_submit_that_finds_no_place(queue_size: int) -> None:
    gate, ear = Gate(), Ear()
    async with WorkerPool(min_workers=1, max_workers=3, queue_size=queue_size, submit_timeout=0, observers=[ear]) as pool:
        for number in range(1, 4):
            await pool.submit(gate)
            assert (pool.stats().running, pool.stats().workers, pool.stats().queued) == (number, number, 0)
        if queue_size:
            await pool.submit(gate)
            assert (pool.stats().running, pool.stats().queued) == (3, 1)
        else:
            with pytest.raises(PoolOverloaded):
                await pool.submit(gate)
        assert [heard[:2] for heard in ear.heard] == [(1, 2), (2, 3)]
        assert balanced(pool)
        gate.open()


@pytest.mark.virtual
async def test_it_retires_one_worker_for_each_idle_period_and_never_below_its_least(clock: Clock) -> None:
    async with WorkerPool(min_workers=2, max_workers=6, scaling=OnDemand(idle_period=0.1)) as pool:
        for _ in range(5):
            await pool.submit(sleep, 0.05)
        assert pool.stats().workers == 5
        await pool.wait_idle()
        seen = [pool.stats().workers]
        for _ in range(8):
            await asyncio.sleep(0.1)
            seen.append(pool.stats().workers)
        assert seen[0] == 5
        assert all(before - after in {0, 1} for before, after in itertools.pairwise(seen))
        assert seen[-1] == 2


@pytest.mark.virtual
async def test_an_elastic_pool_at_rest_has_no_timer_and_a_fixed_one_never() -> None:
    loop: Any = asyncio.get_running_loop()

    def timers() -> int:
        return sum(not timer.cancelled() for timer in loop._scheduled)

    before = timers()
    async with WorkerPool(min_workers=1, max_workers=3, scaling=OnDemand(idle_period=1.0)) as pool:
        assert timers() == before
        await asyncio.gather(*(pool.run(sleep, 0.1) for _ in range(3)))
        assert timers() == before + 1
        await asyncio.sleep(10)
        assert (pool.stats().workers, timers()) == (1, before)
        await pool.run(echo, 1)
        assert timers() == before + 1
    assert timers() == before
    async with WorkerPool(max_workers=3) as pool:
        await pool.run(echo, 1)
        assert timers() == before


async def test_a_pool_that_is_closed_scales_no_more(clock: Clock) -> None:
    ear = Ear()
    async with WorkerPool(min_workers=1, max_workers=5, scaling=OnDemand(idle_period=0.05), observers=[ear]) as pool:
        await asyncio.gather(*(pool.run(sleep, 0.01) for _ in range(5)))
    heard = list(ear.heard)
    await asyncio.sleep(0.3)
    assert ear.heard == heard


async def test_it_goes_on_growing_while_it_drains() -> None:
    gate = Gate()
    async with WorkerPool(min_workers=1, max_workers=3, scaling=Step(interval=0.05, step=1)) as pool:
        handles = [await pool.submit(sleep, 0.2) for _ in range(6)]
    assert all(handle.done() for handle in handles)
    gate.open()


# What a policy is told ----------------------------------------------------------------------------------------------------


@pytest.mark.virtual
async def test_a_policy_is_told_how_jobs_have_fared_since_it_looked_last() -> None:
    policy = Scripted(lambda load: None, interval=1.0)
    async with WorkerPool(min_workers=1, max_workers=2, queue_size=2, submit_timeout=0, scaling=policy) as pool:
        await pool.submit(sleep, 0.2)
        failing = await pool.submit(fail, KeyError("x"))
        late = await pool.submit(sleep, 5, timeout=0.1)
        with pytest.raises(PoolOverloaded):
            await pool.submit(echo, 1)
        await failing.wait()
        failing.exception()
        with pytest.raises(JobTimeout):
            await late
        await asyncio.sleep(1)
        await pool.submit(sleep, 1.5)
        await asyncio.sleep(1.0)
        first, second, *_ = policy.loads
    assert (first.workers, first.min_workers, first.max_workers, first.busy, first.queued) == (1, 1, 2, 0, 0)
    assert (first.started, first.succeeded, first.failed, first.timed_out) == (3, 1, 1, 1)
    assert first.dropped == 1
    assert first.busy_seconds == pytest.approx(0.3, abs=0.01)
    assert (first.least_queue_delay, first.peak_busy, first.queue_delay) == (0.0, 1, 0.0)
    assert (second.started, second.succeeded, second.busy) == (1, 0, 1)
    assert second.now - first.now == pytest.approx(1.3)  # it did not look while there was nothing to look at


@pytest.mark.virtual
async def test_a_policy_is_told_how_long_the_next_job_has_waited() -> None:
    policy = Scripted(lambda load: None, interval=1.0)
    async with WorkerPool(min_workers=1, max_workers=2, scaling=policy) as pool:
        await pool.submit(sleep, 1.5)
        await pool.submit(echo, 1)
        waiting = await pool.submit(echo, 2)
        await asyncio.sleep(1.1)
        assert policy.loads[0].queued == 2
        assert policy.loads[0].queue_delay == pytest.approx(1.0)
        await waiting


@pytest.mark.virtual
async def test_a_policy_that_wants_to_know_is_asked_when_a_job_has_to_wait() -> None:
    policy = Scripted(lambda load: None, interval=100.0, on_submit=True)
    gate = Gate()
    async with WorkerPool(min_workers=1, max_workers=2, queue_size=1, submit_timeout=0, scaling=policy) as pool:
        await pool.submit(gate)
        assert policy.loads == []
        await pool.submit(gate)
        assert [(load.queued, load.waiting, load.started) for load in policy.loads] == [(1, 0, 0)]
        with pytest.raises(PoolOverloaded):
            await pool.submit(gate)
        assert [(load.queued, load.waiting) for load in policy.loads] == [(1, 0), (1, 1)]
        gate.open()


# What a policy says -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("said", "place"), [(100, 4), (-3, 2), (0, 2), (3, 3), (2.9, 2)])
async def test_what_a_policy_says_is_brought_inside_the_bounds(said: Any, place: int) -> None:
    policy = Scripted(lambda load: Decision(said, "because"), on_submit=True)
    ear = Ear()
    async with WorkerPool(min_workers=2, max_workers=4, scaling=policy, observers=[ear]) as pool:
        for _ in range(3):
            await pool.submit(sleep, 0.01)
        assert pool.stats().workers == place
    assert ear.heard == ([] if place == 2 else [(2, place, "because")])


@pytest.mark.complains
@pytest.mark.parametrize("said", [ValueError("no"), "nonsense", Decision(math.nan, "?"), Decision(None, "?")])  # type: ignore[arg-type]
async def test_a_policy_that_raises_or_talks_nonsense_is_logged_and_not_asked_again(
    said: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def decide(load: Load) -> Decision | None:
        if isinstance(said, Exception):
            raise said
        return said  # type: ignore[no-any-return]

    policy = Scripted(decide, on_submit=True)
    async with WorkerPool(min_workers=1, max_workers=4, scaling=policy, name="webhooks") as pool:
        handles = [await pool.submit(echo, n) for n in range(5)]
        assert [await handle for handle in handles] == list(range(5))
        assert (pool.stats().workers, len(policy.loads)) == (1, 1)
    logged = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.getMessage() for record in logged] == [
        "the scaling policy of pool 'webhooks' raised, and is not asked any more"
    ]


async def test_resizing_an_elastic_pool_changes_its_bounds() -> None:
    gate, ear = Gate(), Ear()
    async with WorkerPool(min_workers=2, max_workers=4, observers=[ear]) as pool:
        await pool.resize(min_workers=3)
        await pool.resize(max_workers=10)
        for _ in range(8):
            await pool.submit(gate)
        assert (pool.stats().min_workers, pool.stats().workers, pool.stats().max_workers) == (3, 8, 10)
        gate.open()
        await pool.resize(min_workers=1, max_workers=1)
        assert pool.stats().workers == 1
        with pytest.raises(ValueError, match=r"min_workers must be at most max_workers \(1\), got 2"):
            await pool.resize(min_workers=2)
        assert ear.heard[0] == (2, 3, "resize")
        assert ear.heard[-1] == (8, 1, "resize")


@pytest.mark.parametrize(
    "policy", [OnDemand(idle_period=0.05), Step(interval=0.05), QueueDelay(interval=0.05), Adaptive(interval=0.05)]
)
async def test_each_policy_runs_all_jobs_and_keeps_inside_the_bounds(policy: Any) -> None:
    ear = Ear()
    async with WorkerPool(
        min_workers=1, max_workers=8, queue_size=100, submit_timeout=None, scaling=policy, observers=[ear]
    ) as pool:
        handles = [await pool.submit(sleep, 0.01, n) for n in range(200)]
        assert [await handle for handle in handles] == list(range(200))
        assert pool.stats().succeeded == 200
    assert all(1 <= now <= 8 and was != now and reason for was, now, reason in ear.heard)


# Bad input ----------------------------------------------------------------------------------------------------------------


def test_bounds_that_are_the_wrong_way_round_are_refused() -> None:
    with pytest.raises(ValueError, match=r"min_workers must be at most max_workers \(3\), got 4"):
        WorkerPool(min_workers=4, max_workers=3)
    with pytest.raises(ValueError, match="min_workers must be an int of at least 1"):
        WorkerPool(min_workers=0)


@pytest.mark.parametrize("scaling", ["on_demand", OnDemand, object(), 3])
def test_what_is_no_scaling_policy_is_refused(scaling: Any) -> None:
    with pytest.raises(TypeError, match=r"scaling must be a weirpool\.policies\.ScalingPolicy"):
        WorkerPool(min_workers=1, scaling=scaling)


async def test_a_policy_may_be_given_to_a_pool_that_does_not_scale_yet() -> None:
    async with WorkerPool(max_workers=2, scaling=OnDemand()) as pool:
        assert pool.stats().workers == 2
        await pool.resize(min_workers=1, max_workers=3)
        gate = Gate()
        for _ in range(3):
            await pool.submit(gate)
        await turns()
        assert pool.stats().workers == 3
        gate.open()


@pytest.mark.complains
@pytest.mark.parametrize("watched", [False, True])
async def test_an_elastic_pools_strays_are_told_of_as_ever(watched: bool) -> None:
    ended: list[str] = []

    class Ear(Observer):
        def stray_ended(self, event: StrayEnded) -> None:
            ended.append(event.name)

    stubborn = Stubborn()
    observers = [Ear()] if watched else []
    async with WorkerPool(min_workers=1, max_workers=3, cancel_grace=0.01, observers=observers) as pool:
        handle = await pool.submit(stubborn, timeout=0.01, name="stray")
        await handle.wait()
        handle.exception()
        await stubborn.release()
    assert ended == ["stray"] * watched


@pytest.mark.complains
async def test_a_policy_that_wants_to_end_the_program_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def decide(load: Load) -> Decision | None:
        raise KeyboardInterrupt

    raised: list[BaseException] = []
    monkeypatch.setattr("weirpool._asking.raise_in_loop", lambda _, error: raised.append(error))

    class Ends:
        when_full = "wait"
        newest_first = False

        def controller(self) -> Any:
            return self

        def refuses(self, *_: Any) -> bool:
            raise KeyboardInterrupt

    ends: Any = Ends()
    policy = Scripted(decide, on_submit=True)
    async with WorkerPool(min_workers=1, max_workers=2, scaling=policy, overload=ends) as pool:
        handles = [await pool.submit(echo, n) for n in range(3)]
        assert [await handle for handle in handles] == [0, 1, 2]
    assert [type(error) for error in raised] == [KeyboardInterrupt] * 2


# Who waits for a place, whichever way it came to that -----------------------------------------------------------------------


async def test_it_grows_for_what_has_waited_while_it_was_paused() -> None:
    gate = Gate()
    async with WorkerPool(min_workers=1, max_workers=10) as pool:
        pool.pause()
        for _ in range(5):
            await pool.submit(gate)
        assert pool.stats().workers == 1
        pool.resume()
        assert (pool.stats().workers, pool.stats().running) == (5, 5)
        gate.open()


@pytest.mark.parametrize("queue_size", [0, 10])
async def test_it_grows_for_what_waits_when_it_may(queue_size: int) -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, scaling=OnDemand(), queue_size=queue_size, submit_timeout=None) as pool:
        await pool.submit(gate)
        waiting = [asyncio.create_task(pool.submit(gate)) for _ in range(3)]
        await turns()
        await pool.resize(max_workers=3)
        await turns(10)
        assert (pool.stats().workers, pool.stats().running) == (3, 3)
        gate.open()
        await asyncio.gather(*waiting)


async def test_it_grows_for_a_job_that_wants_its_lent_place_back() -> None:
    hold, asked = Gate(), Gate()

    async def parent() -> str:
        await pool.run(asked)
        return "back"

    async with WorkerPool(min_workers=1, max_workers=2) as pool:
        job = await pool.submit(parent)
        await turns()
        await pool.submit(hold)
        assert (pool.stats().workers, pool.stats().lending) == (2, 1)
        asked.open()
        assert await job == "back"
        hold.open()


async def test_it_grows_for_a_job_whose_lent_place_is_taken() -> None:
    """It was lent when nothing was to be done with it, and taken by a job that would not have had to wait."""
    hold, asked = Gate(), asyncio.Event()

    async def parent() -> str:
        asked.set()
        await other
        return "back"

    async with WorkerPool(name="other") as elsewhere, WorkerPool(min_workers=1, max_workers=2) as pool:
        other = await elsewhere.submit(lambda: pool.run(echo, 1))
        job = await pool.submit(parent)
        await asked.wait()
        await pool.submit(hold)
        assert await job == "back"
        hold.open()


async def test_it_does_not_shrink_because_a_job_has_to_wait_for_its_key() -> None:
    gate = Gate()
    async with WorkerPool(min_workers=1, max_workers=5, queue_size=1) as pool:
        for key in "abc":
            await pool.submit(gate, key=key)
        await pool.submit(gate, key="a")
        workers = pool.stats().workers
        gate.open()
        await turns(10)
        gate = Gate()
        await pool.submit(gate, key="a")
        await pool.submit(gate, key="a")  # the queue is full of it
        with pytest.raises(PoolOverloaded):
            pool.submit_nowait(gate, key="a")
        assert pool.stats().workers == workers
        gate.open()


@pytest.mark.virtual
async def test_adaptive_looks_no_more_while_nothing_happens_and_keeps_its_places(clock: Clock) -> None:
    """It has found out what the downstream bears, and R18: an idle pool wakes nothing."""
    async with WorkerPool(min_workers=1, max_workers=20, scaling=Adaptive(interval=0.1)) as pool:
        for _ in range(600):
            pool.submit_nowait(sleep, 0.05)
        await pool.wait_idle()
        workers = pool.stats().workers
        assert workers > 1
        await asyncio.sleep(1)
        scaler: Any = pool._scaler
        assert scaler._timer is None
        assert pool.stats().workers == workers
        pool.submit_nowait(sleep, 0.05)
        assert scaler._timer is not None


async def test_a_submission_that_is_refused_for_another_reason_than_room_is_no_load() -> None:
    policy = Scripted(lambda load: None, interval=0.1)
    async with WorkerPool(min_workers=1, max_workers=2, scaling=policy) as pool:
        await pool.submit(sleep, 0.15)
        pool.close_intake()
        with pytest.raises(PoolClosed):
            await pool.submit(echo, 1)
        await asyncio.sleep(0.12)
        assert policy.loads[0].dropped == 0


@pytest.mark.parametrize("queue_size", [0, 2])
async def test_it_grows_for_who_comes_after_somebody_who_waits_for_a_key(queue_size: int) -> None:
    gate = Gate()
    async with WorkerPool(min_workers=1, max_workers=8, queue_size=queue_size) as pool:
        for _ in range(1 + queue_size):
            await pool.submit(gate, key="a")
        blocked = asyncio.create_task(pool.submit(gate, key="a"))
        await turns()
        others = [asyncio.create_task(pool.submit(gate)) for _ in range(3)]
        await turns(10)
        assert all(other.done() for other in others)
        assert not blocked.done()
        assert pool.stats().workers == 4
        gate.open()
        await blocked


async def test_it_does_not_grow_for_what_waits_for_its_key() -> None:
    gate = Gate()
    policy = Scripted(lambda load: None, interval=0.1)
    async with WorkerPool(min_workers=1, max_workers=1000) as pool:
        for _ in range(50):
            await pool.submit(gate, key="a")
        assert pool.stats().workers == 1
        for _ in range(2):
            await pool.submit(gate)
        assert pool.stats().workers == 3
        gate.open()
    async with WorkerPool(min_workers=1, max_workers=2, scaling=policy, key_limit=2) as pool:
        for key in "aabbb":
            await pool.submit(sleep, 0.15, key=key)
        (await pool.submit(sleep, 0.15)).cancel()
        await pool.submit(sleep, 0.15)
        await pool.wait_idle()
    assert policy.loads[0].queued == 4, "one of a, two of b, and the one without a key"


@pytest.mark.parametrize("interval", [0, -1, math.nan, math.inf, "1", None, True])
def test_a_policy_whose_interval_makes_no_sense_is_refused(interval: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"^scaling.interval must be a number of seconds"):
        WorkerPool(scaling=Scripted(lambda load: None, interval=interval))
