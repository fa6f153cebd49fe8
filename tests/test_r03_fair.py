"""R3: jobs start in the order of acceptance, submitters get room in the order of asking, `submit_nowait` never overtakes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support import FOREVER, Gate, echo, sleep, turns
from weirpool import JobHandle, JobState, PoolClosed, PoolOverloaded, WorkerPool
from weirpool.events import JobEnded, Observer, SubmitRefused


class Log:
    """Note the order in which jobs start."""

    def __init__(self) -> None:
        self.started: list[Any] = []

    async def __call__(self, number: Any) -> Any:
        self.started.append(number)
        await asyncio.sleep(0)
        return number


async def promised(pool: WorkerPool, number: int) -> None:
    """Let the loop turn until so many submitters have been given room, and have not come for it."""
    while pool._admission._reserved < number:
        await sleep(0)


@pytest.mark.parametrize("max_workers", [1, 3, 50])
async def test_jobs_start_in_the_order_in_which_they_were_accepted(max_workers: int) -> None:
    log = Log()
    async with WorkerPool(max_workers=max_workers, queue_size=10, submit_timeout=None) as pool:
        handles = [await pool.submit(log, number) for number in range(40)]
    assert log.started == list(range(40))
    assert [handle.id for handle in handles] == list(range(1, 41))


async def test_jobs_start_in_order_whatever_their_deadlines() -> None:
    log = Log()
    now = asyncio.get_running_loop().time()
    async with WorkerPool(max_workers=1) as pool:
        for number in range(10):
            await pool.submit(log, number, timeout=20 - number, deadline=None if number % 3 else now + 30 - number)
    assert log.started == list(range(10))


async def test_jobs_keep_their_order_when_others_leave_the_queue() -> None:
    log, gate = Log(), Gate()
    async with WorkerPool(max_workers=1) as pool:
        await pool.submit(gate)
        handles = [await pool.submit(log, number) for number in range(30)]
        for number in (0, 1, 2, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 24, 25, 29):
            handles[number].cancel()
        for number in range(30, 35):
            await pool.submit(log, number)
        gate.open()
    assert log.started == [3, 4, 5, 6, 8, 10, 12, 14, 16, 18, 26, 27, 28, 30, 31, 32, 33, 34]


async def test_a_new_job_does_not_take_a_free_place_before_those_that_queue() -> None:
    log, gate = Log(), Gate()
    async with WorkerPool(max_workers=1, queue_size=5) as pool:
        running = await pool.submit(gate)
        await pool.submit(log, 1)
        await pool.submit(log, 2)
        gate.open()
        await running
        assert pool.submit_nowait(log, 3).state is JobState.QUEUED
    assert log.started == [1, 2, 3]


async def test_submitters_get_room_in_the_order_in_which_they_asked() -> None:
    log, gate = Log(), Gate()
    async with WorkerPool(max_workers=1, queue_size=1, submit_timeout=None) as pool:
        await pool.submit(gate)
        await pool.submit(log, "queued")
        submitting = []
        for number in range(20):
            submitting.append(asyncio.create_task(pool.submit(log, number)))
            await asyncio.sleep(0)
        gate.open()
        handles = await asyncio.gather(*submitting)
    assert log.started == ["queued", *range(20)]
    assert [handle.id for handle in handles] == list(range(3, 23))


async def test_submitters_get_room_in_order_when_much_of_it_comes_at_once() -> None:
    log, gate = Log(), Gate()
    async with WorkerPool(max_workers=5, queue_size=5, submit_timeout=None) as pool:
        for _ in range(10):
            pool.submit_nowait(gate)
        submitting = [asyncio.create_task(pool.submit(log, number)) for number in range(15)]
        await turns()
        gate.open()
        handles = await asyncio.gather(*submitting)
    assert log.started == list(range(15))
    assert [handle.id for handle in handles] == list(range(11, 26))


async def test_a_newcomer_lines_up_behind_those_who_wait_even_if_there_is_room() -> None:
    log, gate = Log(), Gate()
    async with WorkerPool(max_workers=1, queue_size=0, submit_timeout=None) as pool:
        running = await pool.submit(gate)
        first = asyncio.create_task(pool.submit(log, "first"))
        await turns()
        gate.open()
        while not running.done():
            await asyncio.sleep(0)
        second = asyncio.create_task(pool.submit(log, "second"))
        await asyncio.gather(first, second)
    assert log.started == ["first", "second"]


async def test_submit_nowait_never_overtakes_a_submitter_who_waits() -> None:
    log, gate = Log(), Gate()
    async with WorkerPool(max_workers=1, queue_size=1, submit_timeout=None) as pool:
        await pool.submit(gate)
        await pool.submit(log, "queued")
        polite = asyncio.create_task(pool.submit(log, "polite"))
        await turns()
        gate.open()
        rude = 0
        while not polite.done():
            with pytest.raises(PoolOverloaded) as refused:
                pool.submit_nowait(log, "rude")
            assert refused.value.reason == "full"
            rude += 1
            await asyncio.sleep(0)
        assert rude > 1
        await polite
        await turns()
        pool.submit_nowait(log, "now")
    assert log.started == ["queued", "polite", "now"]


async def test_a_storm_from_within_jobs_does_not_starve_a_submitter_who_waits() -> None:
    """Who submits the moment a job ends sees room before anybody who waits can wake."""
    log = Log()
    storm = 0

    async def job() -> None:
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(push)

    def push() -> None:
        nonlocal storm
        storm += 1
        try:
            pool.submit_nowait(job)
        except PoolOverloaded:
            asyncio.get_running_loop().call_soon(push)
        except PoolClosed:
            pass

    async with WorkerPool(max_workers=2, queue_size=3, submit_timeout=None) as pool:
        for _ in range(5):
            pool.submit_nowait(job)
        for number in range(5):
            before = pool.stats().ended
            await pool.submit(log, number)
            assert pool.stats().ended - before <= 5, "at most queue_size + max_workers places got free meanwhile"
    assert log.started == list(range(5))
    assert storm > 5


async def test_submit_nowait_is_refused_while_anybody_waits_and_served_again_after() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=0, submit_timeout=None) as pool:
        running = await pool.submit(gate)
        waiting = asyncio.create_task(pool.submit(echo, 1))
        await turns()
        waiting.cancel()
        await asyncio.wait([waiting])
        gate.open()
        await running
        assert await pool.submit_nowait(echo, 2) == 2


async def test_a_busy_submitter_does_not_keep_a_rare_one_out() -> None:
    """Two producers at very different rates: the rare one waits for the places ahead of it, and for no more."""
    log = Log()
    stop = False

    async def busy() -> None:
        while not stop:
            await pool.submit(sleep, 0.0001)

    async with WorkerPool(max_workers=1, queue_size=3, submit_timeout=None) as pool:
        producers = [asyncio.create_task(busy()) for _ in range(10)]
        await asyncio.sleep(0.005)
        for number in range(5):
            before = pool.stats().accepted
            handle = await pool.submit(log, number)
            assert handle.id - before <= 11, "more than those who were in line were served first"
        stop = True
        await asyncio.gather(*producers)
    assert log.started == list(range(5))


async def test_a_cancelled_submitter_leaves_the_line_and_the_others_keep_their_order() -> None:
    log, gate = Log(), Gate()
    async with WorkerPool(max_workers=1, queue_size=0, submit_timeout=None) as pool:
        await pool.submit(gate)
        submitting = [asyncio.create_task(pool.submit(log, number)) for number in range(6)]
        await turns()
        for number in (0, 2, 5):
            submitting[number].cancel()
        await turns()
        assert pool.stats().waiting == 3
        gate.open()
        await asyncio.wait(submitting)
    assert log.started == [1, 3, 4]
    assert pool.stats().refused["cancelled"] == 3


async def test_a_submitter_that_is_cancelled_after_it_got_room_passes_it_on() -> None:
    log, gate = Log(), Gate()
    async with WorkerPool(max_workers=1, queue_size=1, submit_timeout=None) as pool:
        await pool.submit(gate)
        queued = await pool.submit(sleep, FOREVER)
        submitting = [asyncio.create_task(pool.submit(log, number)) for number in range(3)]
        await turns()
        queued.cancel()  # the first submitter has its room from here on,
        submitting[0].cancel()  # and is gone before it could wake
        done, _ = await asyncio.wait(submitting[:2], timeout=0.2)
        assert done == set(submitting[:2]), "the room was lost"
        assert submitting[0].cancelled()
        assert not submitting[2].done()
        assert pool.stats().queued == 1
        gate.open()
        await submitting[2]
    assert log.started == [1, 2]


async def test_room_is_passed_on_along_a_line_of_cancelled_submitters() -> None:
    log, gate = Log(), Gate()
    async with WorkerPool(max_workers=1, queue_size=1, submit_timeout=None) as pool:
        await pool.submit(gate)
        queued = await pool.submit(sleep, FOREVER)
        submitting = [asyncio.create_task(pool.submit(log, number)) for number in range(6)]
        await turns()
        queued.cancel()
        for task in submitting[:5]:
            task.cancel()
        done, _ = await asyncio.wait(submitting, timeout=0.2)
        assert done == set(submitting)
        assert pool.stats().queued == 1
        assert pool.stats().waiting == 0
        gate.open()
    assert log.started == [5]


async def test_room_that_every_submitter_declined_is_free_again() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=1, submit_timeout=None) as pool:
        await pool.submit(gate)
        queued = await pool.submit(sleep, FOREVER)
        submitting = [asyncio.create_task(pool.submit(echo, number)) for number in range(3)]
        await turns()
        queued.cancel()
        for task in submitting:
            task.cancel()
        await asyncio.wait(submitting)
        assert await asyncio.gather(*submitting, return_exceptions=True)
        assert pool.stats().waiting == 0
        pool.submit_nowait(echo, 1)
        gate.open()


async def test_two_who_get_room_in_one_turn_are_not_overtaken_by_the_first_of_them() -> None:
    """The second asks while there is room that the first has been promised a part of, and must not be forgotten."""
    log, gate, go = Log(), Gate(), asyncio.Event()

    async def first() -> None:
        await pool.submit(log, "first")
        with pytest.raises(PoolOverloaded):
            pool.submit_nowait(log, "first again")

    async def second() -> None:
        await go.wait()
        await pool.submit(log, "second")

    async with WorkerPool(max_workers=1, queue_size=2, submit_timeout=None) as pool:
        await pool.submit(gate)
        queued = [await pool.submit(sleep, FOREVER) for _ in range(2)]
        submitting = [asyncio.create_task(first()), asyncio.create_task(second())]
        await turns()
        go.set()  # so the second asks in the next turn, before the first can wake
        for handle in queued:
            handle.cancel()
        done, _ = await asyncio.wait(submitting, timeout=0.2)
        assert done == set(submitting), "there was room for both"
        assert [task.exception() for task in submitting] == [None, None]
        gate.open()
    assert log.started == ["first", "second"]


@pytest.mark.parametrize("queue_size", [2, 5])
async def test_an_observer_that_submits_the_moment_a_job_ends_does_not_overtake_those_who_queue(queue_size: int) -> None:
    """At that moment a place is free, and somebody queues for it."""
    log, gate = Log(), Gate()
    refused: list[PoolOverloaded] = []

    class Pusher(Observer):
        def job_ended(self, event: JobEnded) -> None:
            if event.id == 1:
                try:
                    pool.submit_nowait(log, "pushed")
                except PoolOverloaded as error:
                    refused.append(error)

    async with WorkerPool(max_workers=1, queue_size=queue_size, observers=[Pusher()]) as pool:
        await pool.submit(gate)
        await pool.submit(log, 1)
        last = await pool.submit(log, 2)
        gate.open()
        await last
    if queue_size == 2:
        assert log.started == [1, 2]
        assert len(refused) == 1
    else:
        assert log.started == [1, 2, "pushed"]


async def test_a_submitter_that_got_room_leaves_no_timer_behind() -> None:
    loop: Any = asyncio.get_running_loop()
    if not hasattr(loop, "_scheduled"):
        pytest.skip("the timers of this loop can't be seen")
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=0, submit_timeout=FOREVER) as pool:
        await pool.submit(gate)
        submitting = asyncio.create_task(pool.submit(echo, 1))
        leaving = asyncio.create_task(pool.submit(echo, 2))
        await turns()
        leaving.cancel()
        gate.open()
        await (await submitting)
        await turns()
        assert not [timer for timer in loop._scheduled if not timer.cancelled() and timer.when() > loop.time() + 60]


async def test_a_submitter_that_runs_out_of_patience_leaves_the_line_to_those_behind_it() -> None:
    log, gate = Log(), Gate()
    async with WorkerPool(max_workers=1, queue_size=0, submit_timeout=0.05) as pool:
        await pool.submit(gate)
        impatient = asyncio.create_task(pool.submit(log, "impatient"))
        await asyncio.sleep(0.03)
        patient = asyncio.create_task(pool.submit(log, "patient"))
        with pytest.raises(PoolOverloaded) as refused:
            await impatient
        assert refused.value.reason == "timeout"
        assert not patient.done()
        assert pool.stats().waiting == 1
        gate.open()
        await patient
    assert log.started == ["patient"]


@pytest.mark.virtual  # a tie on the clock
@pytest.mark.parametrize("room_first", [True, False])
async def test_room_that_comes_in_the_moment_patience_ends_goes_to_exactly_one(room_first: bool) -> None:
    loop = asyncio.get_running_loop()
    log, gate = Log(), Gate()
    async with WorkerPool(max_workers=1, queue_size=1, submit_timeout=1.0) as pool:
        await pool.submit(gate)
        queued = await pool.submit(sleep, FOREVER)
        at = loop.time() + 1.0
        if room_first:
            loop.call_at(at, queued.cancel)
        first = asyncio.create_task(pool.submit(log, "first"))
        await asyncio.sleep(0)
        if not room_first:
            loop.call_at(at, queued.cancel)
        await asyncio.sleep(0.5)
        second = asyncio.create_task(pool.submit(log, "second"))
        await asyncio.wait([first])
        await turns()
        assert first.exception() is not None or not second.done()
        if first.exception() is not None:
            assert second.done(), "the room went to nobody"
        s = pool.stats()
        assert (s.queued, s.waiting) == (1, 0 if second.done() else 1)
        gate.open()
        await second
    assert log.started == (["second"] if first.exception() else ["first", "second"])


async def test_order_holds_over_random_cancellations_in_the_line() -> None:
    log, gate = Log(), Gate()
    async with WorkerPool(max_workers=2, queue_size=3, submit_timeout=None) as pool:
        for _ in range(5):
            pool.submit_nowait(gate)
        submitting = [asyncio.create_task(pool.submit(log, number)) for number in range(60)]
        await turns()
        gate.open()
        for number in range(0, 60, 7):  # some of them by now in line, with room, or accepted
            submitting[number].cancel()
            await asyncio.sleep(0)
        await asyncio.wait(submitting)
        accepted = [number for number, task in enumerate(submitting) if not task.cancelled()]
    assert log.started == accepted
    assert 51 <= len(accepted) < 60


async def test_who_has_a_key_and_who_has_none_start_in_the_order_in_which_they_came() -> None:
    order: list[int] = []

    async def job(number: int) -> None:
        order.append(number)
        await sleep(0)

    async with WorkerPool(max_workers=3, queue_size=0, submit_timeout=None) as pool:
        gates = [Gate() for _ in range(3)]
        for gate in gates:
            await pool.submit(gate)
        jobs = [pool.run(job, number, key=None if number % 2 else f"key {number % 3}") for number in range(9)]
        submitters = [asyncio.ensure_future(each) for each in jobs]
        await turns(3)
        for gate in gates:
            gate.open()
        await asyncio.gather(*submitters)
    assert order == list(range(9))


async def test_submitters_who_have_been_given_room_that_is_gone_again_keep_their_order() -> None:
    """They have been woken, and the pool is paused before they come."""
    gates = [Gate() for _ in range(3)]
    order: list[int] = []

    async def job(number: int) -> None:
        order.append(number)

    async with WorkerPool(max_workers=3, queue_size=0, submit_timeout=None) as pool:
        for gate in gates:
            await pool.submit(gate)
        submitters = [asyncio.ensure_future(pool.run(job, number)) for number in range(6)]
        await turns(3)
        for gate in gates:
            gate.open()
        await promised(pool, 3)
        pool.pause()
        await turns(5)
        submitters.append(asyncio.ensure_future(pool.run(job, 6)))
        await turns(5)
        assert pool.stats().waiting == 7
        pool.resume()
        await asyncio.gather(*submitters)
    assert order == list(range(7))


async def test_the_first_of_two_who_have_been_given_room_has_it_when_half_of_that_is_gone_again() -> None:
    gate, log = Gate(), Log()
    async with WorkerPool(max_workers=2, queue_size=0, submit_timeout=None) as pool:
        for _ in range(2):
            pool.submit_nowait(gate)
        submitting = [asyncio.create_task(pool.submit(log, number)) for number in range(3)]
        await turns()
        gate.open()
        await promised(pool, 2)
        await pool.resize(max_workers=1)
        await asyncio.wait(submitting)
    assert log.started == [0, 1, 2]


async def test_a_place_that_a_job_has_back_is_missed_by_the_last_who_has_been_given_room() -> None:
    gate, later, log = Gate(), Gate(), Log()
    waiting: list[asyncio.Task[Any]] = []

    async def lender(other: JobHandle[Any]) -> None:
        waiting.append(asyncio.create_task(other.wait()))
        await asyncio.wait(waiting)
        await later()

    async with WorkerPool(max_workers=3, queue_size=0, submit_timeout=None) as pool:
        other = pool.submit_nowait(later)
        pool.submit_nowait(lender, other)
        await turns()
        for _ in range(2):
            pool.submit_nowait(gate)
        submitting = [asyncio.create_task(pool.submit(log, letter)) for letter in "ABC"]
        await turns()
        gate.open()
        waiting[0].cancel()
        await asyncio.wait(submitting)
        later.open()
    assert log.started == ["A", "B", "C"]


async def test_who_hears_that_a_submitter_has_gone_who_had_been_given_room_finds_that_room() -> None:
    class Submits(Observer):
        def submit_refused(self, event: SubmitRefused) -> None:
            found.append((event.reason, pool.stats().waiting, pool.submit_nowait(echo, 1)))

    gate = Gate()
    found: list[tuple[str, int, JobHandle[Any]]] = []
    async with WorkerPool(max_workers=1, queue_size=0, submit_timeout=None, observers=[Submits()]) as pool:
        pool.submit_nowait(gate)
        submitting = asyncio.create_task(pool.submit(echo, 0))
        await turns()
        gate.open()
        await promised(pool, 1)
        submitting.cancel()
        await asyncio.wait([submitting])
    ((reason, waiting, handle),) = found
    assert (reason, waiting, handle.result()) == ("cancelled", 0, 1)
