"""Jobs that are tried again: one job all the same, without a place between attempts, within its time and a budget."""

from __future__ import annotations

import asyncio
import functools
import gc
import random
import sys
import traceback
import weakref
from typing import Any

import pytest

from tests.support import FOREVER, Gate, balanced, echo, sleep, turns
from weirpool import JobCancelled, JobState, JobTimeout, WorkerPool, current_job
from weirpool.policies import Retry

pytest.importorskip("tenacity", reason="missing: pip install tenacity")


@pytest.fixture(autouse=True)
def the_same_pauses() -> None:
    """Tenacity draws them from the one generator of all."""
    random.seed(7)


class Flaky:
    """A job that fails so many times."""

    def __init__(self, failures: int, error: type[BaseException] = ConnectionError) -> None:
        self.left = failures
        self.error = error
        self.attempts = 0
        self.names: set[str] = set()

    async def __call__(self, result: Any = "done") -> Any:
        self.attempts += 1
        this = current_job()
        assert this is not None
        self.names.add(this.name)
        await asyncio.sleep(0.01)
        if self.left:
            self.left -= 1
            raise self.error(f"attempt {self.attempts}")
        return result


QUICK = Retry(attempts=5, first=0.01, longest=0.05)


async def test_a_job_that_fails_is_tried_again_and_all_attempts_are_one_job() -> None:
    flaky = Flaky(3)
    async with WorkerPool() as pool:
        assert await pool.run(flaky, 7, retry=QUICK) == 7
        stats = pool.stats()
        assert (stats.accepted, stats.succeeded, stats.failed, stats.retrying) == (1, 1, 0, 0)
    assert (flaky.attempts, len(flaky.names)) == (4, 1)


async def test_a_job_that_fails_too_often_fails_with_its_last_error() -> None:
    flaky = Flaky(9)
    async with WorkerPool() as pool:
        handle = pool.submit_nowait(flaky, retry=Retry(attempts=3, first=0.01))
        with pytest.raises(ConnectionError, match="attempt 3"):
            await handle
        assert (handle.state, pool.stats().failed) == (JobState.FAILED, 1)
    assert flaky.attempts == 3


async def test_only_certain_exceptions_are_tried_again() -> None:
    policy = Retry(attempts=5, first=0.01, on=(ConnectionError, OSError))
    for error, attempts in [(ConnectionResetError, 2), (ValueError, 1)]:
        flaky = Flaky(1, error)
        async with WorkerPool() as pool:
            await (await pool.submit(flaky, retry=policy)).wait()
            (await pool.submit(echo, 1)).done()
        assert flaky.attempts == attempts


async def test_a_job_keeps_the_name_of_its_function() -> None:
    async def deliver() -> str:
        task = asyncio.current_task()
        assert task is not None
        return task.get_name()

    async with WorkerPool() as pool:
        assert await pool.run(deliver, retry=QUICK) == f"{deliver.__qualname__}#1"


async def test_a_partial_keeps_its_arguments() -> None:
    async def deliver(what: int, *, where: str) -> str:
        failures.append(what)
        if len(failures) < 2:
            raise ConnectionError
        return f"{what} {where}"

    failures: list[int] = []
    async with WorkerPool() as pool:
        assert await pool.run(functools.partial(deliver, 7, where="there"), retry=QUICK) == "7 there"
    assert failures == [7, 7]


@pytest.mark.virtual
async def test_between_two_attempts_it_has_no_place() -> None:
    flaky = Flaky(1)
    async with WorkerPool(max_workers=1, queue_size=0) as pool:
        handle = await pool.submit(flaky, retry=Retry(attempts=2, first=60.0, longest=60.0))
        await asyncio.sleep(0.02)
        stats = pool.stats()
        assert (stats.running, stats.lending, stats.retrying) == (1, 1, 1)
        assert await pool.run(echo, 1) == 1
        assert balanced(pool)
        assert await handle == "done"
        assert (pool.stats().lending, pool.stats().retrying) == (0, 0)


@pytest.mark.virtual
async def test_it_has_a_place_again_before_it_is_tried_again() -> None:
    flaky, gate = Flaky(1), Gate()
    async with WorkerPool(max_workers=1, queue_size=5) as pool:
        handle = await pool.submit(flaky, retry=Retry(attempts=2, first=1.0))
        await asyncio.sleep(0.02)
        await pool.submit(gate)
        await asyncio.sleep(5)
        assert (flaky.attempts, pool.stats().retrying) == (1, 1)
        gate.open()
        assert await handle == "done"


@pytest.mark.virtual
async def test_it_is_not_tried_again_after_its_time() -> None:
    class Fails(Flaky):
        async def __call__(self, result: Any = None) -> Any:
            self.attempts += 1
            raise ConnectionError(f"attempt {self.attempts}")

    job = Fails(99)
    async with WorkerPool() as pool:
        handle = await pool.submit(job, timeout=5.0, retry=Retry(attempts=1000, first=1.0, longest=10.0))
        started = asyncio.get_running_loop().time()
        with pytest.raises(ConnectionError):
            await handle
        assert asyncio.get_running_loop().time() - started < 5.0
        assert 1 < job.attempts < 100


async def test_its_deadline_and_a_cancellation_end_all_attempts() -> None:
    async with WorkerPool() as pool:
        handle = await pool.submit(sleep, 60, timeout=0.05, retry=QUICK)
        with pytest.raises(JobTimeout):
            await handle
        flaky = Flaky(1)
        cancelled = await pool.submit(flaky, retry=Retry(attempts=2, first=600.0, longest=600.0))
        while not pool.stats().retrying:
            await asyncio.sleep(0.01)
        cancelled.cancel()
        with pytest.raises(JobCancelled):
            await cancelled
        assert (flaky.attempts, pool.stats().retrying, pool.stats().lending) == (1, 0, 0)


@pytest.mark.virtual
async def test_where_everything_fails_only_a_share_is_tried_again() -> None:
    flaky = [Flaky(99) for _ in range(20)]
    async with WorkerPool(max_workers=20) as pool:
        policy = Retry(attempts=2, first=60.0, longest=60.0, share=0.25)
        handles = [await pool.submit(job, retry=policy) for job in flaky]
        await asyncio.sleep(0.02)
        assert pool.stats().retrying == 5
        for handle in handles:
            await handle.wait()
            handle.exception()
    assert sum(job.attempts for job in flaky) == 25


@pytest.mark.virtual
async def test_a_few_are_always_tried_again() -> None:
    flaky = [Flaky(1) for _ in range(4)]
    async with WorkerPool(max_workers=20) as pool:
        handles = [await pool.submit(job, retry=Retry(attempts=2, first=60.0, share=0)) for job in flaky]
        for handle in handles:
            await handle.wait()
            handle.exception() if handle.state is JobState.FAILED else None
        assert pool.stats().succeeded == 3


async def test_it_is_tried_again_even_if_no_job_may_lend_its_place() -> None:
    flaky = Flaky(2)
    async with WorkerPool(max_workers=1, max_lending=0) as pool:
        assert await pool.run(flaky, retry=QUICK) == "done"
        assert pool.stats().lending == 0


async def test_closing_ends_what_waits_for_another_attempt() -> None:
    flaky = Flaky(1)
    async with WorkerPool() as pool:
        handle = await pool.submit(flaky, retry=QUICK)
        await turns()
    assert handle.state is JobState.SUCCEEDED


@pytest.mark.parametrize(
    ("argument", "bad"),
    [
        ("attempts", 0),
        ("attempts", 2.0),
        ("first", -1),
        ("first", "1"),
        ("longest", 0),
        ("share", 1.5),
        ("share", "all"),
        ("on", ValueError()),
        ("on", KeyboardInterrupt),
        ("on", ()),
        ("on", [ValueError]),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(argument: str, bad: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{argument} must be"):
        Retry(**{argument: bad})


async def test_what_is_no_policy_is_refused() -> None:
    async with WorkerPool() as pool:
        for bad in (3, "always", Retry):
            with pytest.raises(TypeError, match=r"retry must be a weirpool\.policies\.Retry"):
                await pool.submit(echo, 1, retry=bad)  # type: ignore[arg-type]
        assert pool.stats().accepted == 0


def test_without_tenacity_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tenacity", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'weirpool\[retry\]'"):
        Retry()


@pytest.mark.complains
@pytest.mark.parametrize("grace", [0.05, 1.0])
async def test_a_job_that_is_being_ended_is_not_tried_again_whatever_it_raises(grace: float) -> None:
    """With a short grace it has been abandoned by then."""
    attempts = 0

    async def stubborn() -> None:
        nonlocal attempts
        attempts += 1
        try:
            await asyncio.sleep(FOREVER)
        except asyncio.CancelledError:
            await asyncio.sleep(0.1)
            raise ConnectionError("instead") from None

    async with WorkerPool(cancel_grace=grace) as pool:
        job = pool.submit_nowait(stubborn, retry=QUICK)
        await turns()
        job.cancel()
        await job.wait()
        assert job.state is (JobState.ABANDONED if grace < 0.1 else JobState.FAILED)
        await asyncio.sleep(0.3)
        assert (attempts, pool.stats().strays) == (1, 0)
        job.exception()


async def test_what_is_no_awaitable_is_not_tried_again_and_said_to_be_none() -> None:
    calls: list[int] = []

    def deliver() -> Any:
        calls.append(1)
        return 7

    async with WorkerPool() as pool:
        with pytest.raises(TypeError, match="returned int instead of an awaitable"):
            await pool.run(lambda: deliver(), retry=QUICK)
    assert calls == [1]


async def test_an_error_that_fights_back_is_passed_on_as_it_is() -> None:
    class Odd(Exception):
        def with_traceback(self, tb: object) -> Any:
            raise TypeError("no traceback")

    async def bad() -> None:
        raise Odd

    async with WorkerPool() as pool:
        with pytest.raises(Odd):
            await pool.run(bad, retry=Retry(attempts=2, first=0.01))


class Thing:
    """Something of which is known when it is gone."""


@pytest.mark.parametrize("attempts", [1, 3])
async def test_what_a_failed_job_was_given_is_gone_with_its_error(attempts: int) -> None:
    """R17: no reference cycle, which would keep it until the garbage collector comes by."""

    async def bad(thing: Thing) -> None:
        raise ConnectionError(repr(thing))

    async with WorkerPool() as pool:
        thing = Thing()
        gone = weakref.ref(thing)
        gc.disable()
        try:
            handle = await pool.submit(bad, thing, retry=Retry(attempts=attempts, first=0.01))
            await handle.wait()
            error = handle.exception()
            assert error is not None
            frames = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
            assert frames[-1] == "bad"
            assert "__call__" not in frames, "nor is anything of tenacity's in the way of who reads it"
            del error, handle, thing
            await asyncio.sleep(0)
            assert gone() is None
        finally:
            gc.enable()
