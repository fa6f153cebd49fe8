"""The job record: all that a worker needs to run one job, and what became of it.

A record is filled when the job is submitted and emptied when it ends: from then on it holds its name, its state and its
outcome, and no reference to the callable, its arguments, its context or its task, whoever keeps the record alive.
"""

from __future__ import annotations

import logging
import math
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ._errors import JobCancelled, JobTimeout, traceback_of
from ._show import function_name

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable
    from contextvars import Context

    from ._lifecycle import JobState, Ledger

__all__ = ["CURRENT", "Cause", "Failure", "Job", "JobOwner", "Outcome", "Run"]

_log = logging.getLogger("weirpool.job")

# The run that this context belongs to, and not the job: contexts are copied into whatever a job starts, and a task that
# outlives its job must not keep the job's outcome alive with it.
CURRENT: ContextVar[Run | None] = ContextVar("weirpool.current_run", default=None)


class Cause:
    """Say why a job is being ended before its time, and how much of its grace is still to come."""

    __slots__ = ("reason", "spare")

    def __init__(self, reason: Literal["cancel", "shutdown", "deadline"], spare: float) -> None:
        self.reason: Literal["cancel", "shutdown", "deadline"] = reason
        self.spare: float = spare


class JobOwner(Protocol):
    """Whoever can still do something about a job that has not ended."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that the job belongs to."""
        ...

    def cancel(self, job: Job, reason: Literal["cancel", "shutdown"]) -> None:
        """Cancel a job that has not ended."""
        ...


class Failure:
    """Hold the exception that a job ended with, and see to it that it is seen.

    A job's record dies when the last of its handles does (at once, if they were dropped before). If nobody has looked at
    the exception by then, it is logged: once, with its traceback. Nothing is paid for this by a job that succeeds.
    """

    __slots__ = ("error", "job", "pool", "seen", "traceback")

    def __init__(self, error: BaseException, job: str, pool: str) -> None:
        self.error = error
        self.traceback = traceback_of(error)
        self.job = job
        self.pool = pool
        self.seen = False

    def rewound(self) -> BaseException:
        """Return the exception with the traceback that it left the job with, without the frames of who raised it since."""
        return BaseException.with_traceback(self.error, self.traceback)

    def __del__(self) -> None:
        if not self.seen:
            _log.error(
                "job %r of pool %r failed and nobody asked why",
                self.job,
                self.pool,
                exc_info=(type(self.error), self.error, self.traceback),
            )


# What a job ended with: its result if it SUCCEEDED, a Failure if it FAILED or TIMED_OUT, else the error to raise.
Outcome = Any


class Run:
    """What there is of a job only while it has a place: from when it is given one to its end.

    A million jobs that wait have none of it. Made by `of`: CPython calls an `__init__` by a detour through C.

    Attributes:
        job: whose run it is; None when that has ended.
        task: the task that runs it.
        scope: the `asyncio.timeout` around it, if it has one.
        started_at: when its function was called, on the loop's clock.
        due: when its time will be over, if it has a limit.
        limit: when somebody has to look at it again: when it is due first, and then at the end of its grace.
        cause: why it is being ended before its time; the first cause stays, and the job is cancelled only for that one.
    """

    __slots__ = ("cause", "due", "job", "limit", "scope", "started_at", "task")

    job: Job | None
    task: asyncio.Task[None] | None
    scope: asyncio.Timeout | None
    started_at: float
    due: float | None
    limit: float
    cause: Cause | None

    @staticmethod
    def of(job: Job) -> Run:
        """Make the record of a run that is about to begin."""
        run = Run()
        run.job = job
        run.task = run.scope = run.due = run.cause = None
        run.started_at = job.accepted_at
        run.limit = math.inf
        job.run = run
        return run


class Job:
    """Carry one job from submission to its end. Filled by whoever makes it, see `Run`."""

    __slots__ = (
        "__weakref__",
        "accepted_at",
        "args",
        "context",
        "deadline",
        "fn",
        "id",
        "label",
        "outcome",
        "owner",
        "run",
        "state",
        "timeout",
        "waiters",
    )

    id: int
    state: JobState
    outcome: Outcome
    fn: Callable[..., Awaitable[Any]]
    args: tuple[Any, ...]
    context: Context
    timeout: float | None
    deadline: float | None
    label: str | None
    owner: JobOwner | None
    accepted_at: float
    run: Run | None
    waiters: asyncio.Future[None] | list[asyncio.Future[None]] | None
    """Nearly always nobody or one awaiter, so no list until there are two."""

    @property
    def name(self) -> str:
        """The name that the job was given, or its function's and its number; fixed from start or end on."""
        label = self.label
        if label is None:
            label = f"{function_name(self.fn)}#{self.id}"
        return label

    def end(self, state: JobState, outcome: Outcome, ledger: Ledger) -> None:
        """Come to an end: wake whoever awaits it, move the state, and let go of everything but the outcome.

        In an order in which this can be done again if a bug interrupts it: up to the end, the job knows its owner. Those who
        are woken take a turn to come, and find it ended.
        """
        run, waiters = self.run, self.waiters
        if run is None and self.label is None:
            self.label = self.name
        if waiters is not None:
            if isinstance(waiters, list):
                for waiter in waiters:
                    if not waiter.done():
                        waiter.set_result(None)
            elif not waiters.done():
                waiters.set_result(None)
            self.waiters = None
        ledger.end(self, state, outcome)
        self.owner = self.run = None
        if run is not None:
            run.job = run.task = run.scope = run.cause = None
        del self.fn, self.args, self.context

    def add_waiter(self, waiter: asyncio.Future[None]) -> None:
        """Have `waiter` woken when the job ends."""
        waiters = self.waiters
        if waiters is None:
            self.waiters = waiter
        elif isinstance(waiters, list):
            waiters.append(waiter)
        else:
            self.waiters = [waiters, waiter]

    def remove_waiter(self, waiter: asyncio.Future[None]) -> None:
        """Forget a waiter that has gone."""
        if self.waiters is waiter:
            self.waiters = None
        elif isinstance(self.waiters, list):
            self.waiters.remove(waiter)

    def timed_out(self, phase: Literal["queued", "running"], *, abandoned: bool = False) -> JobTimeout:
        """Make the error for a job whose time is over."""
        timeout, deadline = self.timeout, self.deadline
        started_at = self.accepted_at if self.run is None else self.run.started_at
        if deadline is not None and (phase == "queued" or timeout is None or started_at + timeout >= deadline):
            had = deadline - self.accepted_at
        else:
            assert timeout is not None  # a job with neither never runs out of time
            had = timeout
        return JobTimeout(self.name, max(0.0, had), phase, abandoned=abandoned)

    def cancelled(self, reason: str, *, abandoned: bool = False) -> JobCancelled:
        """Make the error for a job that was cancelled."""
        return JobCancelled(self.name, reason, abandoned=abandoned)
