"""The job record: all that a worker needs to run one job, and what became of it.

A record is filled when the job is submitted and emptied when it ends: from then on it holds its name, its state and its
outcome, and no reference to the callable, its arguments, its context or its task, whoever keeps the record alive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

from ._errors import JobCancelled, JobTimeout
from ._handle import JobHandle
from ._show import function_name

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable
    from contextvars import Context

    from ._lending import Lending
    from ._lifecycle import JobState, Ledger
    from ._run import Run
    from ._ticket import Ticket
    from ._worker import Worker

__all__ = ["Job", "JobOwner", "JobWaiter", "Outcome"]


class JobOwner(Protocol):
    """Whoever can still do something about a job that has not ended."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that the job belongs to."""
        ...

    @property
    def lending(self) -> Lending:
        """The places that the owner's jobs lend."""
        ...

    def ahead_of(self, job: Job) -> list[Job]:
        """Return the jobs of which one has to end for a job that does not run to start, as they have the same key."""
        ...

    def worker_of(self, run: Run) -> Worker | None:
        """Return the worker of a job that runs, if the pool's workers have contexts."""
        ...

    def cancel(self, job: Job, reason: Literal["cancel", "shutdown"]) -> None:
        """Cancel a job that has not ended."""
        ...

    def at_close(self, call: Callable[[JobOwner], None]) -> bool:
        """Have something called, with the owner, when the pool has closed; say whether that is still to come."""
        ...


class JobWaiter(Protocol):
    """Whoever is woken when a job is about to end: a future that somebody awaits, or something that does what follows."""

    def done(self) -> bool:
        """Say whether this has been woken, or does not wait any more."""
        ...

    def set_result(self, result: None, /) -> None:
        """Hear that the job is about to end."""
        ...


# What a job ended with: its result if it SUCCEEDED, a Failure if it FAILED or TIMED_OUT, else the error to raise.
Outcome = Any


class Job(JobHandle[Any]):
    """Carry one job from submission to its end; its submitter sees it as a `JobHandle`.

    Filled by whoever makes it: see `Run`.
    """

    __slots__ = (
        "__weakref__",
        "accepted_at",
        "args",
        "context",
        "deadline",
        "fn",
        "label",
        "number",
        "outcome",
        "owner",
        "run",
        "status",
        "ticket",
        "timeout",
        "waiters",
    )

    number: int
    status: JobState
    outcome: Outcome
    fn: Callable[..., Awaitable[Any]]
    args: tuple[Any, ...]
    context: Context
    timeout: float | None
    deadline: float | None
    label: str | None
    ticket: Ticket | None
    """Its priority and key, if it has any."""
    owner: JobOwner | None
    accepted_at: float
    run: Run | None
    waiters: JobWaiter | list[JobWaiter] | None
    """Nearly always nobody or one awaiter, so no list until there are two."""

    if not TYPE_CHECKING:
        __init__ = object.__init__  # that of a handle refuses

    @property
    def name(self) -> str:
        """The name that the job was given, or its function's and its number; fixed from start or end on."""
        label = self.label
        if label is None:
            label = f"{function_name(self.fn)}#{self.number}"
        return label

    @property
    def was_accepted(self) -> bool:
        """Whether it was accepted: before that it is nowhere."""
        return hasattr(self, "status")

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
        loan = None if run is None else run.loan
        if loan is None or not loan.out:
            ledger.end(self, state, outcome)
        else:
            ledger.end(self, state, outcome, placed=False)
        self.owner = self.run = None
        if run is not None:
            if loan is not None:
                loan.end()
                run.loan = None
            run.job = run.task = run.scope = run.cause = None
        del self.fn, self.args, self.context

    def is_left_by_all(self) -> bool:
        """Note that one of those who share this job does so no more; say whether nobody does."""
        if self.ticket is None:
            return True
        self.ticket.sharers -= 1
        return self.ticket.sharers <= 0

    def add_waiter(self, waiter: JobWaiter) -> None:
        """Have `waiter` woken when the job ends."""
        waiters = self.waiters
        if waiters is None:
            self.waiters = waiter
        elif isinstance(waiters, list):
            waiters.append(waiter)
        else:
            self.waiters = [waiters, waiter]

    def remove_waiter(self, waiter: JobWaiter) -> None:
        """Forget a waiter that has gone."""
        if self.waiters is waiter:
            self.waiters = None
        elif isinstance(self.waiters, list) and waiter in self.waiters:
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
