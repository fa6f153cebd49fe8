"""The queue alone: its bound, its order, and that a job which leaves from the middle leaves nothing behind (R2, R3, R7)."""

from __future__ import annotations

import asyncio
import gc
import random
import weakref
from typing import Any

import pytest

from tests.support import Gate, echo
from weirpool import JobState, WorkerPool
from weirpool._queue import JobQueue


class Stub:
    """As much of a job as the queue looks at."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.status = JobState.QUEUED
        self.ticket = None


def put(queue: JobQueue, *stubs: Stub) -> None:
    """Append jobs."""
    for stub in stubs:
        job: Any = stub
        queue.put_nowait(job)


def get(queue: JobQueue) -> int:
    """Take the next job and return its number."""
    job: Any = queue.get_nowait()
    assert job.status is JobState.QUEUED
    job.status = JobState.RUNNING
    number: int = job.number
    return number


def leave(queue: JobQueue, stub: Stub) -> None:
    """Let a job leave from wherever it is."""
    stub.status = JobState.CANCELLED
    queue.discard()


def stubs(count: int, start: int = 0) -> list[Stub]:
    """Make jobs."""
    return [Stub(start + number) for number in range(count)]


def drain(queue: JobQueue) -> list[int]:
    """Take all."""
    numbers = []
    while not queue.empty():
        numbers.append(get(queue))
    return numbers


def test_what_is_put_first_is_got_first() -> None:
    queue = JobQueue(10)
    put(queue, *stubs(10))
    assert drain(queue) == list(range(10))


def test_it_takes_as_many_as_its_size_and_no_more() -> None:
    queue = JobQueue(3)
    put(queue, *stubs(3))
    assert (queue.qsize(), queue.full(), queue.empty()) == (3, True, False)
    with pytest.raises(asyncio.QueueFull):
        put(queue, Stub(3))
    assert drain(queue) == [0, 1, 2]
    assert (queue.qsize(), queue.full(), queue.empty()) == (0, False, True)
    with pytest.raises(asyncio.QueueEmpty):
        queue.get_nowait()


def test_a_size_of_zero_takes_nothing() -> None:
    queue = JobQueue(0)
    assert (queue.full(), queue.empty(), queue.qsize()) == (True, True, 0)
    with pytest.raises(asyncio.QueueFull):
        put(queue, Stub(0))


@pytest.mark.parametrize("size", [1, 2, 3, 63, 64, 65, 200])
def test_the_place_of_one_that_leaves_is_free_at_once(size: int) -> None:
    queue = JobQueue(size)
    jobs = stubs(size)
    put(queue, *jobs)
    for number in range(0, size, 2):
        leave(queue, jobs[number])
        assert not queue.full()
        assert queue.qsize() == size - 1
        put(queue, Stub(size + number))
        assert queue.full()
        with pytest.raises(asyncio.QueueFull):
            put(queue, Stub(-1))
    assert drain(queue) == [*range(1, size, 2), *range(size, 2 * size, 2)]


@pytest.mark.parametrize("order", ["first to last", "last to first", "random"])
@pytest.mark.parametrize("size", [1, 5, 300])
def test_all_may_leave_in_any_order(size: int, order: str) -> None:
    queue = JobQueue(size)
    jobs = stubs(size)
    put(queue, *jobs)
    if order == "last to first":
        jobs.reverse()
    elif order == "random":
        random.Random(1).shuffle(jobs)
    for count, job in enumerate(jobs, 1):
        leave(queue, job)
        assert queue.qsize() == size - count
    assert queue.empty()
    with pytest.raises(asyncio.QueueEmpty):
        queue.get_nowait()
    put(queue, Stub(7))
    assert drain(queue) == [7]


@pytest.mark.parametrize("seed", range(5))
def test_it_does_what_a_plain_list_would_do(seed: int) -> None:
    dice = random.Random(seed)
    size = dice.choice([1, 3, 70, 500])
    queue = JobQueue(size)
    living: list[Stub] = []
    for number in range(4000):
        what = dice.random()
        if what < 0.45 and len(living) < size:
            living.append(Stub(number))
            put(queue, living[-1])
        elif what < 0.7 and living:
            assert get(queue) == living.pop(0).number
        elif living:
            leave(queue, living.pop(dice.randrange(len(living))))
        assert queue.qsize() == len(living)
        assert queue.empty() is (not living)
        assert queue.full() is (len(living) == size)
        assert len(queue._jobs) <= max(64, 2 * len(living)), "tombstones outnumber the living"
    assert drain(queue) == [stub.number for stub in living]


@pytest.mark.parametrize("leaving", [slice(0, 200), slice(100, 300), slice(300, 500)])
def test_nothing_of_those_who_left_is_kept_once_the_queue_is_empty(leaving: slice) -> None:
    queue = JobQueue(500)
    jobs = stubs(500)
    put(queue, *jobs)
    for job in jobs[leaving]:
        leave(queue, job)
    references = [weakref.ref(job) for job in jobs]
    drain(queue)
    del jobs, job
    gc.collect()
    assert not any(reference() for reference in references)


def test_those_who_left_are_not_kept_when_those_before_them_have_been_taken() -> None:
    queue, jobs = JobQueue(1000), stubs(1000)
    put(queue, *jobs)
    for job in jobs[501:999]:
        leave(queue, job)
    for _ in range(501):
        queue.get_nowait()
    assert queue.qsize() == 1
    assert len(queue._jobs) <= 64


@pytest.mark.parametrize("meddle", ["puts", "leaves"])
def test_a_finalizer_that_uses_the_queue_while_it_is_swept_loses_nobody(meddle: str) -> None:
    meddled = False

    class Meddles(Stub):
        """The garbage collector may come by at any time; here it does so when this one is looked at."""

        @property
        def status(self) -> Any:
            nonlocal meddled
            if not meddled:
                meddled = True
                if meddle == "puts":
                    put(queue, *stubs(1, start=100))
                else:
                    leave(queue, jobs[3])
            return JobState.QUEUED

        @status.setter
        def status(self, state: Any) -> None:
            pass

    queue, jobs = JobQueue(10), [*stubs(4), Meddles(4)]
    put(queue, *jobs)
    leave(queue, jobs[2])
    assert meddled
    assert queue.qsize() == (5 if meddle == "puts" else 3)
    assert drain(queue) == ([0, 1, 3, 4, 100] if meddle == "puts" else [0, 1, 4])


def test_leaving_a_long_queue_costs_no_more_than_a_look_or_two_at_each_job() -> None:
    looks = 0

    class Watched(Stub):
        def __getattribute__(self, name: str) -> Any:
            nonlocal looks
            looks += name == "status"
            return super().__getattribute__(name)

    queue, jobs = JobQueue(4000), [Watched(number) for number in range(4000)]
    put(queue, *jobs)
    for job in jobs[1000:3000]:
        leave(queue, job)
    assert queue.qsize() == 2000
    assert looks <= 4000
    assert drain(queue) == [*range(1000), *range(3000, 4000)]


def test_what_leaves_a_short_queue_is_not_kept_by_those_who_wait() -> None:
    queue = JobQueue(10)
    jobs = stubs(10)
    put(queue, *jobs)
    leave(queue, jobs[5])
    reference = weakref.ref(jobs.pop(5))
    gc.collect()
    assert reference() is None


async def test_a_pool_that_accepts_and_cancels_for_ever_does_not_grow() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=200) as pool:
        await pool.submit(gate)
        waiting = [pool.submit_nowait(echo, number) for number in range(150)]
        for number in range(3000):
            pool.submit_nowait(echo, number).cancel()
        assert pool.stats().queued == 150
        assert len(pool._crew._queue._jobs) <= 300
        for handle in waiting:
            handle.cancel()
        assert len(pool._crew._queue._jobs) <= 1
        gate.open()
