"""R5: whatever a job gives or raises, it is handed over as it is, and nobody looks at it on the way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.bad_input.hostile import NOTHINGS, Liar, Proxy, Refusal, refuse
from tests.support import FOREVER, adds_up, balanced, echo, fail
from weirpool import JobHandle, JobState, JobTimeout, WorkerPool
from weirpool.events import JobEnded, Observer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

THINGS: dict[str, Callable[[], Any]] = {
    **NOTHINGS,
    "exception": lambda: ValueError("a result"),
    "cancellation": asyncio.CancelledError,
    "says that it is an exception": lambda: Liar(ValueError),
}


class Ears(Observer):
    """Hears how jobs end."""

    def __init__(self) -> None:
        self.heard: list[JobEnded] = []

    def job_ended(self, event: JobEnded, /) -> None:
        self.heard.append(event)


@pytest.mark.parametrize("ears", [[], [Ears()]], ids=["unheard", "heard"])
async def test_whatever_a_job_returns_is_its_result(ears: list[Ears]) -> None:
    """A lazy proxy of Django's, for instance, of which even the class can't be asked in an event loop."""
    async with WorkerPool(max_workers=1, shutdown_timeout=0.5, cancel_grace=0.1, observers=ears) as pool:
        for make in THINGS.values():
            thing = make()
            assert await pool.run(echo, thing) is thing
            handle: JobHandle[Any] = await pool.submit(echo, thing)
            assert await handle is thing
            assert handle.result() is thing
            assert handle.exception() is None
        assert pool.stats().succeeded == 2 * len(THINGS)
        assert balanced(pool)
    for ear in ears:
        assert [event.error for event in ear.heard] == [None] * 2 * len(THINGS)
    assert adds_up(pool.report)


class Opaque(Exception):
    """Does not let anybody look at anything of it."""

    __getattribute__ = refuse


class Lazy(Proxy, Exception):
    """Does not even say what it is."""


class Closed(Exception):
    """Does not say where it comes from."""

    __traceback__ = __cause__ = __context__ = property(refuse)


class ClosedTimeout(Closed, TimeoutError):
    """May look as if it were the deadline's."""


class Disguised(Exception):
    """Says that it is a cancellation."""

    @property
    def __class__(self) -> Any:
        return asyncio.CancelledError

    @__class__.setter
    def __class__(self, _: object) -> None:
        refuse()


async def end_of(way: Awaitable[Any]) -> Any:
    """Return what is raised; `pytest.raises` would look at it."""
    try:
        return await way
    except Exception as error:
        return error


each_error = pytest.mark.parametrize("kind", [Opaque, Lazy, Closed, ClosedTimeout, Disguised])


@each_error
@pytest.mark.parametrize("ears", [[], [Ears()]], ids=["unheard", "heard"])
async def test_an_exception_that_cannot_be_looked_at_is_raised_as_any_other(kind: type[Exception], ears: list[Ears]) -> None:
    error = kind()
    async with WorkerPool(max_workers=1, shutdown_timeout=0.5, cancel_grace=0.1, observers=ears) as pool:
        handle: JobHandle[Any] = await pool.submit(fail, error)
        for way in (lambda: handle, lambda: pool.run(fail, error)):
            assert await end_of(way()) is error
        assert handle.exception() is error
        assert handle.state is JobState.FAILED
        assert await pool.run(echo, 7) == 7
        assert (pool.stats().failed, pool.stats().cancelled) == (2, 0)
    for ear in ears:
        assert ear.heard[0].error is error
        ear.heard.clear()
    assert adds_up(pool.report)


@each_error
async def test_an_exception_that_cannot_be_looked_at_may_come_after_the_deadline(kind: type[Exception]) -> None:
    error = kind()

    async def too_late() -> None:
        try:
            await asyncio.sleep(FOREVER)
        except asyncio.CancelledError:
            raise error from None

    async with WorkerPool(max_workers=1, shutdown_timeout=0.5, cancel_grace=0.1) as pool:
        with pytest.raises(JobTimeout) as caught:
            await pool.run(too_late, timeout=0.1)
        cause = caught.value.__cause__
        assert cause is error or type(cause) is Refusal, "from 3.13 on, asyncio.timeout looks at what it lets through"
        assert await pool.run(echo, 7) == 7
        assert pool.stats().timed_out == 1
    assert adds_up(pool.report)


async def test_arguments_are_not_looked_at_on_their_way_to_the_job() -> None:
    async def count(*things: Any) -> int:
        return len(things)

    async with WorkerPool(max_workers=1, observers=[Ears()]) as pool:
        things = [make() for make in THINGS.values()]
        assert await pool.run(count, *things) == len(THINGS)
        handle: JobHandle[Any] = await pool.submit(count, *things)
        assert handle.cancel()
        await handle.wait()


class FightingEars(Observer):
    """Raises what can't be looked at."""

    def __init__(self, kind: type[Exception]) -> None:
        self.kind = kind

    def job_ended(self, event: JobEnded, /) -> None:
        raise self.kind


@pytest.mark.complains
@each_error
async def test_an_observer_may_raise_what_cannot_be_looked_at(caplog: pytest.LogCaptureFixture, kind: type[Exception]) -> None:
    async with WorkerPool(shutdown_timeout=0.5, cancel_grace=0.1, observers=[FightingEars(kind)]) as pool:
        assert await pool.run(echo, 7) == 7
        assert await pool.run(echo, 8) == 8
    assert adds_up(pool.report)
    assert len([record for record in caplog.records if record.name == "weirpool.observer"]) == 1
