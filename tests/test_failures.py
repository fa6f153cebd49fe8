"""What jobs fail with: counts by type, and a traceback of each (R18)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support import FOREVER, Gate, Stubborn, echo, fail, sleep
from weirpool import FailureType, JobCancelled, JobTimeout, WorkerPool
from weirpool._failures import Failures


class Hand:
    """A loop with a clock that is set by hand, which is told of what has to be raised in it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.raised: list[Any] = []

    def time(self) -> float:
        return self.now

    def call_soon(self, *what: Any, context: Any = None) -> None:
        self.raised.append(what)


async def test_failures_are_counted_by_type_and_their_last_traceback_is_kept() -> None:
    async with WorkerPool(max_workers=2) as pool:
        assert pool.failures() == ()
        for error in (ValueError("first"), KeyError("k"), ValueError("second")):
            with pytest.raises(type(error)):
                await pool.run(fail, error, name=f"job-{error.args[0]}")
        assert await pool.run(echo, 1) == 1
        with pytest.raises(JobTimeout):
            await pool.run(sleep, FOREVER, timeout=0.01)
        values, keys = pool.failures()
    assert (values.type, values.count, keys.type, keys.count) == ("ValueError", 2, "KeyError", 1)
    assert values.job == "job-first", "as the traceback of the second within a second is not formatted"
    assert values.traceback.startswith("Traceback (most recent call last):")
    assert values.traceback.rstrip().endswith("ValueError: first")
    assert "in fail" in values.traceback
    assert "_runner" not in values.traceback
    assert 0 <= values.seconds_ago < 30
    assert pool.failures()[0].count == 2, "also once it is closed"
    assert pool.stats().failed == 3
    assert WorkerPool().failures() == ()


def test_a_traceback_is_replaced_by_one_that_is_a_second_younger() -> None:
    loop: Any = Hand()
    failures = Failures(loop)
    failures.note(ValueError("a"), "a")
    loop.now += 0.9
    failures.note(ValueError("b"), "b")
    (seen,) = failures.by_type()
    assert seen == FailureType("ValueError", 2, 0.0, "a", "ValueError: a\n")
    loop.now += 0.2
    failures.note(ValueError("c"), "c")
    loop.now += 5
    assert failures.by_type() == (FailureType("ValueError", 3, 5.0, "c", "ValueError: c\n"),)


def test_memory_is_bounded_however_many_types_there_are_and_however_long_their_texts() -> None:
    loop: Any = Hand()
    failures = Failures(loop)
    for number in range(200):
        failures.note(type(f"E{number}", (Exception,), {})("x" * 100_000), "job")
    seen = failures.by_type()
    assert len(seen) == 51
    assert (seen[0].type, seen[0].count) == ("others", 150)
    assert max(len(one.traceback) for one in seen) < 8010
    assert seen[1].traceback.startswith("tests.test_failures.E0: xxx")


@pytest.mark.parametrize("trap", [ValueError, KeyboardInterrupt, GeneratorExit])
def test_an_exception_that_is_a_trap_is_counted_all_the_same(trap: type[BaseException]) -> None:
    class Trap(Exception):
        def __str__(self) -> str:
            raise trap

    loop: Any = Hand()
    failures = Failures(loop)
    failures.note(Trap(), "job")
    (seen,) = failures.by_type()
    assert (seen.type, seen.count) == ("Trap", 1)
    assert seen.traceback.endswith("Trap: <exception str() failed>\n" if trap is ValueError else "")
    assert len(loop.raised) == (trap is KeyboardInterrupt)


def text_of(error: BaseException) -> str:
    """Return what is kept of a failure."""
    loop: Any = Hand()
    failures = Failures(loop)
    failures.note(error, "job")
    return failures.by_type()[0].traceback


def test_causes_contexts_and_groups_are_told_as_python_does() -> None:
    def raised() -> BaseException:
        try:
            try:
                try:
                    raise KeyError("first")
                except KeyError:
                    raise ValueError("second") from None
            except ValueError:
                raise LookupError("third")  # noqa: B904
        except LookupError as third:
            error = RuntimeError("fourth")
            error.__cause__ = third
            return error

    text = text_of(raised())
    assert "first" not in text, "it is hidden"
    places = [
        text.index(part)
        for part in ("ValueError: second", "During handling", "LookupError: third", "the direct cause", "RuntimeError: fourth")
    ]
    assert places == sorted(places)
    text = text_of(ExceptionGroup("several", [OSError(number) for number in range(5)]))
    assert text.startswith("ExceptionGroup: several (5 sub-exceptions)\n----- 1 of 5\nOSError: 0\n")
    assert text.count("-----") == 3
    assert text_of(asyncio.CancelledError()).endswith("CancelledError\n")


def test_a_chain_and_a_group_without_an_end_are_told_with_one() -> None:
    class Endless(ExceptionGroup[Exception]):
        @property
        def exceptions(self) -> tuple[Exception, ...]:
            return (self,)

    assert "Endless: endless" in text_of(Endless("endless", [ValueError("inside")]))
    error: BaseException = ValueError(0)
    for number in range(1, 5000):
        error, error.__cause__ = ValueError(number), error
    text = text_of(error)
    assert "ValueError: 4999" in text
    assert text.count("ValueError") == 6


@pytest.mark.complains
async def test_strays_are_named_while_they_run() -> None:
    stubborn = Stubborn()
    pool = WorkerPool(cancel_grace=0.01)
    assert pool.strays() == ()
    async with pool:
        handle = await pool.submit(stubborn, name="stray")
        await asyncio.sleep(0)
        handle.cancel()
        with pytest.raises(JobCancelled):
            await handle
        (stray,) = pool.strays()
        assert (stray.name, stray.reason) == ("stray", "cancel")
        await stubborn.release()
        await pool.wait_idle()


async def test_a_job_that_runs_can_be_cancelled_by_whoever_sees_it() -> None:
    async with WorkerPool() as pool:
        handle = await pool.submit(Gate())
        await asyncio.sleep(0)
        (job,) = pool.running()
        assert job.handle is handle
        assert job.handle.cancel()
        with pytest.raises(JobCancelled):
            await handle
