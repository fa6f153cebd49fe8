"""The queue with priorities and keys, alone: what is next, who takes turns, and that nothing is kept for ever (R3)."""

from __future__ import annotations

import asyncio
import gc
import random
import weakref
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weirpool import JobState
from weirpool._queue import JobQueue
from weirpool._ticket import Ticket

AGING = 10.0


class Stub:
    """As much of a job as the queue looks at."""

    def __init__(self, number: int, accepted_at: float = 0.0, priority: int = 0, key: Any = None) -> None:
        self.number = number
        self.accepted_at = accepted_at
        self.status = JobState.QUEUED
        self.ticket = Ticket(priority, key) if priority or key is not None else None

    def __repr__(self) -> str:
        return f"<{self.number}>"


class Desk:
    """A queue, and somebody who does what the crew would do."""

    def __init__(self, size: int = 1000, limit: int = 1) -> None:
        self.queue = JobQueue(size, aging=AGING, key_limit=limit)
        self.numbers = iter(range(1, 1_000_000))

    def put(self, at: float = 0.0, priority: int = 0, key: Any = None) -> Any:
        job: Any = Stub(next(self.numbers), at, priority, key)
        self.queue.put_nowait(job)
        return job

    def take(self, *, newest: bool = False) -> Any:
        job: Any = self.queue.take_newest() if newest else self.queue.take()
        if job is not None:
            assert job.status is JobState.QUEUED
            job.status = JobState.RUNNING
        return job

    def end(self, job: Any) -> None:
        ran = job.status is JobState.RUNNING
        job.status = JobState.SUCCEEDED
        if job.ticket is not None:
            self.queue.ended(job, ran=ran)

    def leave(self, job: Any) -> None:
        job.status = JobState.CANCELLED
        self.queue.discard()
        if job.ticket is not None:
            self.queue.ended(job, ran=False)

    def all(self) -> list[Any]:
        taken = []
        while (job := self.take()) is not None:
            taken.append(job)
            self.end(job)
        return taken


# Priorities ---------------------------------------------------------------------------------------------------------------


def test_what_has_a_lower_priority_comes_first_and_those_of_one_in_their_order() -> None:
    desk = Desk()
    jobs = [desk.put(priority=priority) for priority in (0, 2, -1, 2, 0, -1)]
    assert desk.all() == [jobs[i] for i in (2, 5, 0, 4, 1, 3)]


def test_a_step_of_priority_is_worth_some_seconds_of_waiting() -> None:
    desk = Desk()
    old = desk.put(at=0.0, priority=1)
    just_before = desk.put(at=AGING - 0.1)
    just_after = desk.put(at=AGING + 0.1)
    assert desk.all() == [just_before, old, just_after]


def test_jobs_that_waited_before_the_first_with_a_ticket_keep_their_order() -> None:
    desk = Desk()
    plain = [desk.put() for _ in range(5)]
    desk.leave(plain[2])
    urgent = desk.put(priority=-1)
    assert desk.queue.qsize() == 5
    assert desk.all() == [urgent, plain[0], plain[1], plain[3], plain[4]]


def test_a_queue_that_is_empty_is_plain_again() -> None:
    desk = Desk()
    job = desk.put(priority=1)
    seen = [desk.queue.lanes is None]
    desk.end(desk.take())
    assert job.status is JobState.SUCCEEDED
    seen.append(desk.queue.lanes is None)
    desk.put(priority=3)
    desk.leave(desk.queue.peek())
    assert [*seen, desk.queue.lanes is None] == [False, True, True]


def test_it_is_full_when_as_many_wait_as_may_whatever_their_priority() -> None:
    desk = Desk(size=2)
    desk.put(priority=1)
    desk.put()
    assert desk.queue.full()
    with pytest.raises(asyncio.QueueFull):
        desk.put(priority=-5)
    assert desk.queue.qsize() == 2


# Keys ---------------------------------------------------------------------------------------------------------------------


def test_as_many_of_a_key_run_as_may_and_the_others_pass_them() -> None:
    desk = Desk(limit=2)
    mine = [desk.put(key="a") for _ in range(4)]
    other = desk.put(key="b")
    plain = desk.put()
    taken = [desk.take() for _ in range(4)]
    assert taken == [mine[0], other, plain, mine[1]]
    assert desk.take() is None
    assert (desk.queue.ready, desk.queue.qsize()) == (False, 2)
    desk.end(mine[0])
    assert (desk.queue.ready, desk.queue.qsize()) == (True, 2)
    assert desk.take() is mine[2]
    assert desk.take() is None


def test_keys_take_turns_with_each_other_and_with_those_that_have_none() -> None:
    desk = Desk(limit=100)
    many = [desk.put(key="many") for _ in range(6)]
    few = [desk.put(key="few") for _ in range(2)]
    plain = desk.put()
    assert desk.all() == [many[0], few[0], plain, many[1], few[1], many[2], many[3], many[4], many[5]]


def test_a_key_is_forgotten_when_its_last_job_has_ended() -> None:
    desk = Desk()
    jobs = [desk.put(key=n) for n in range(100)]
    desk.put(key="other")
    for job in jobs[:50]:
        assert desk.take() is job
        desk.end(job)
    for job in jobs[50:]:
        desk.leave(job)
    lanes: Any = desk.queue.lanes
    assert list(lanes._keys) == ["other"]


def test_a_job_that_has_not_waited_counts_for_its_key() -> None:
    desk = Desk()
    first: Any = Stub(1, key="a")
    assert desk.queue.startable(first)
    first.status = JobState.RUNNING
    desk.queue.started(first)
    waiting = desk.put(key="a")
    assert (desk.queue.startable(waiting), desk.take()) == (False, None)
    desk.end(first)
    assert desk.take() is waiting
    desk.end(waiting)
    assert desk.queue.lanes is None


def test_the_newest_job_of_a_key_is_found_until_it_ends() -> None:
    desk = Desk()
    assert desk.queue.find("a") is None
    first, second = desk.put(key="a"), desk.put(key="a")
    assert desk.queue.find("a") is second
    desk.leave(second)
    assert desk.queue.find("a") is first
    desk.take()
    assert desk.queue.find("a") is first
    desk.end(first)
    assert desk.queue.find("a") is None


# The newest, and who goes first -------------------------------------------------------------------------------------------


def test_the_newest_is_taken_of_the_first_priority() -> None:
    desk = Desk()
    jobs = [desk.put(priority=priority, key=key) for priority, key in [(1, None), (0, None), (0, "a"), (0, "a"), (1, None)]]
    assert desk.take(newest=True) is jobs[3]
    assert desk.take(newest=True) is jobs[1]
    desk.end(jobs[3])
    assert desk.take(newest=True) is jobs[2]
    desk.leave(jobs[4])
    assert desk.take(newest=True) is jobs[0]
    assert desk.take(newest=True) is None


def test_the_oldest_of_those_that_matter_least_goes_first() -> None:
    desk = Desk()
    important = desk.put(priority=-1)
    old, new = desk.put(priority=2, key="a"), desk.put(priority=2, key="a")
    newcomer: Any = Stub(99, priority=3)
    assert desk.queue.victim(newcomer) is None
    newcomer = Stub(99, priority=2)
    assert desk.queue.victim(newcomer) is old
    running = desk.take()
    assert running is important
    assert desk.take() is old
    assert desk.queue.victim(newcomer) is new  # though it may not start
    desk.leave(new)
    assert desk.queue.victim() is None


def test_where_all_are_alike_the_oldest_goes_first() -> None:
    desk = Desk()
    first = desk.put()
    desk.put()
    newcomer: Any = Stub(99)
    assert desk.queue.victim(newcomer) is first
    desk.leave(first)
    assert desk.queue.victim(newcomer).number == 2  # type: ignore[union-attr]
    urgent: Any = Stub(99, priority=5)
    assert desk.queue.victim(urgent) is None


# Tombstones ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [None, "a", "each"])
@pytest.mark.parametrize("order", ["first to last", "last to first", "any"])
def test_what_leaves_is_not_kept_for_long_and_never_comes_up(key: str | None, order: str) -> None:
    desk = Desk()
    jobs = [desk.put(priority=n % 3, key=n if key == "each" else key) for n in range(500)]
    stays = jobs[250]
    leaving = [job for job in jobs if job is not stays]
    if order == "last to first":
        leaving.reverse()
    elif order == "any":
        random.Random(7).shuffle(leaving)
    for job in leaving:
        desk.leave(job)
    references = [weakref.ref(job) for job in leaving]
    del jobs, leaving, job
    gc.collect()
    assert sum(reference() is not None for reference in references) <= 65
    assert desk.queue.qsize() == 1
    assert desk.take() is stays
    assert desk.take() is None


def test_a_finalizer_that_puts_a_job_while_tombstones_are_swept_loses_nothing() -> None:
    desk = Desk()
    late: list[Any] = []

    class Meddler:
        def __del__(self) -> None:
            late.append(desk.put(priority=1))

    jobs = [desk.put(priority=1) for _ in range(300)]
    jobs[150].payload = Meddler()
    while jobs:
        desk.leave(jobs.pop(0))
    gc.collect()
    assert len(late) == 1
    assert desk.all() == late


# Against a slow and obvious model -----------------------------------------------------------------------------------------


class Model:
    """The rules, with a list."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.waiting: list[Any] = []
        self.running: list[Any] = []

    def may(self, job: Any) -> bool:
        key = None if job.ticket is None else job.ticket.key
        return key is None or sum(r.ticket is not None and r.ticket.key == key for r in self.running) < self.limit

    def ready(self) -> list[Any]:
        return [job for job in self.waiting if self.may(job)]


@settings(max_examples=300, deadline=None)
@given(
    st.integers(1, 3),
    st.lists(
        st.tuples(
            st.sampled_from(["put", "put", "put", "take", "take", "newest", "end", "leave", "tick"]), st.integers(0, 10**6)
        ),
        max_size=80,
    ),
)
def test_any_sequence_keeps_order_limits_and_withholds_nothing(limit: int, steps: list[tuple[str, int]]) -> None:
    desk, model, now = Desk(limit=limit), Model(limit), 0.0
    for what, number in steps:
        match what:
            case "put":
                job = desk.put(now, [-1, 0, 0, 1, 5][number % 5], [None, None, "a", "b"][number // 5 % 4])
                model.waiting.append(job)
            case "take" | "newest":
                ready = model.ready()
                job = desk.take(newest=what == "newest")
                assert (job is None) is (not ready)
                if job is not None:
                    assert job in ready
                    _judge(job, ready, newest=what == "newest")
                    model.waiting.remove(job)
                    model.running.append(job)
            case "end" if model.running:
                job = model.running.pop(number % len(model.running))
                desk.end(job)
            case "leave" if model.waiting:
                job = model.waiting.pop(number % len(model.waiting))
                desk.leave(job)
            case _:
                now += number % 20
        assert desk.queue.qsize() == len(model.waiting)
        assert desk.queue.ready is bool(model.ready())
    for job in model.running:
        desk.end(job)
    model.running.clear()
    assert sorted(job.number for job in desk.all()) == [job.number for job in sorted(model.waiting, key=lambda j: j.number)]
    assert desk.queue.lanes is None


def _judge(job: Any, ready: list[Any], *, newest: bool) -> None:
    """See that a job was rightly taken before the others that might have been."""
    key = None if job.ticket is None else job.ticket.key
    priority = 0 if job.ticket is None else job.ticket.priority
    for other in ready:
        others = 0 if other.ticket is None else other.ticket.priority
        same_key = other.ticket is not None and other.ticket.key == key and key is not None
        if others == priority and (same_key or (key is None and (other.ticket is None or other.ticket.key is None))):
            assert other is job or (other.number > job.number) is not newest, "first come, first served"
        if key is None and (other.ticket is None or other.ticket.key is None) and not newest:
            assert job.accepted_at + priority * AGING <= other.accepted_at + others * AGING, "aging"


# When somebody comes by in the midst of it ---------------------------------------------------------------------------------


def test_a_finalizer_that_puts_an_urgent_job_while_another_is_looked_for_has_it_started_first() -> None:
    desk = Desk()
    late: list[Any] = []

    class Meddler:
        def __del__(self) -> None:
            late.append(desk.put(priority=-5))

    gone, stays = desk.put(priority=1), desk.put(priority=1)
    gone.payload = Meddler()
    desk.leave(gone)
    del gone
    assert desk.queue.peek() is late[0]
    assert desk.all() == [*late, stays]


@pytest.mark.parametrize("priority", [1, 9])
def test_a_finalizer_that_puts_an_unimportant_job_while_a_victim_is_looked_for_has_it_chosen(priority: int) -> None:
    desk = Desk()
    late: list[Any] = []

    class Meddler:
        def __del__(self) -> None:
            late.append(desk.put(priority=priority))

    gone, stays = desk.put(priority=1), desk.put(priority=-1)
    gone.payload = Meddler()
    desk.leave(gone)
    del gone
    assert desk.queue.victim() is late[0]
    desk.leave(late[0])
    assert desk.queue.victim() is stays
    assert desk.all() == [stays]


class Tripwire(Stub):
    """A job that has another put when it is looked at."""

    armed: Any = None

    @property
    def status(self) -> JobState:
        armed, self.armed = self.armed, None
        if armed is not None:
            armed()
        return self._status

    @status.setter
    def status(self, status: JobState) -> None:
        self._status = status


@pytest.mark.parametrize("key", [None, "a"])
def test_a_job_that_is_put_while_tombstones_are_swept_is_not_lost(key: str | None) -> None:
    desk = Desk()
    wire: Any = Tripwire(next(desk.numbers), priority=1, key=key)
    desk.queue.put_nowait(wire)
    for job in [desk.put(priority=1, key=key) for _ in range(64)]:
        desk.leave(job)
    last, late = desk.put(priority=1, key=key), list[Any]()
    wire.armed = lambda: late.append(desk.put(priority=1, key=key))
    desk.leave(last)
    assert len(late) == 1
    assert desk.all() == [wire, late[0]]


def test_a_key_all_of_whose_jobs_have_just_left_has_no_victim() -> None:
    desk = Desk()
    desk.put(key="a")
    second = desk.put(key="a")
    desk.take()
    second.status = JobState.CANCELLED  # and the queue has not been told
    assert desk.queue.victim() is None


def test_what_has_left_is_not_the_newest_of_its_key() -> None:
    desk = Desk()
    first, second = desk.put(key="a"), desk.put(key="a")
    desk.leave(second)
    assert desk.take(newest=True) is first


def test_what_has_left_a_long_plain_queue_is_neither_the_newest_nor_kept_when_it_gets_lanes() -> None:
    desk = Desk()
    jobs = [desk.put() for _ in range(100)]
    desk.leave(jobs[-1])
    assert desk.take(newest=True) is jobs[-2]
    desk.leave(jobs[0])
    urgent = desk.put(priority=-1)
    assert desk.all() == [urgent, *jobs[1:-2]]


def test_a_key_whose_first_job_leaves_keeps_its_turn_and_holds_nobody_up() -> None:
    desk = Desk()
    leaves, waits = desk.put(0.0, key="a"), desk.put(0.0)
    urgent = desk.put(11.0, priority=-1)  # as if it waited since 1.0
    late = desk.put(11.0, key="a")
    desk.leave(leaves)
    assert desk.all() == [late, waits, urgent]


def test_a_key_that_has_had_its_turn_does_not_count_as_waiting_before_those_ahead_of_it() -> None:
    desk = Desk()
    first, second = desk.put(0.0, key="a"), desk.put(1.0, key="a")
    others = [desk.put(12.0), desk.put(14.0, priority=-1), desk.put(30.0)]
    assert desk.take() is first
    desk.end(first)
    assert desk.all() == [others[1], others[0], others[2], second]


@pytest.mark.parametrize("gone", ["dropped", "taken", "both"])
@pytest.mark.parametrize("order", ["up", "down", "random"])
def test_what_is_empty_of_many_priorities_is_forgotten_whichever_way_it_came_to_that(order: str, gone: str) -> None:
    desk = Desk()
    chance = random.Random(1)
    waiting: list[Any] = []
    lanes: Any = None
    for number in range(2000):
        priority = 1 + {"up": number, "down": 2000 - number, "random": chance.randint(0, 500)}[order]
        waiting.append(desk.put(priority=priority))
        if len(waiting) > 20:
            if gone == "dropped" or (gone == "both" and number % 2):
                job: Any = desk.queue.victim()
                worst = max(waiting, key=lambda each: (each.ticket.priority, -each.number))
                assert job is worst
                desk.leave(job)
            else:
                job = desk.take()
                best = min(waiting, key=lambda each: (each.ticket.priority, each.number))
                assert job is best
                desk.end(job)
            waiting.remove(job)
        lanes = desk.queue.lanes
        assert len(lanes._buckets) <= 150, "as long as it is not most of what there is"
        assert max(len(lanes._heap), len(lanes._worst)) <= 300
    while waiting:
        job = desk.queue.victim()
        waiting.remove(job)
        desk.leave(job)
    assert desk.queue.lanes is None
