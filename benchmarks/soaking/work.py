"""The jobs: every way in which one may end, in the proportions of a bad day."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from weirpool import JobState

from .loops import StopByJob

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from weirpool import JobHandle

    from .books import Books

__all__ = ["KINDS", "Kind", "Ticket", "draw"]


class Ticket:
    """What is known of one job beside the pool: what it is, what it was seen to do, and what was done to it.

    Attributes:
        token: what the job returns: nobody else's result may come out of its handle.
        kind: which of the kinds of work it is.
        books: of the pool that it was submitted to.
        timeout: how long it may run, in seconds.
        deadline: when it must have ended, on the loop's clock.
        limit: before this time nothing of it can have timed out.
        forget: whether nobody will look at its outcome, which the pool must log, then.
        handle: its handle, once it is accepted.
        entered: how often its function was called.
        hits: how many cancellations it has seen.
        raised: the `id` of the exception that it ended with.
        clean: whether it came to the end of its cleanup.
        asked: whether somebody asked for its cancellation.
        released: whether it may end at last, if it ignores cancellation.
    """

    __slots__ = (
        "asked",
        "books",
        "clean",
        "deadline",
        "entered",
        "forget",
        "handle",
        "hits",
        "kind",
        "limit",
        "raised",
        "released",
        "timeout",
        "token",
    )

    def __init__(
        self, token: int, kind: Kind, books: Books, timeout: float | None, deadline: float | None, now: float
    ) -> None:
        self.token = token
        self.kind = kind
        self.books = books
        self.timeout = timeout
        self.deadline = deadline
        self.limit = min([time for time in (deadline, timeout and now + timeout) if time is not None], default=None)
        self.forget = False
        self.handle: JobHandle[Any] | None = None
        self.entered = 0
        self.hits = 0
        self.raised = 0
        self.clean = False
        self.asked = False
        self.released = False

    def throw(self, error: BaseException) -> NoReturn:
        """Raise the exception that the job ends with, and remember which it was."""
        self.raised = id(error)
        try:
            raise error
        finally:
            del error, self  # or the traceback would hold the exception


def _counted(fn: Callable[[Ticket], Awaitable[int]]) -> Callable[[Ticket], Awaitable[int]]:
    """Count the jobs that are inside their function, whatever the pool says of how many run."""

    async def counted(ticket: Ticket) -> int:
        books = ticket.books
        ticket.entered += 1
        books.inside += 1
        try:
            return await fn(ticket)
        finally:
            books.inside -= 1

    return counted


@_counted
async def _fine(ticket: Ticket) -> int:
    await asyncio.sleep(0)
    return ticket.token


@_counted
async def _slow(ticket: Ticket) -> int:
    await asyncio.sleep(0.005 + ticket.token % 16 / 1000)
    return ticket.token


@_counted
async def _fails(ticket: Ticket) -> int:
    await asyncio.sleep(0)
    ticket.throw(ValueError(ticket.token))


def _fails_at_once(ticket: Ticket) -> Awaitable[int]:
    ticket.entered += 1
    ticket.throw(LookupError(ticket.token))


def _no_coroutine(ticket: Ticket) -> Any:
    ticket.entered += 1
    return ticket.token


@_counted
async def _cancels_itself(_ticket: Ticket) -> int:
    await asyncio.sleep(0)
    raise asyncio.CancelledError


@_counted
async def _hangs(ticket: Ticket) -> int:
    await _forever(ticket)
    return ticket.token


@_counted
async def _swallows_once(ticket: Ticket) -> int:
    try:
        await _forever(ticket)
    except asyncio.CancelledError:
        await _clean_up(ticket)
    return ticket.token


@_counted
async def _cleans_up(ticket: Ticket) -> int:
    try:
        await _forever(ticket)
    except asyncio.CancelledError:
        await _clean_up(ticket)
        raise
    return ticket.token


@_counted
async def _ignores(ticket: Ticket) -> int:
    while not ticket.released:
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            ticket.hits += 1
    return ticket.token


async def _forever(ticket: Ticket) -> None:
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        ticket.hits += 1
        raise


async def _clean_up(ticket: Ticket) -> None:
    try:
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)
    except asyncio.CancelledError:
        ticket.hits += 1
        raise
    ticket.clean = True


class _Bare(BaseException):
    """Neither an Exception nor anything that Python knows."""


class _Unspeakable(Exception):
    """Raise whatever is asked of it."""

    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no comparison")

    def __hash__(self) -> int:
        raise RuntimeError("no hash")


class _Interrupt(StopByJob, KeyboardInterrupt):
    pass


class _Exit(StopByJob, SystemExit):
    pass


_UGLY: tuple[Callable[[], BaseException], ...] = (
    _Bare,
    _Unspeakable,
    GeneratorExit,
    StopAsyncIteration,
    TimeoutError,
    MemoryError,
    lambda: BaseExceptionGroup("several", [_Bare(), asyncio.CancelledError(), ValueError()]),
)


@_counted
async def _fails_uglily(ticket: Ticket) -> int:
    await asyncio.sleep(0)
    ticket.throw(_UGLY[ticket.token % len(_UGLY)]())


@_counted
async def _stops_the_loop(ticket: Ticket) -> int:
    await asyncio.sleep(0)
    StopByJob.about_to()
    ticket.throw((_Interrupt, _Exit)[ticket.token % 2]())


@dataclass(frozen=True, slots=True)
class Kind:
    """Describe one kind of work.

    Attributes:
        weight: how many of a hundred thousand jobs are of this kind.
        fn: what is submitted, with the ticket as its argument.
        end: how it ends if nobody disturbs it.
        timed: whether it needs a timeout to end at all.
        cleans: whether it cleans up when it is cancelled, which it must be left the time for.
        turns: whether it turns a cancellation into a result.
    """

    name: str
    weight: int
    fn: Callable[[Ticket], Awaitable[int]]
    end: JobState
    timed: bool = False
    cleans: bool = False
    turns: bool = False


KINDS = (
    Kind("fine", 85_090, _fine, JobState.SUCCEEDED),
    Kind("slow", 2_000, _slow, JobState.SUCCEEDED),
    Kind("fails", 5_000, _fails, JobState.FAILED),
    Kind("fails at once", 500, _fails_at_once, JobState.FAILED),
    Kind("no coroutine", 500, _no_coroutine, JobState.FAILED),
    Kind("fails uglily", 1_500, _fails_uglily, JobState.FAILED),
    Kind("stops the loop", 10, _stops_the_loop, JobState.FAILED),
    Kind("cancels itself", 1_000, _cancels_itself, JobState.CANCELLED),
    Kind("hangs", 2_000, _hangs, JobState.TIMED_OUT, timed=True),
    Kind("cleans up", 1_300, _cleans_up, JobState.TIMED_OUT, timed=True, cleans=True),
    Kind("swallows once", 1_000, _swallows_once, JobState.TIMED_OUT, timed=True, cleans=True, turns=True),
    Kind("ignores", 100, _ignores, JobState.ABANDONED, timed=True),
)
_CUMULATED = tuple(itertools.accumulate(kind.weight for kind in KINDS))


def draw(rng: random.Random, token: int, books: Books, now: float) -> Ticket:
    """Draw the next job."""
    kind = rng.choices(KINDS, cum_weights=_CUMULATED)[0]
    timeout = rng.uniform(0.004, 0.03) if kind.timed else rng.choice((30.0, None))
    deadline = now + rng.uniform(0.001, 0.05) if rng.random() < 0.03 else None
    ticket = Ticket(token, kind, books, timeout, deadline, now)
    ticket.forget = rng.random() < 0.02
    return ticket
