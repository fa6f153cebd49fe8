"""`pool.batch`: callers have one item each, the function gets a list, and each caller its own result."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import weakref
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import pytest

from tests.support import FOREVER, Clock, Gate, balanced, echo, sleep, turns
from weirpool import (
    JobCancelled,
    JobTimeout,
    PoolClosed,
    PoolError,
    PoolOverloaded,
    PoolState,
    WorkerPool,
    deadline_scope,
    in_thread,
)
from weirpool._batch_items import Entry, Group
from weirpool._waiting import Errand
from weirpool.events import JobAccepted, Observer, SubmitRefused
from weirpool.policies import Retry
from weirpool.testing import explore

if TYPE_CHECKING:
    from weirpool.policies import OverloadController


class Double:
    """Return each item twice as large, and note the lists."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.lists: list[list[int]] = []
        self.seconds = seconds

    async def __call__(self, items: list[int]) -> list[int]:
        self.lists.append(list(items))
        await asyncio.sleep(self.seconds)
        return [2 * item for item in items]


async def test_items_of_many_callers_go_into_one_job_and_each_caller_has_its_own_result(clock: Clock) -> None:
    double = Double()
    async with WorkerPool() as pool, pool.batch(double, max_size=10, max_wait=0.5) as batch:
        clock.start()
        assert await asyncio.gather(*map(batch, range(3))) == [0, 2, 4]
        assert clock.shows(0.5)
        assert pool.stats().accepted == 1
    assert double.lists == [[0, 1, 2]]


async def test_a_batch_that_is_full_does_not_wait(clock: Clock) -> None:
    double = Double()
    async with WorkerPool() as pool:
        batch = pool.batch(double, max_size=2, max_wait=FOREVER)
        clock.start()
        assert await asyncio.gather(*map(batch, range(4))) == [0, 2, 4, 6]
        assert clock.shows(0)
    assert double.lists == [[0, 1], [2, 3]]


async def test_with_no_wait_the_items_of_one_turn_go_together() -> None:
    double = Double()
    async with WorkerPool() as pool:
        batch = pool.batch(double, max_wait=0)
        await asyncio.gather(*map(batch, range(3)))
        await batch(7)
    assert double.lists == [[0, 1, 2], [7]]


async def test_an_idle_batch_has_neither_task_nor_timer() -> None:
    """R18."""
    async with WorkerPool() as pool:
        tasks = asyncio.all_tasks()
        batch = pool.batch(Double(), max_wait=FOREVER)
        first = asyncio.ensure_future(batch(1))
        await turns(3)
        assert asyncio.all_tasks() - tasks == {first}
        assert "1 of 100 items wait" in repr(batch)
        await batch.aclose()
        assert await first == 2
        assert repr(batch).endswith(": closed, 0 batches under way>")


# Failures ---------------------------------------------------------------------------------------------------------------


async def test_what_the_function_raises_is_raised_to_all_of_its_batch_and_to_no_other() -> None:
    """R5."""

    async def odd_fails(items: list[int]) -> list[int]:
        if items[0] % 2:
            raise ValueError(items)
        return items

    async with WorkerPool() as pool:
        batch = pool.batch(odd_fails, max_size=2)
        outcomes = await asyncio.gather(*map(batch, [0, 2, 1, 3]), return_exceptions=True)
    assert outcomes[:2] == [0, 2]
    assert [str(error) for error in outcomes[2:]] == ["[1, 3]", "[1, 3]"]


async def test_an_exception_in_the_place_of_a_result_is_for_that_item_alone() -> None:
    async def parse(items: list[str]) -> list[int | ValueError]:
        return [int(item) if item.isdigit() else ValueError(item) for item in items]

    async with WorkerPool() as pool:
        batch = pool.batch(parse)
        outcomes: Any = await asyncio.gather(batch("1"), batch("two"), batch("3"), return_exceptions=True)
        assert list(outcomes[::2]) == [1, 3]
        assert repr(outcomes[1]) == "ValueError('two')"


@pytest.mark.parametrize(
    ("results", "error"),
    [
        ([1], "ValueError: give must return as many results as it is given items, in their order: got 1 for 2"),
        ([1, 2, 3], "ValueError: give must return as many results as it is given items, in their order: got 3 for 2"),
        (None, "TypeError: give must return a sequence with a result for each item, got None (NoneType)"),
        ("ab", "TypeError: give must return a sequence with a result for each item, got 'ab' (str)"),
        ({1: 2, 3: 4}, "TypeError: give must return a sequence with a result for each item, got {1: 2, 3: 4} (dict)"),
    ],
)
async def test_other_than_one_result_for_each_item_is_an_error_of_the_function(results: Any, error: str) -> None:
    async def give(_: list[int]) -> Any:
        return results

    async with WorkerPool() as pool:
        batch = pool.batch(give)
        for outcome in await asyncio.gather(batch(1), batch(2), return_exceptions=True):
            kind, message = error.split(": give ")
            assert type(outcome).__name__ == kind
            assert str(outcome).endswith(message)


async def test_an_exception_in_several_places_does_not_gather_what_was_around_each_caller() -> None:
    async def fail(items: list[int]) -> list[Exception]:
        return [error] * len(items)

    error = KeyError()
    async with WorkerPool() as pool:
        batch = pool.batch(fail, max_wait=0)
        await asyncio.gather(*map(batch, range(50)), return_exceptions=True)
    frames, where = 0, error.__traceback__
    while where is not None:
        frames, where = frames + 1, where.tb_next
    assert frames < 10
    assert error.__context__ is None


async def test_whatever_has_a_length_of_results_will_do() -> None:
    async def give(items: list[int]) -> Any:
        return tuple(items)

    async with WorkerPool() as pool:
        assert await pool.batch(give)(1) == 1

        def same(items: list[int]) -> list[int]:
            return items

        assert await pool.batch(in_thread(same), max_wait=0)(5) == 5


async def test_a_function_may_have_arguments_that_are_fixed() -> None:
    async def tell(prefix: str, items: list[int], *, suffix: str) -> list[str]:
        return [f"{prefix}{item}{suffix}" for item in items]

    async with WorkerPool() as pool:
        assert await pool.batch(partial(tell, "<", suffix=">"), max_wait=0)(7) == "<7>"
        assert await pool.batch(partial(in_thread(tell_all), "<", suffix=">"), max_wait=0)(7) == "<7>"


def tell_all(prefix: str, items: list[int], *, suffix: str) -> list[str]:
    return [f"{prefix}{item}{suffix}" for item in items]


async def test_a_plain_function_is_told_of_as_in_any_job() -> None:
    not_async: Any = sorted
    async with WorkerPool() as pool:
        with pytest.raises(TypeError, match="in_thread"):
            await pool.batch(not_async)(1)


@pytest.mark.virtual
async def test_a_batch_is_a_job_with_a_timeout_a_name_and_a_key() -> None:
    names = []

    async def never(_: list[int]) -> list[int]:
        names.append(asyncio.current_task().get_name())  # type: ignore[union-attr]
        await asyncio.sleep(FOREVER)
        return []

    async with WorkerPool() as pool:
        batch = pool.batch(never, timeout=1, name="bulk", key="one", priority=3)
        for outcome in await asyncio.gather(batch(1), batch(2), return_exceptions=True):
            assert isinstance(outcome, JobTimeout)
        with pytest.raises(JobTimeout, match="never#2"):
            await pool.batch(never, timeout=1)(1)
    assert names[0] == "bulk"
    assert names[1].endswith(".never#2")


@pytest.mark.virtual
async def test_a_batch_that_fails_is_tried_again() -> None:
    pytest.importorskip("tenacity", reason="missing: pip install 'weirpool[retry]'")
    lists = []

    async def flaky(items: list[int]) -> list[int]:
        lists.append(list(items))
        await asyncio.sleep(1)
        if len(lists) < 2:
            raise ConnectionError
        return items

    async with WorkerPool() as pool:
        batch = pool.batch(flaky, retry=Retry(attempts=3, first=0.01, longest=0.01))
        impatient = asyncio.ensure_future(asyncio.wait_for(batch(1), 0.5))
        assert await batch(2) == 2
        with pytest.raises(TimeoutError):
            await impatient
    assert [sorted(each) for each in lists] == [[1, 2], [2]]  # nobody waits for the other any more


async def test_a_failure_that_nobody_waits_for_any_more_is_logged(caplog: pytest.LogCaptureFixture, request: Any) -> None:
    """R5."""
    request.node.add_marker(pytest.mark.complains)

    async def bad(_: list[int]) -> list[int]:
        try:
            await asyncio.sleep(FOREVER)
        except asyncio.CancelledError:
            raise ValueError("while cleaning up") from None
        return []

    async with WorkerPool() as pool:
        task = asyncio.ensure_future(pool.batch(bad, max_wait=0)(1))
        await turns(5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gc.collect()
    assert "failed and nobody asked why" in caplog.text


# Cancelling -------------------------------------------------------------------------------------------------------------


async def test_a_caller_that_is_cancelled_takes_its_item_out_of_a_batch_that_has_not_started() -> None:
    """R7."""
    double = Double()
    async with WorkerPool() as pool:
        batch = pool.batch(double, max_wait=1)
        gone, stays = asyncio.ensure_future(batch(1)), asyncio.ensure_future(batch(2))
        await turns(3)
        gone.cancel()
        assert await stays == 4
    assert double.lists == [[2]]


@pytest.mark.virtual
async def test_a_batch_whose_callers_have_all_gone_is_not_submitted() -> None:
    double = Double()
    async with WorkerPool() as pool:
        batch = pool.batch(double, max_wait=1)
        gone = asyncio.ensure_future(batch(1))
        await turns(3)
        gone.cancel()
        await asyncio.sleep(2)
        assert pool.stats().accepted == 0
        assert await batch(2) == 4
    assert double.lists == [[2]]


@pytest.mark.virtual
async def test_the_last_caller_that_is_cancelled_cancels_the_job_and_waits_for_its_end() -> None:
    ended = []

    async def slow(items: list[int]) -> list[int]:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            await asyncio.sleep(1)
            ended.append(items)
        return items

    async with WorkerPool() as pool:
        batch = pool.batch(slow, max_wait=0)
        first, last = asyncio.ensure_future(batch(1)), asyncio.ensure_future(batch(2))
        await turns(5)
        first.cancel()
        await asyncio.sleep(3)
        assert not ended
        last.cancel()
        with pytest.raises(asyncio.CancelledError):
            await last
        assert ended == [[1, 2]]


async def test_a_caller_whose_coroutine_is_closed_leaves() -> None:
    async with WorkerPool() as pool:
        batch = pool.batch(Double(FOREVER), max_wait=0)
        call: Any = batch(1)
        call.send(None)
        await turns(5)
        assert pool.stats().running == 1
        call.close()
        await turns(5)
        assert pool.stats().cancelled == 1


async def test_a_job_that_is_cancelled_from_elsewhere_is_told_to_its_callers() -> None:
    async with WorkerPool() as pool:
        batch = pool.batch(Double(FOREVER), max_wait=0)
        waiting = asyncio.ensure_future(batch(1))
        await turns(5)
        pool.running()[0].handle.cancel()
        with pytest.raises(JobCancelled):
            await waiting


class ShedsAll:
    """An overload policy that lets no job start that has waited in the queue."""

    when_full: Literal["wait"] = "wait"
    newest_first = False

    def controller(self) -> OverloadController:
        return self

    def refuses(self, *_: int) -> bool:
        return False

    def sheds(self, *_: float) -> bool:
        return True

    def idle(self, _: float, /) -> None:
        pass


# A full pool ------------------------------------------------------------------------------------------------------------


@pytest.mark.virtual
async def test_when_the_pool_is_full_a_batch_waits_in_line_as_long_as_any_submission() -> None:
    gate, double = Gate(), Double()
    async with WorkerPool(max_workers=1, queue_size=0, submit_timeout=5) as pool:
        await pool.submit(gate)
        batch = pool.batch(double, max_size=2)
        waiting = asyncio.gather(*map(batch, range(4)))
        await asyncio.sleep(1)
        assert not double.lists
        gate.open()
        assert await waiting == [0, 2, 4, 6]
    assert double.lists == [[0, 1], [2, 3]]


@pytest.mark.virtual
async def test_if_there_is_no_room_in_time_all_callers_of_the_batch_are_refused(clock: Clock) -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=0, submit_timeout=5) as pool:
        await pool.submit(gate)
        batch = pool.batch(Double(), max_wait=1)
        clock.start()
        outcomes = await asyncio.gather(*map(batch, range(3)), return_exceptions=True)
        assert clock.shows(6)
        assert [getattr(outcome, "reason", None) for outcome in outcomes] == ["timeout"] * 3
        assert len({id(outcome) for outcome in outcomes}) == 3
        gate.open()


async def test_a_policy_that_refuses_at_once_refuses_all_callers() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=0, overload="reject") as pool:
        await pool.submit(gate)
        outcomes = await asyncio.gather(*map(pool.batch(Double()), range(2)), return_exceptions=True)
        assert all(isinstance(outcome, PoolOverloaded) for outcome in outcomes)
        gate.open()


async def test_a_batch_in_line_goes_on_without_those_who_go_and_keeps_its_turn() -> None:
    """R3, R7."""
    gate, double = Gate(), Double()
    order: list[asyncio.Future[Any]] = []
    async with WorkerPool(max_workers=1, queue_size=0, submit_timeout=None) as pool:
        await pool.submit(gate)
        batch = pool.batch(double, max_wait=0)
        callers = [asyncio.ensure_future(batch(number)) for number in range(3)]
        await turns(5)
        later = asyncio.ensure_future(pool.run(echo, "later"))
        for each in [*callers, later]:
            each.add_done_callback(order.append)
        await turns(5)
        callers[2].cancel()
        await turns(5)
        callers[0].cancel()
        await turns(5)
        assert pool.stats().waiting == 2
        gate.open()
        assert await callers[1] == 2
        assert await later == "later"
        assert pool.stats().accepted == 3
        assert not pool.stats().refused["cancelled"]
    assert double.lists == [[1]]
    assert order.index(callers[1]) < order.index(later)


@pytest.mark.virtual
async def test_a_batch_in_line_that_all_leave_leaves_the_line_and_what_room_it_was_given() -> None:
    """R1, R7, R17: whenever that is, also in the turn in which it is given room."""
    accepted = []
    for number in range(4):
        gate, double = Gate(), Double(1)
        async with WorkerPool(max_workers=1, queue_size=0, submit_timeout=5) as pool:
            await pool.submit(gate)
            batch = pool.batch(double, max_wait=0)
            callers = [asyncio.ensure_future(batch(item)) for item in range(2)]
            await turns(5)
            later = asyncio.ensure_future(pool.run(echo, "later"))
            await turns(5)
            gate.open()
            await turns(number)
            for caller in callers:
                caller.cancel()
            await asyncio.wait(callers)
            assert all(caller.cancelled() for caller in callers)
            assert await later == "later"
            assert pool.stats().accepted + pool.stats().refused["cancelled"] == 3
            assert not pool.stats().waiting
            accepted.append(pool.stats().accepted)
        assert balanced(pool)
        assert not batch._batcher._groups
    assert accepted == sorted(accepted)
    assert set(accepted) == {2, 3}


async def test_a_full_batch_of_one_item_stands_in_line_at_once() -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=0, submit_timeout=0) as pool:
        await pool.submit(gate)
        with pytest.raises(PoolOverloaded):
            await pool.batch(Double(), max_size=1, max_wait=FOREVER, key="one")(1)
        gate.open()


async def test_however_many_go_a_batch_waits_for_room_for_submit_timeout_and_no_longer(clock: Clock) -> None:
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=0, submit_timeout=0.5) as pool:
        await pool.submit(gate)
        batch = pool.batch(Double(), max_wait=0)
        clock.start()
        callers = [asyncio.create_task(batch(number)) for number in range(4)]
        for caller in callers[:3]:
            await asyncio.sleep(0.15)
            caller.cancel()
        with pytest.raises(PoolOverloaded):
            await callers[3]
        assert clock.shows(0.5)
        assert pool.stats().refused["timeout"] == 1
        gate.open()


async def test_a_batch_that_its_callers_run_goes_on_without_one_that_is_cancelled() -> None:
    """R7: with overload="caller_runs"."""
    gate = Gate()
    async with WorkerPool(max_workers=1, queue_size=0, overload="caller_runs") as pool:
        await pool.submit(gate)
        batch = pool.batch(Double(0.1), max_wait=0)
        callers = [asyncio.create_task(batch(number)) for number in range(3)]
        await asyncio.sleep(0.05)
        callers[0].cancel()
        outcomes = await asyncio.gather(*callers, return_exceptions=True)
        assert isinstance(outcomes[0], asyncio.CancelledError)
        assert outcomes[1:] == [2, 4]
        gate.open()


@pytest.mark.parametrize("queue_size", [0, 1])
async def test_jobs_with_one_place_may_wait_for_a_batch_of_their_own_pool(queue_size: int) -> None:
    """R9: they lend it."""
    double = Double()
    async with WorkerPool(max_workers=1, queue_size=queue_size, submit_timeout=None) as pool:
        batch = pool.batch(double, max_size=3, max_wait=1)

        async def job(number: int) -> int:
            return await batch(number)

        assert await asyncio.gather(*(pool.run(job, number) for number in range(7))) == [0, 2, 4, 6, 8, 10, 12]
        assert balanced(pool)
    assert sorted(item for items in double.lists for item in items) == list(range(7))


async def test_a_job_is_told_of_a_batch_that_ends_in_the_moment_in_which_it_lends_its_place() -> None:
    """R9: as the pool sheds it."""
    async with WorkerPool(max_workers=1, overload=ShedsAll()) as pool:
        batch = pool.batch(Double(), max_size=1)

        async def job() -> str:
            with pytest.raises(PoolOverloaded) as caught:
                await batch(1)
            return caught.value.reason

        assert await pool.run(job) == "shed"


async def test_a_job_may_wait_for_several_items_in_tasks_of_its_own() -> None:
    """R9."""
    async with WorkerPool(max_workers=1) as pool:
        batch = pool.batch(Double(), max_wait=0)

        async def job() -> list[int]:
            return list(await asyncio.gather(batch(1), batch(2)))

        assert await pool.run(job) == [2, 4]


async def test_a_job_may_wait_for_a_batch_of_another_pool() -> None:
    async with WorkerPool(max_workers=1) as one, WorkerPool(max_workers=1) as other:
        batch = other.batch(Double(), max_wait=0)
        assert await one.run(batch, 2) == 4


# Closing ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("queue_size", [0, 10])
@pytest.mark.parametrize("within", ["job", "function"])
async def test_a_batch_that_would_wait_for_ever_for_its_key_is_refused_to_that_caller_alone(
    within: str, queue_size: int
) -> None:
    """R9: others whose items are in the same list have their results."""
    double = Double()

    async def nested(items: list[int]) -> list[int]:
        if 1 in items:
            with pytest.raises(RuntimeError, match="wait"):
                await batch(2)
        return await double(items)

    async with WorkerPool(queue_size=queue_size, submit_timeout=None) as pool:
        batch = pool.batch(double if within == "job" else nested, max_wait=0.1, key="k")

        async def job() -> int:
            return await batch(1)

        if within == "job":
            held, other = pool.run(job, key="k"), batch(3)
            failed, result = await asyncio.wait_for(asyncio.gather(held, other, return_exceptions=True), 5)
            assert isinstance(failed, RuntimeError)
            assert result == 6
            assert double.lists == [[3]]
        else:
            assert await asyncio.wait_for(batch(1), 5) == 2


async def test_that_it_would_is_noticed_as_well_if_the_batch_was_accepted_before() -> None:
    """R9."""
    gate = Gate()
    async with WorkerPool(max_workers=3) as pool:
        batch = pool.batch(Double(), max_size=2, max_wait=FOREVER, key="k")

        async def job() -> int:
            with pytest.raises(RuntimeError, match="wait"):
                await batch(1)
            return 1

        held = await pool.submit(gate, key="k")
        waiting = await pool.submit(job, key="k")
        other = asyncio.create_task(batch(3))
        await turns()
        gate.open()
        await held
        assert await waiting == 1
        assert await other == 6


@pytest.mark.virtual
@pytest.mark.parametrize("queue_size", [0, 1])
async def test_it_is_noticed_while_the_batch_stands_in_line(queue_size: int) -> None:
    """R9: nobody hangs, as others of the key fill the queue."""
    double = Double()
    async with WorkerPool(max_workers=2, queue_size=queue_size, submit_timeout=None) as pool:
        batch = pool.batch(double, max_size=2, max_wait=1, key="k")

        async def job() -> None:
            await asyncio.sleep(1)
            with pytest.raises(RuntimeError, match="for ever"):
                await batch(1)

        async def other() -> int:
            await asyncio.sleep(1)
            return await batch(3)

        waiting = [pool.run(job, key="k"), *(pool.run(echo, 1, key="k") for _ in range(queue_size))]
        results = await asyncio.wait_for(asyncio.gather(other(), *waiting), 60)
        assert results[0] == 6
    assert double.lists == [[3]]


@pytest.mark.virtual
async def test_a_deadline_scope_ends_a_wait_that_would_be_for_ever(clock: Clock) -> None:
    """R6, R9."""
    async with WorkerPool() as pool:
        batch = pool.batch(Double(), max_wait=0, key="k")

        async def job() -> None:
            with deadline_scope(asyncio.get_running_loop().time() + 2), pytest.raises(JobTimeout):
                await batch(1)

        clock.start()
        await pool.run(job, key="k")
        assert clock.shows(2)


async def test_a_batch_does_not_close_from_a_job_that_has_its_key_while_one_of_its_own_waits_for_that() -> None:
    """R9, R15."""
    async with WorkerPool() as pool:
        batch = pool.batch(Double(), key="k")

        async def job() -> None:
            with pytest.raises(RuntimeError, match="for ever"):
                await batch.aclose()

        caller = asyncio.ensure_future(batch(1))
        await turns(3)
        await pool.run(job, key="k")
        await pool.run(batch.aclose, key="another")
        assert caller.done()
        assert await caller == 2


async def test_a_batch_does_not_close_from_its_own_function_which_it_would_wait_for() -> None:
    """R15."""

    async def close(items: list[int]) -> list[int]:
        await batch.aclose()
        return items

    async with WorkerPool() as pool:
        batch = pool.batch(close, max_wait=0)
        with pytest.raises(RuntimeError, match=r"^Batch.aclose\(\) was called from one of its own jobs"):
            await batch(1)


@pytest.mark.virtual
async def test_leaving_the_block_submits_what_waits_and_waits_for_all() -> None:
    double = Double(1)
    async with WorkerPool() as pool:
        async with pool.batch(double, max_wait=FOREVER) as batch:
            callers = [asyncio.ensure_future(batch(number)) for number in range(2)]
            await turns(3)
        assert [await caller for caller in callers] == [0, 2]
        assert pool.stats().succeeded == 1
        with pytest.raises(RuntimeError, match="has been closed: it takes no more items"):
            await batch(3)
        await batch.aclose()


async def test_when_the_pool_closes_what_was_accepted_ends_and_the_callers_of_other_batches_are_told() -> None:
    """R10, R11."""
    double = Double(1)
    async with WorkerPool(max_workers=1, queue_size=0, submit_timeout=None) as pool:
        batch = pool.batch(double, max_size=2, max_wait=FOREVER)
        runs, stands_in_line, is_open = (
            [asyncio.ensure_future(batch(number)) for number in numbers] for numbers in [(0, 1), (2, 3), (4,)]
        )
        await turns(5)
    assert [await caller for caller in runs] == [0, 2]
    for caller in (*stands_in_line, *is_open):
        with pytest.raises(PoolClosed):
            await caller
    with pytest.raises(PoolClosed):
        await batch(6)
    with pytest.raises(PoolClosed):
        pool.batch(double)


class Thing:
    """Something of which one can see whether it is held."""


@pytest.mark.parametrize(
    "fn", [lambda items: items, lambda items: None, lambda items: [], lambda items: [KeyError()], lambda items: 1 / 0]
)
async def test_nothing_holds_an_item_or_its_result_when_its_caller_has_it(fn: Any) -> None:
    """R17: also where the function or the item has failed."""

    async def call(items: list[Thing]) -> Any:
        return fn(items)

    async with WorkerPool() as pool:
        batch = pool.batch(call, max_wait=0)
        gc.disable()
        try:
            thing = Thing()
            gone = weakref.ref(thing)
            with suppress(Exception):
                assert await batch(thing) is thing
            del thing
            await turns(3)
            assert gone() is None
        finally:
            gc.enable()


@pytest.mark.virtual
async def test_a_deadline_scope_bounds_the_wait_of_its_caller_and_nothing_else(clock: Clock) -> None:
    """R6: the item of that caller is taken out, or its result is not used."""
    gate, double = Gate(), Double(2)
    async with WorkerPool(max_workers=1, queue_size=0, submit_timeout=None) as pool:
        held = await pool.submit(gate)
        batch = pool.batch(double, name="twice", max_size=3)

        async def hurried(item: int, seconds: float) -> JobTimeout:
            with pytest.raises(JobTimeout) as caught, deadline_scope(asyncio.get_running_loop().time() + seconds):
                await batch(item)
            assert clock.shows(seconds)
            return caught.value

        clock.start()
        early, patient, late = asyncio.gather(hurried(0, 1)), asyncio.ensure_future(batch(1)), asyncio.gather(hurried(2, 4))
        await asyncio.sleep(3)
        gate.open()
        await held
        assert await patient == 2
        for waited, seconds, phase in [(early, 1, "queued"), (late, 4, "running")]:
            [error] = await waited
            assert (error.job, error.timeout, error.phase) == ("twice", seconds, phase)
        assert clock.shows(5)
        assert double.lists == [[1, 2]]
        assert pool.stats().succeeded == 2


@pytest.mark.virtual
async def test_a_batch_is_cancelled_whose_callers_are_all_out_of_time(clock: Clock) -> None:
    """R6."""
    async with WorkerPool() as pool:
        batch = pool.batch(Double(5), max_wait=1)
        clock.start()
        with deadline_scope(asyncio.get_running_loop().time() + 2), pytest.raises(JobTimeout, match="while running"):
            await batch(1)
        assert clock.shows(2)
        with deadline_scope(asyncio.get_running_loop().time() + 0.5), pytest.raises(JobTimeout, match="while queued"):
            await batch(1)
    assert clock.shows(2.5)
    assert pool.stats().cancelled == 1
    assert pool.stats().accepted == 1


@pytest.mark.virtual
async def test_a_result_that_is_there_in_time_counts_although_its_job_has_to_wait_for_a_place(clock: Clock) -> None:
    """R6, R9."""

    async def job(item: int) -> int:
        with deadline_scope(asyncio.get_running_loop().time() + 2):
            result = await batch(item)
        await asyncio.sleep(3)
        return result

    async with WorkerPool(max_workers=1) as pool:
        batch = pool.batch(Double(1), max_size=2)
        clock.start()
        assert [*await asyncio.gather(pool.run(job, 1), pool.run(job, 2))] == [2, 4]
        assert clock.shows(7)


@pytest.mark.virtual
async def test_a_job_in_a_deadline_scope_waits_for_a_batch_no_longer(clock: Clock) -> None:
    """R6, R9: and has its place again by then."""

    async def job() -> None:
        with deadline_scope(asyncio.get_running_loop().time() + 2), pytest.raises(JobTimeout):
            await batch(1)
        assert clock.shows(2)
        assert pool.stats().running == 1

    async with WorkerPool(max_workers=1) as pool:
        batch = pool.batch(Double(5), max_wait=0)
        clock.start()
        await pool.run(job)


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("why", ["time", "timeout", "circle"])
async def test_who_keeps_why_it_has_no_result_keeps_nothing_of_others(why: str, inside: bool) -> None:
    kept: list[Exception] = []
    others: list[weakref.ref[object]] = []

    class Thing:
        pass

    async def things(items: list[Any]) -> list[Thing]:
        await asyncio.sleep(0.05)
        return [Thing() for _ in items]

    async def hurried() -> None:
        try:
            if why == "time":
                with deadline_scope(asyncio.get_running_loop().time() + 0.01):
                    await batch(Thing())
            else:
                async with asyncio.timeout(0.01 if why == "timeout" else None):
                    await batch(Thing())
        except (TimeoutError, RuntimeError) as error:
            kept.append(error)

    async def patient() -> None:
        thing = Thing()
        others.append(weakref.ref(thing))
        others.append(weakref.ref(await batch(thing)))

    async with WorkerPool() as pool:
        batch = pool.batch(things, max_size=2, max_wait=0.02, key="k")
        in_circle = why == "circle"
        first = pool.run(hurried, key="k" if in_circle else None) if inside or in_circle else hurried()
        await asyncio.gather(first, pool.run(patient) if inside else patient())
        await turns(3)
        gc.collect()
        assert len(kept) == 1
        assert [other() for other in others] == [None, None]


@pytest.mark.parametrize("why", ["refused", "timeout", "cancelled"])
async def test_a_batch_that_comes_to_nothing_leaves_no_circle_of_references(why: str) -> None:
    gate = Gate()
    async with WorkerPool(
        max_workers=1, queue_size=0, submit_timeout=0.01, overload="reject" if why == "refused" else "wait"
    ) as pool:
        await pool.submit(gate)
        batch = pool.batch(Double(), max_wait=0)
        gc.collect()
        gc.disable()
        try:
            caller = asyncio.ensure_future(batch(1))
            await turns(5)
            if why == "cancelled":
                caller.cancel()
            with suppress(asyncio.CancelledError, PoolOverloaded):
                await caller
            del caller
            await turns(3)
            assert not [each for each in gc.get_objects() if isinstance(each, (Entry, Errand, Group))]
        finally:
            gc.enable()
            gate.open()


@pytest.mark.virtual
@pytest.mark.parametrize("when", ["accepted", "refused", "in line"])
async def test_the_last_caller_may_go_by_what_hears_of_its_batch(when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """R7: an observer, or a finalizer that the garbage collector calls just then."""
    gate = Gate()
    call: Any = None

    class Closes(Observer):
        def job_accepted(self, event: JobAccepted) -> None:
            if call is not None:
                call.close()

        def submit_refused(self, event: SubmitRefused) -> None:
            call.close()

    async with WorkerPool(
        max_workers=1, queue_size=0, submit_timeout=0 if when == "refused" else None, observers=[Closes()]
    ) as pool:
        await pool.submit(gate)
        if when == "in line":
            monkeypatch.setattr(pool._crew, "crowded", lambda: call.close())
        batch = pool.batch(Double(1), max_wait=0)
        call = batch(1)
        call.send(None)
        await turns(5)
        assert pool.stats().waiting == (when == "accepted")
        gate.open()
        await asyncio.sleep(2)
        assert balanced(pool)
        assert pool.stats().cancelled == (when == "accepted")
        assert pool.stats().succeeded == 1
        assert not batch._batcher._groups


async def test_who_has_no_time_left_adds_nothing() -> None:
    """R6."""
    double = Double()
    async with WorkerPool() as pool:
        batch = pool.batch(double, max_size=1, name="twice")
        with deadline_scope(asyncio.get_running_loop().time()), pytest.raises(JobTimeout, match="'twice' ran out of its 0 s"):
            await batch(1)
        assert not pool.stats().accepted
    assert not double.lists


async def test_how_much_time_its_maker_had_is_nothing_to_a_batch() -> None:
    """R6: it is made once, and used for long."""
    async with WorkerPool() as pool:

        async def make() -> Any:
            return pool.batch(Double(), max_wait=0)

        with deadline_scope(asyncio.get_running_loop().time() + 0.1):
            batches = [await make(), await pool.run(make, timeout=0.1)]
        await asyncio.sleep(0.2)
        assert [await batch(1) for batch in batches] == [2, 2]


async def test_a_batch_sees_the_context_of_whoever_made_it() -> None:
    """R4: not that of one of its callers."""
    who = contextvars.ContextVar[str]("who")

    async def ask(items: list[int]) -> list[str]:
        return [who.get()] * len(items)

    async with WorkerPool() as pool:
        who.set("maker")
        batch = pool.batch(ask, max_size=1)
        who.set("caller")
        assert await batch(1) == "maker"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_size": 0}, ValueError, r"^max_size must be an int of at least 1 \(items, .* got 0"),
        ({"max_size": 1.5}, TypeError, "^max_size must be an int"),
        ({"max_wait": -1}, ValueError, "^max_wait must be a number of seconds above 0 .* or 0 "),
        ({"max_wait": float("nan")}, ValueError, "^max_wait must be a number of seconds"),
        ({"max_wait": None}, TypeError, "^max_wait must be a number of seconds"),
        ({"timeout": -1}, ValueError, "^timeout must be"),
        ({"retry": 3}, TypeError, "^retry must be"),
        ({"key": []}, TypeError, "^key must be"),
        ({"name": 7}, TypeError, "^name must be"),
    ],
)
async def test_bad_input_is_refused_when_it_is_given(options: Any, error: type[Exception], message: str) -> None:
    async with WorkerPool() as pool:
        with pytest.raises(error, match=message):
            pool.batch(Double(), **options)
        with pytest.raises(TypeError, match=r"^fn must be an async function"):
            pool.batch(7)  # type: ignore[arg-type]


async def test_a_batch_belongs_to_its_loop_and_an_open_pool() -> None:
    with pytest.raises(RuntimeError, match="entered"):
        WorkerPool().batch(Double())
    async with WorkerPool() as pool:
        batch = pool.batch(Double())

        def elsewhere() -> None:
            with pytest.raises(RuntimeError, match=r"^calling a batch was called from another"):
                asyncio.run(batch(1))

        await asyncio.to_thread(elsewhere)
        await pool.run(echo, 1)
        await sleep(0)


@pytest.mark.realtime
@pytest.mark.complains
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("queue_size", [0, 2])
@pytest.mark.parametrize("overload", ["wait", "caller_runs"])
def test_on_every_schedule_each_caller_has_one_outcome_and_each_item_is_in_one_list(
    inside: bool, queue_size: int, overload: Any
) -> None:
    """R1, R7, R9, R17: each task is cancelled before each of its steps."""

    async def main() -> None:
        lists: list[list[int]] = []
        outcomes: list[int] = []

        async def double(items: list[int]) -> list[int]:
            lists.append(list(items))
            await asyncio.sleep(0)
            return [2 * item for item in items]

        pool = WorkerPool(
            max_workers=1, queue_size=queue_size, overload=overload, submit_timeout=None, cancel_grace=1, shutdown_timeout=5
        )
        try:
            await pool.__aenter__()
        except RuntimeError:
            assert pool.state is PoolState.CLOSED  # its own task was cancelled before it was open
            return

        async def call(item: int) -> None:
            assert await batch(item) == 2 * item
            outcomes.append(item)

        batch = pool.batch(double, max_size=2, max_wait=0.1)
        try:
            async with asyncio.TaskGroup() as group:
                for item in range(3):
                    group.create_task(pool.run(call, item) if inside else call(item))
            await batch.aclose()
        finally:
            await pool.aclose()
            assert balanced(pool)
            items = [item for each in lists for item in each]
            assert len(items) == len(set(items))
            assert all(len(each) <= 2 for each in lists)
            assert len(outcomes) == len(set(outcomes))
            assert set(outcomes) <= set(items)
            assert not batch._batcher._groups

    explore(main, seeds=10, tolerate=(PoolError,))
