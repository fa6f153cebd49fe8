"""The watch alone: one timer for all deadlines, none when idle, no memory of what has left, no trust in timers (R6, R18)."""

from __future__ import annotations

import asyncio
import gc
import math
import random
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import FOREVER, Gate, echo, sleep, turns
from weirpool import JobState, WorkerPool
from weirpool._watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable


class Timer:
    """A timer of the loop below."""

    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at = at
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeLoop:
    """A clock that is turned by hand, and its timers."""

    def __init__(self, early: float = 0.0) -> None:
        self.now = 100.0
        self.early = early
        self.timers: list[Timer] = []
        self.fired = 0

    def time(self) -> float:
        return self.now

    def call_at(self, at: float, call: Callable[[], None], *, context: Any = None) -> Timer:
        assert math.isfinite(at)
        self.timers.append(Timer(at, call))
        return self.timers[-1]

    @property
    def armed(self) -> list[float]:
        """When the timers are due that have not been cancelled."""
        return [timer.at for timer in self.timers if not timer.cancelled]

    def turn_to(self, time: float) -> None:
        """Let the time pass, and fire what is due."""
        while due := [timer for timer in self.timers if not timer.cancelled and timer.at - self.early <= time]:
            timer = min(due, key=lambda timer: timer.at)
            self.timers.remove(timer)
            self.now = max(self.now, timer.at - self.early)
            self.fired += 1
            assert self.fired < 10_000, "the timer spins"
            timer.call()
        self.now = max(self.now, time)


class Stub:
    """As much of a job, and of its run, as the watch looks at."""

    def __init__(self, number: int, state: JobState) -> None:
        self.number = number
        self.job: Stub | None = self
        self.status = state
        self.limit = math.inf
        self.seen_at: list[float] = []


class Desk:
    """A watch, and somebody who does what the crew would do."""

    def __init__(self, early: float = 0.0) -> None:
        self.loop = FakeLoop(early)
        self.jobs: dict[Any, Any] = {}
        self.again: dict[int, float] = {}
        self.order: list[int] = []
        loop: Any = self.loop
        self.watch = Watch(loop, self.jobs, self._overdue)

    def _overdue(self, job: Any, *_: Any) -> None:
        job.seen_at.append(self.loop.time())
        self.order.append(job.number)
        if job.status is JobState.QUEUED:
            job.status = JobState.TIMED_OUT
            self.watch.unqueued()
        elif job.number in self.again:
            self.watch.running(job, self.loop.time() + self.again.pop(job.number))
        else:
            self.end(job)

    def queue(self, number: int, deadline: float) -> Stub:
        job: Any = Stub(number, JobState.QUEUED)
        self.watch.queued(job, deadline)
        return job  # type: ignore[no-any-return]

    def run(self, number: int, limit: float | None = None) -> Stub:
        job: Any = Stub(number, JobState.RUNNING)
        self.jobs[job] = job  # which is its own run
        if limit is not None:
            self.watch.running(job, limit)
        return job  # type: ignore[no-any-return]

    def end(self, job: Any) -> None:
        job.status = JobState.SUCCEEDED
        job.job = None
        self.jobs.pop(job, None)
        job.limit = math.inf

    def leave(self, job: Stub) -> None:
        job.status = JobState.CANCELLED
        self.watch.unqueued()


def test_a_queued_job_is_looked_at_when_its_deadline_comes() -> None:
    desk = Desk()
    job = desk.queue(1, 110)
    desk.loop.turn_to(109)
    assert job.seen_at == []
    desk.loop.turn_to(120)
    assert job.seen_at == [110]
    assert desk.loop.armed == []


def test_a_job_that_somebodys_finalizer_submits_while_the_watch_forgets_others_is_looked_at() -> None:
    class Meddler:
        def __del__(self) -> None:
            late.append(desk.queue(1000, 105))

    desk = Desk()
    late: list[Stub] = []
    gone = [desk.queue(number, 110) for number in range(200)]
    references = desk.watch._queued

    class Tripwire(weakref.ref):  # type: ignore[type-arg]
        """Looked at while the watch goes through its list."""

        def __call__(self) -> Any:
            meddlers.clear()
            return super().__call__()

    meddlers = [Meddler()]
    references[5] = (references[5][0], references[5][1], Tripwire(gone[5]))
    for job in gone[40:]:
        desk.leave(job)
    assert len(late) == 1
    desk.loop.turn_to(106)
    assert late[0].seen_at == [105]


def test_a_running_job_is_looked_at_when_its_limit_comes_and_again_at_its_next() -> None:
    desk = Desk()
    desk.again[1] = 2
    job = desk.run(1, 110)
    desk.loop.turn_to(200)
    assert job.seen_at == [110, 112]


def test_a_running_job_without_a_limit_is_never_looked_at() -> None:
    desk = Desk()
    free, bound = desk.run(1), desk.run(2, 110)
    desk.loop.turn_to(200)
    assert (free.seen_at, bound.seen_at) == ([], [110])
    assert desk.loop.armed == []


def test_a_later_limit_replaces_the_earlier_one() -> None:
    desk = Desk()
    later, sooner = desk.run(1, 110), desk.run(2, 120)
    job: Any = later
    desk.watch.running(job, 130)
    job = sooner
    desk.watch.running(job, 105)
    desk.loop.turn_to(200)
    assert (later.seen_at, sooner.seen_at) == ([130], [105])


def test_there_is_one_timer_and_it_is_set_to_the_earliest() -> None:
    desk = Desk()
    queued = []
    for number, limit in enumerate([150, 140, 160, 130, 154]):
        desk.run(number, limit)
        queued.append(desk.queue(100 + number, limit + 5))
        assert len(desk.loop.armed) == 1
    assert desk.loop.armed == [130]
    desk.loop.turn_to(300)
    assert desk.order == [3, 103, 1, 101, 0, 4, 100, 104, 2, 102]
    assert desk.loop.armed == []


def test_an_idle_pool_has_no_timer() -> None:
    desk = Desk()
    queued, running = desk.queue(1, 110), desk.run(2, 120)
    desk.leave(queued)
    desk.end(running)
    desk.watch.rest()
    assert desk.loop.armed == []
    desk.run(3, 130)
    assert desk.loop.armed == [130], "and it wakes up again"


def test_jobs_that_end_in_time_cost_no_timer_each() -> None:
    desk = Desk()
    desk.run(0, 1000)
    made = len(desk.loop.timers)
    for number in range(1, 500):
        desk.end(desk.run(number, 1000 + number))
    assert len(desk.loop.timers) == made


def test_a_timer_that_fires_a_little_early_counts_as_due() -> None:
    """Those of uvloop do, by more than a millisecond; trusting the clock instead would spin until the time has come."""
    desk = Desk(early=0.002)
    job = desk.run(1, 110)
    queued = desk.queue(2, 111)
    desk.loop.turn_to(112)
    assert job.seen_at == [pytest.approx(110, abs=0.003)]
    assert queued.seen_at == [pytest.approx(111, abs=0.003)]
    assert desk.loop.fired == 2


def test_a_timer_that_fires_late_looks_at_all_that_is_due() -> None:
    desk = Desk()
    jobs = [desk.run(number, 101 + number) for number in range(5)]
    queued = [desk.queue(10 + number, 101 + number) for number in range(5)]
    desk.loop.now = 104.5
    desk.loop.turn_to(104.5)
    assert [bool(job.seen_at) for job in jobs] == [True] * 4 + [False]
    assert [bool(job.seen_at) for job in queued] == [True] * 4 + [False]
    assert desk.loop.fired == 1
    assert desk.loop.armed == [105]


def test_jobs_with_the_same_deadline_are_looked_at_in_the_order_of_acceptance() -> None:
    desk = Desk()
    numbers = list(range(1, 50))
    jobs = [desk.queue(number, 110) for number in numbers]
    desk.loop.turn_to(120)
    assert desk.order == numbers
    assert all(job.seen_at == [110] for job in jobs)


def test_a_job_that_has_left_the_queue_is_not_looked_at() -> None:
    desk = Desk()
    stays, leaves, starts = desk.queue(1, 110), desk.queue(2, 110), desk.queue(3, 110)
    desk.leave(leaves)
    starts.status = JobState.RUNNING
    desk.watch.unqueued()
    desk.loop.turn_to(200)
    assert (stays.seen_at, leaves.seen_at, starts.seen_at) == ([110], [], [])


def test_a_job_that_ends_because_of_another_is_not_looked_at_any_more() -> None:
    desk = Desk()
    jobs = [desk.run(1, 110), desk.run(2, 110)]
    seen: list[int] = []

    def overdue(job: Any, *_: Any) -> None:
        seen.append(job.number)
        for each in jobs:
            desk.end(each)

    desk.watch._overdue = overdue
    desk.loop.turn_to(120)
    assert seen == [1]


def test_a_job_that_has_left_is_not_kept_until_its_deadline() -> None:
    desk = Desk()
    stays = desk.queue(1, 110)
    job = desk.queue(2, 1e9)
    gone = weakref.ref(job)
    desk.leave(job)
    del job
    gc.collect()
    assert gone() is None
    desk.loop.turn_to(120)
    assert stays.seen_at == [110]


@pytest.mark.parametrize("order", ["first to last", "last to first", "random"])
def test_what_has_left_the_queue_does_not_pile_up_in_the_heap(order: str) -> None:
    desk = Desk()
    dice = random.Random(2)
    due = [200 + dice.random() * 50 for _ in range(100)]
    stay, leave = [], []
    for number in range(2000):
        leave.append(desk.queue(1000 + number, 200 + dice.random() * 50))
        if number % 20 == 0:
            stay.append(desk.queue(number // 20, due[number // 20]))
    if order == "last to first":
        leave.reverse()
    elif order == "random":
        random.Random(1).shuffle(leave)
    for count, job in enumerate(leave, 1):
        desk.leave(job)
        living = 100 + 2000 - count
        assert len(desk.watch._queued) <= 64 + 2 * living
    desk.loop.turn_to(300)
    assert [job.seen_at for job in stay] == [[at] for at in due]


def test_one_that_leaves_a_long_queue_does_not_have_it_swept() -> None:
    desk = Desk()
    jobs = [desk.queue(number, 200) for number in range(200)]
    heap = desk.watch._queued
    for job in jobs[:50]:
        desk.leave(job)
    assert desk.watch._queued is heap


@pytest.mark.parametrize("early", [0.0, 0.0015])
@pytest.mark.parametrize("seed", range(2))
def test_every_deadline_is_kept_whatever_comes_and_goes(seed: int, early: float) -> None:
    dice = random.Random(seed)
    desk = Desk(early)
    due: dict[int, float] = {}
    alive: dict[int, Stub] = {}
    for number in range(300):
        desk.loop.turn_to(desk.loop.now + dice.expovariate(5))
        at = desk.loop.now + dice.uniform(0.01, 20)
        alive[number] = desk.queue(number, at) if dice.random() < 0.5 else desk.run(number, at)
        due[number] = at
        if alive and dice.random() < 0.6:
            gone = dice.choice(list(alive))
            job = alive.pop(gone)
            if not job.seen_at:
                if job.status is JobState.QUEUED:
                    desk.leave(job)
                else:
                    desk.end(job)
        for number_, job in alive.items():
            if due[number_] <= desk.loop.now:
                assert job.seen_at == [pytest.approx(due[number_], abs=early + 1e-9)]
        assert len(desk.loop.armed) <= 1
        desk.loop.timers = [timer for timer in desk.loop.timers if not timer.cancelled]
    desk.loop.turn_to(desk.loop.now + 100)
    assert all(len(job.seen_at) == 1 for job in alive.values())


# In a pool ---------------------------------------------------------------------------------------------------------------


class CountingLoop:
    """Count the timers that are set on a running loop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        loop = asyncio.get_running_loop()
        call_at = loop.call_at

        def counted(*args: Any, **options: Any) -> asyncio.TimerHandle:
            self.count += 1
            return call_at(*args, **options)

        monkeypatch.setattr(loop, "call_at", counted)


async def test_a_pool_knows_how_many_deadlines_wait_in_its_queue_whichever_way_jobs_leave_it() -> None:
    gate = Gate()
    loop = asyncio.get_running_loop()
    async with WorkerPool(max_workers=1, queue_size=20) as pool:
        await pool.submit(gate, deadline=loop.time() + FOREVER)
        for deadline in (None, FOREVER, 0.1):
            handles = [await pool.submit(gate, deadline=deadline and loop.time() + deadline) for _ in range(3)]
            handles[0].cancel()
        assert pool.stats().queued == 6
        assert pool._crew.watch._waiting == 4
        await asyncio.sleep(0.2)
        assert pool.stats().timed_out == 2
        assert pool._crew.watch._waiting == 2
        for handle in handles[1:]:
            assert handle.exception() is not None
        stays = await pool.submit(sleep, 1, deadline=loop.time() + FOREVER)
        heap = pool._crew.watch._queued
        (await pool.submit(gate, deadline=loop.time() + FOREVER)).cancel()
        assert pool._crew.watch._queued is heap, "swept for the sake of one"
        gate.open()
        await turns(20)
        assert stays.state is JobState.RUNNING
        assert pool._crew.watch._waiting == 0


async def test_a_pool_that_accepts_and_cancels_jobs_with_deadlines_for_ever_does_not_grow() -> None:
    gate = Gate()
    at = asyncio.get_running_loop().time() + FOREVER
    async with WorkerPool(max_workers=1, queue_size=200) as pool:
        await pool.submit(gate)
        waiting = [pool.submit_nowait(echo, number, deadline=at) for number in range(50)]
        for number in range(2000):
            pool.submit_nowait(echo, number, deadline=at).cancel()
        assert len(pool._crew.watch._queued) <= 64 + 2 * 50 + 1
        gate.open()
        for handle in waiting:
            await handle
        assert len(pool._crew.watch._queued) == 0


def test_a_look_that_goes_wrong_with_one_job_does_not_lose_the_others() -> None:
    desk = Desk()
    first, second = desk.run(1, 101.0), desk.run(2, 102.0)

    def fails(job: Any) -> None:
        job.limit = math.inf
        raise LookupError

    desk.watch._overdue = fails
    with pytest.raises(LookupError):
        desk.loop.turn_to(101.0)
    assert first.limit == math.inf
    assert desk.loop.armed == [second.limit]


def timer_of(pool: WorkerPool) -> Any:
    """Return the one timer of a pool."""
    return pool._crew.watch._timer


async def test_an_idle_pool_of_jobs_with_timeouts_keeps_no_timer() -> None:
    async with WorkerPool(job_timeout=FOREVER) as pool:
        for _ in range(5):
            assert await pool.run(echo, 1) == 1
        await turns()
        assert timer_of(pool) is None
        handle = await pool.submit(sleep, FOREVER)
        await turns()
        assert timer_of(pool) is not None
        handle.cancel()
        await handle.wait()
        assert timer_of(pool) is None


async def test_jobs_without_deadlines_set_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    if type(asyncio.get_running_loop()).__module__.startswith("uvloop"):
        pytest.skip("the methods of a uvloop can't be replaced")
    counting = CountingLoop(monkeypatch)
    async with WorkerPool(max_workers=2) as pool:
        handles = [await pool.submit(echo, number) for number in range(10)]
        for handle in handles:
            await handle
        assert counting.count == 0
