"""What may become of a job and of a pool: the states, the legal moves, and the one place where a state is moved.

The tables are the law; the diagrams in the documentation are made from them. Nothing else in weirpool assigns a state
or changes a count: whoever wants to move something asks the `Ledger`, which refuses what the tables do not allow.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ABANDONED",
    "CANCELLED",
    "ENDED",
    "FAILED",
    "JOB_MOVES",
    "OPEN",
    "POOL_MOVES",
    "QUEUED",
    "RUNNING",
    "SUCCEEDED",
    "TIMED_OUT",
    "IllegalMove",
    "JobState",
    "Ledger",
    "PoolState",
]


class JobState(enum.Enum):
    """Where a job is: waiting, running, or in one of the five ends that an accepted job can come to."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    ABANDONED = "abandoned"

    # Enum hashes its members in Python code, by name; a state is looked up several times per job, and there is only one
    # object per member.
    if not TYPE_CHECKING:
        __hash__ = object.__hash__


class PoolState(enum.Enum):
    """Where a pool is in its life."""

    NEW = "new"
    OPEN = "open"
    DRAINING = "draining"
    CANCELLING = "cancelling"
    CLOSED = "closed"

    if not TYPE_CHECKING:
        __hash__ = object.__hash__


# Python 3.11 takes 80 ns to look a member up on its enum, and a job's life has a dozen such look-ups.
QUEUED: Final = JobState.QUEUED
RUNNING: Final = JobState.RUNNING
SUCCEEDED: Final = JobState.SUCCEEDED
FAILED: Final = JobState.FAILED
TIMED_OUT: Final = JobState.TIMED_OUT
CANCELLED: Final = JobState.CANCELLED
ABANDONED: Final = JobState.ABANDONED
OPEN: Final = PoolState.OPEN

_ENDS = (SUCCEEDED, FAILED, TIMED_OUT, CANCELLED, ABANDONED)
ENDED = frozenset(_ENDS)

JOB_MOVES: Mapping[JobState, frozenset[JobState]] = {
    QUEUED: frozenset({RUNNING, TIMED_OUT, CANCELLED}),
    RUNNING: ENDED,
    **dict.fromkeys(ENDED, frozenset()),
}

_ENDINGS = {was: moves & ENDED for was, moves in JOB_MOVES.items()}

POOL_MOVES: Mapping[PoolState, frozenset[PoolState]] = {
    PoolState.NEW: frozenset({PoolState.OPEN, PoolState.CLOSED}),
    PoolState.OPEN: frozenset({PoolState.DRAINING}),
    PoolState.DRAINING: frozenset({PoolState.CANCELLING, PoolState.CLOSED}),
    PoolState.CANCELLING: frozenset({PoolState.CLOSED}),
    PoolState.CLOSED: frozenset(),
}


# Why a submission is refused; "cancelled" is the submitter, while it waits for room.
REFUSALS: Final = ("full", "timeout", "closed", "cancelled", "early", "strays", "nesting")


class IllegalMove(RuntimeError):
    """Say that something was asked to become what it cannot become: a bug in weirpool, never in its user."""


class HasState(Protocol):
    """A thing with a job's state, outcome and number."""

    status: JobState
    outcome: Any
    number: int


class Ledger:
    """Keep the books of one pool: its state, how many jobs wait, run, and have ended in which way.

    The counts are kept, never derived, so that reading them is O(1) and that a lost job shows as books that do not
    balance: accepted = the sum over all states, at every instant.
    """

    __slots__ = (
        "accepted",
        "cancelled_queued",
        "coalesced",
        "ends",
        "lending",
        "pool",
        "queued",
        "refused",
        "running",
        "strays",
    )

    def __init__(self) -> None:
        self.pool: PoolState = PoolState.NEW
        self.accepted: int = 0
        self.queued: int = 0
        self.running: int = 0  # with a place
        self.lending: int = 0  # and without: see `_lending`
        self.ends: dict[JobState, int] = dict.fromkeys(_ENDS, 0)
        self.cancelled_queued: int = 0
        self.strays: int = 0
        self.coalesced: int = 0
        self.refused: dict[str, int] = dict.fromkeys(REFUSALS, 0)

    def accept_queued(self, job: HasState) -> None:
        """Enter a new job, which waits, and number it."""
        self.queued += 1
        self.accepted = job.number = self.accepted + 1
        job.status = QUEUED

    def accept_running(self, job: HasState) -> None:
        """Enter a new job, which has a worker at once, and number it."""
        self.running += 1
        self.accepted = job.number = self.accepted + 1
        job.status = RUNNING

    def accept_guest(self, job: HasState) -> None:
        """Enter a new job, which runs without a place, and number it."""
        self.lending += 1
        self.accepted = job.number = self.accepted + 1
        job.status = RUNNING

    def start(self, job: HasState) -> None:
        """Give a worker to a job that waits.

        Raises:
            IllegalMove: it does not wait; nothing was changed.
        """
        if job.status is not QUEUED:
            raise IllegalMove(f"job {job.number}: {job.status.name} -> RUNNING")
        job.status = RUNNING
        self.running += 1
        self.queued -= 1

    def lend(self) -> None:
        """Free the place of a job that goes on running without one."""
        self.running -= 1
        self.lending += 1

    def take_back(self) -> None:
        """Give a free place to a job that runs without one."""
        self.lending -= 1
        self.running += 1

    def end(self, job: HasState, to: JobState, outcome: Any, *, placed: bool = True) -> None:
        """Move a job to its end, with what it ended with.

        In an order in which a bug on the way leaves it unfinished in the books, so that it will be missed.

        Args:
            job: the job.
            to: the state that it ends in.
            outcome: what it ended with.
            placed: whether it holds a place, if it runs; else it has lent that.

        Raises:
            IllegalMove: the table does not allow it; nothing was changed.
        """
        was = job.status
        if to not in _ENDINGS[was]:
            raise IllegalMove(f"job {job.number}: {was.name} -> {to.name}")
        job.outcome = outcome
        job.status = to
        self.ends[to] += 1
        if was is RUNNING:
            if to is ABANDONED:
                self.strays += 1
            if placed:
                self.running -= 1
            else:
                self.lending -= 1
        else:
            if to is CANCELLED:
                self.cancelled_queued += 1
            self.queued -= 1

    def write_off(self, strays: int) -> None:
        """Count as abandoned what is still unfinished, when all that could be found has ended: a bug has lost the rest."""
        self.strays = strays
        self.queued = self.running = self.lending = 0
        self.ends[ABANDONED] += self.accepted - sum(self.ends.values())

    def stray_ended(self) -> None:
        """Note that an abandoned job has really ended; its state stays ABANDONED."""
        self.strays -= 1

    def move_pool(self, to: PoolState) -> None:
        """Move the pool to another state.

        Raises:
            IllegalMove: the table does not allow it; nothing was changed.
        """
        if to not in POOL_MOVES[self.pool]:
            raise IllegalMove(f"pool: {self.pool.name} -> {to.name}")
        self.pool = to

    @property
    def unfinished(self) -> int:
        """How many accepted jobs have not ended."""
        return self.queued + self.running + self.lending

    @property
    def ended(self) -> int:
        """How many accepted jobs have ended, whichever way."""
        return self.accepted - self.unfinished
