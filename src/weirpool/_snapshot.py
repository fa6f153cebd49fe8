"""What a pool says of itself: frozen numbers, taken at one instant."""

# No `from __future__ import annotations` here: users' tools resolve the fields' types at run time, in the namespace of
# `weirpool`, which these classes say they come from.
from collections.abc import Mapping
from dataclasses import dataclass

from ._lifecycle import ABANDONED, CANCELLED, FAILED, SUCCEEDED, TIMED_OUT, Ledger, PoolState

__all__ = ["FailureType", "Percentiles", "PoolStats", "ShutdownReport", "Stray", "account"]


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Say how long something took for most of the jobs that have ended of late, within 3 %.

    Attributes:
        count: of how many jobs; about so many where more than a thousand end in a second, as a sample stands for all then.
        p50: half of them took no longer, in seconds.
        p90: nine in ten took no longer, in seconds.
        p99: ninety-nine in a hundred took no longer, in seconds.
    """

    count: int
    p50: float
    p90: float
    p99: float

    def __str__(self) -> str:
        return f"p50 {self.p50:.3g} s, p90 {self.p90:.3g} s, p99 {self.p99:.3g} s of {self.count} jobs"


@dataclass(frozen=True, slots=True)
class PoolStats:
    """Say how a pool is doing, at one instant.

    The books always balance: accepted = succeeded + failed + timed_out + cancelled + abandoned + queued + running.

    Attributes:
        name: the pool's name.
        state: where the pool is in its life.
        min_workers: how many places there are at least.
        max_workers: how many jobs may run at once, at most.
        workers: how many places there are now.
        queue_size: how many accepted jobs may wait.
        accepted: jobs accepted since the pool was opened.
        succeeded: jobs that returned.
        failed: jobs that raised.
        timed_out: jobs whose time ran out, queued or running.
        cancelled: jobs that were cancelled, queued or running.
        abandoned: jobs that did not end within their grace; they hold no place.
        queued: accepted jobs that wait for a worker.
        running: jobs that run, those that lend their places included.
        lending: running jobs that hold no place at present, since they wait for this pool themselves.
        paused: whether the starting of jobs is held by `pause()`.
        strays: abandoned jobs that still have not ended.
        retrying: running jobs that wait for another attempt; they hold no place.
        coalesced: submissions that joined a job of the same key; they are not counted as accepted.
        waiting: submitters that wait for room; their jobs are not accepted yet.
        refused: submissions that were not accepted, by reason: "full", "timeout", "closed", "cancelled", "early", "strays",
            "nesting".
        time_in_queue: how long jobs waited from being accepted to their first step, of those that have run and have ended in
            the last minute (or up to 70 s); None: there are none.
        run_time: how long those have run, the time included in which they lent their places.
    """

    name: str
    state: PoolState
    min_workers: int
    max_workers: int
    workers: int
    queue_size: int
    accepted: int
    succeeded: int
    failed: int
    timed_out: int
    cancelled: int
    abandoned: int
    queued: int
    running: int
    lending: int
    paused: bool
    strays: int
    retrying: int
    coalesced: int
    waiting: int
    refused: Mapping[str, int]
    time_in_queue: Percentiles | None
    run_time: Percentiles | None

    @property
    def ended(self) -> int:
        """Jobs that have ended, whichever way."""
        return self.succeeded + self.failed + self.timed_out + self.cancelled + self.abandoned

    def _repr_html_(self) -> str:
        """Return a table for notebooks."""
        from html import escape  # noqa: PLC0415  # which nothing else here needs

        rows = [
            ("state", f"{self.state.value}{', paused' if self.paused else ''}"),
            ("workers", f"{self.running - self.lending} of {self.workers} busy ({self.min_workers} to {self.max_workers})"),
            ("queue", f"{self.queued} of {self.queue_size}, {self.waiting} waiting for room"),
            ("accepted", str(self.accepted)),
            ("succeeded", str(self.succeeded)),
            *((what, str(count)) for what, count in self._failures() if count),
            ("refused", ", ".join(f"{count} {reason}" for reason, count in self.refused.items() if count) or "0"),
            ("time in queue", str(self.time_in_queue or "-")),
            ("run time", str(self.run_time or "-")),
        ]
        cells = "".join(f"<tr><th>{escape(what)}</th><td>{escape(value)}</td></tr>" for what, value in rows)
        return f"<table><caption>pool {escape(self.name)}</caption>{cells}</table>"

    def _failures(self) -> tuple[tuple[str, int], ...]:
        return (
            ("failed", self.failed),
            ("timed out", self.timed_out),
            ("cancelled", self.cancelled),
            ("abandoned", self.abandoned),
            ("strays", self.strays),
        )


@dataclass(frozen=True, slots=True)
class FailureType:
    """Say how often jobs have failed with one type of exception.

    Attributes:
        type: the name of the type; "others" for all that came after the fiftieth.
        count: how many jobs.
        seconds_ago: how long ago the last of them failed.
        job: the name of a job that did, one of the last second in which any did.
        traceback: how that one failed, as Python prints it.
    """

    type: str
    count: int
    seconds_ago: float
    job: str
    traceback: str


@dataclass(frozen=True, slots=True)
class Stray:
    """Name a job that was abandoned and still runs.

    Attributes:
        id: the job's number in its pool.
        name: the job's name.
        reason: why it was to end: "deadline", "cancel" or "shutdown".
        running_for: how long it has been running, in seconds.
        stack: where it hangs, outermost call first, as "file:line in function".
    """

    id: int
    name: str
    reason: str
    running_for: float
    stack: tuple[str, ...]

    def __str__(self) -> str:
        where = self.stack[-1] if self.stack else "an unknown place"
        return f"{self.name} (running for {self.running_for:.3g} s, {self.reason}) at {where}"


@dataclass(frozen=True, slots=True)
class ShutdownReport:
    """Account for every job that a closed pool ever accepted.

    accepted = succeeded + failed + timed_out + cancelled_queued + cancelled_running + abandoned.

    Attributes:
        pool: the pool's name.
        accepted: jobs accepted in the pool's life.
        succeeded: jobs that returned.
        failed: jobs that raised.
        timed_out: jobs whose time ran out, queued or running.
        cancelled_queued: jobs cancelled before they started.
        cancelled_running: jobs cancelled while they ran.
        abandoned: jobs that did not end within their grace.
        refused: submissions that were not accepted, by reason.
        strays: the abandoned jobs that still run, each with the place where it hangs.
        drained: jobs that came to an end of their own between the closing of intake and the first cancellation.
        drain_seconds: how long the pool waited for jobs to end by themselves.
        cancel_seconds: how long it waited for the cancelled ones to end; 0 if none had to be cancelled.
    """

    pool: str
    accepted: int
    succeeded: int
    failed: int
    timed_out: int
    cancelled_queued: int
    cancelled_running: int
    abandoned: int
    refused: Mapping[str, int]
    strays: tuple[Stray, ...]
    drained: int
    drain_seconds: float
    cancel_seconds: float

    @property
    def cancelled(self) -> int:
        """Jobs that were cancelled, queued or running."""
        return self.cancelled_queued + self.cancelled_running

    def __str__(self) -> str:
        text = (
            f"pool {self.pool!r} closed: {self.accepted} accepted = {self.succeeded} succeeded + {self.failed} failed"
            f" + {self.timed_out} timed out + {self.cancelled_queued} cancelled in the queue"
            f" + {self.cancelled_running} cancelled while running + {self.abandoned} abandoned"
            f" (drained {self.drained} in {self.drain_seconds:.3g} s, cancelled for {self.cancel_seconds:.3g} s)"
        )
        return "\n  still running: ".join([text, *map(str, self.strays)])


def account(
    pool: str,
    ledger: Ledger,
    strays: tuple[Stray, ...] = (),
    drained: int = 0,
    drain_seconds: float = 0.0,
    cancel_seconds: float = 0.0,
) -> ShutdownReport:
    """Draw up the account from a pool's books."""
    ends = ledger.ends
    return ShutdownReport(
        pool=pool,
        accepted=ledger.accepted,
        succeeded=ends[SUCCEEDED],
        failed=ends[FAILED],
        timed_out=ends[TIMED_OUT],
        cancelled_queued=ledger.cancelled_queued,
        cancelled_running=ends[CANCELLED] - ledger.cancelled_queued,
        abandoned=ends[ABANDONED],
        refused=dict(ledger.refused),
        strays=strays,
        drained=drained,
        drain_seconds=drain_seconds,
        cancel_seconds=cancel_seconds,
    )
