"""What can be said of a job while it runs."""

# No `from __future__ import annotations` here, as in `_snapshot`.
from collections.abc import Iterable
from dataclasses import dataclass, field

from . import _stack
from ._handle import JobHandle
from ._job import Job
from ._run import Run

__all__ = ["RunningJob", "ages", "describe"]


@dataclass(frozen=True, slots=True)
class RunningJob:
    """Say how a job is doing that runs.

    Attributes:
        id: the job's number in its pool.
        name: the job's name.
        running_for: how long it has been running, in seconds.
        time_left: how long it still may, in seconds, 0 if its time is over; None: as long as it likes.
        lending: whether it holds no place at present, since it waits for this pool itself.
        ending: why it is being ended: "cancel", "shutdown" or "deadline"; None: it is not.
        stack: where it is, outermost call first, as "file:line in function".
        handle: the job itself, to cancel it.
    """

    id: int
    name: str
    running_for: float
    time_left: float | None
    lending: bool
    ending: str | None
    stack: tuple[str, ...]
    handle: JobHandle[object] = field(repr=False, compare=False)

    def __str__(self) -> str:
        where = self.stack[-1] if self.stack else "an unknown place"
        left = "" if self.time_left is None else f", {self.time_left:.3g} s left"
        return f"{self.name} (running for {self.running_for:.3g} s{left}) at {where}"


def describe(runs: Iterable[Run], now: float) -> tuple[RunningJob, ...]:
    """Return how the jobs are doing that have not ended."""
    return tuple(
        RunningJob(
            id=run.job.number,
            name=run.job.name,
            running_for=now - run.started_at if run.begun else 0.0,
            time_left=_time_left(run, run.job, now),
            lending=run.loan is not None and run.loan.out,
            ending=run.cause.reason if run.cause is not None else "deadline" if run.late else None,
            stack=_stack.where(run.task),
            handle=run.job,
        )
        for run in runs
        if run.job is not None and run.task is not None
    )


def ages(runs: Iterable[Run], now: float) -> list[float]:
    """Return for how long the jobs have been running that have not ended, in seconds."""
    return [now - run.started_at for run in runs if run.begun]


def _time_left(run: Run, job: Job, now: float) -> float | None:
    if run.begun:
        return None if run.due is None else max(0.0, run.due - now)
    limits = [] if job.timeout is None else [job.timeout]
    if job.deadline is not None:
        limits.append(max(0.0, job.deadline - now))
    return min(limits, default=None)
