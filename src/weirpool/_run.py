"""The record of a run: what there is of a job only while it has a place."""

from __future__ import annotations

import math
from contextvars import ContextVar
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import asyncio

    from ._job import Job
    from ._lending import Loan

__all__ = ["CURRENT", "Cause", "Run", "Within", "current_run"]

# The run that this context belongs to, and not the job: contexts are copied into whatever a job starts, and a task that
# outlives its job must not keep the job's outcome alive with it.
CURRENT: ContextVar[Run | Within | None] = ContextVar("weirpool.current_run", default=None)


class Cause:
    """Say why a job is being ended before its time, and how much of its grace is still to come."""

    __slots__ = ("reason", "spare")

    def __init__(self, reason: Literal["cancel", "shutdown", "deadline"], spare: float) -> None:
        self.reason: Literal["cancel", "shutdown", "deadline"] = reason
        self.spare: float = spare


class Run:
    """What there is of a job only while it has a place: from when it is given one to its end.

    A million jobs that wait have none of it. Made by `of`: CPython calls an `__init__` by a detour through C.

    Attributes:
        job: whose run it is; None when that has ended.
        task: the task that runs it.
        scope: the `asyncio.timeout` around it, if it has one.
        started_at: when its function was called, on the loop's clock; before that, the very same number as `job.accepted_at`.
        due: when its time will be over, if it has a limit.
        limit: when somebody has to look at it again: when it is due first, and then at the end of its grace.
        cause: why it is being ended before its time; the first cause stays, and the job is cancelled only for that one.
        loan: the place that it lends, once it has waited for a pool.
    """

    __slots__ = ("cause", "due", "job", "limit", "loan", "scope", "started_at", "task")

    job: Job | None
    task: asyncio.Task[None] | None
    scope: asyncio.Timeout | None
    started_at: float
    due: float | None
    limit: float
    cause: Cause | None
    loan: Loan | None

    @property
    def begun(self) -> bool:
        """Whether its function has been called; only to be asked while the job has not ended."""
        return self.job is not None and self.started_at is not self.job.accepted_at

    @property
    def late(self) -> bool:
        """Whether it has been noticed that its time is over; that counts, although it takes a turn to cancel it for that."""
        return self.scope is not None and self.scope.when() is not None

    @staticmethod
    def of(job: Job) -> Run:
        """Make the record of a run that is about to begin."""
        run = Run()
        run.job = job
        run.task = run.scope = run.due = run.cause = run.loan = None
        run.started_at = job.accepted_at
        run.limit = math.inf
        job.run = run
        return run


class Within:
    """The bound on the time of the jobs that are submitted in this context; see `_deadline.deadline_scope`.

    It stands in the place of the run that it is in, if it is in one, so that nobody pays for it who has none.

    Attributes:
        due: when their time is over; None: there is no bound.
        loop: whose clock that is on.
        run: what this is in.
    """

    __slots__ = ("due", "loop", "run")

    def __init__(self, due: float | None, loop: asyncio.AbstractEventLoop, run: Run | None) -> None:
        self.due = due
        self.loop = loop
        self.run = run

    def due_on(self, loop: asyncio.AbstractEventLoop) -> float | None:
        """Return when their time is over, if that is on the clock of this loop."""
        return self.due if self.loop is loop else None


def current_run() -> Run | None:
    """Return the run of the job that the caller is in, or was in while that went on."""
    around = CURRENT.get()
    return around.run if isinstance(around, Within) else around
