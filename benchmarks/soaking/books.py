"""The tally that is kept beside the pool's own books, from what submitters see of handles and jobs do, and the comparison.

Nothing here asks the pool how many there were of anything, until the end, when it must say the same.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from weirpool import JobCancelled, JobHandle, JobState, JobTimeout, PoolClosed, PoolOverloaded, WorkerPool

if TYPE_CHECKING:
    from collections.abc import Callable

    from weirpool import PoolStats, ShutdownReport

    from .bars import Mistakes
    from .work import Ticket

__all__ = ["CLOCK", "Books", "WitnessedPool", "balanced"]

CLOCK = 0.003  # seconds by which a loop may fire a timer early
_ENDS = (JobState.SUCCEEDED, JobState.FAILED, JobState.TIMED_OUT, JobState.CANCELLED, JobState.ABANDONED)


class Books:
    """Keep the tally of one pool.

    Attributes:
        name: of the pool.
        accepted: how many handles were given out.
        ended: how many of those have been seen to end, by state.
        refused: how many submissions were not accepted, by reason.
        attempts: how many submissions are under way.
        inside: how many jobs are inside their function just now.
        forgotten: failures that nobody looked at.
        closing: whether somebody has begun to close the pool.
        hurried: whether the pool is closed without time for what runs to end by itself.
        ruthless: whether it is closed without time even for cancelled jobs to clean up.
    """

    def __init__(self, name: str, mistakes: Mistakes) -> None:
        self.name = name
        self.accepted = 0
        self.ended = dict.fromkeys(_ENDS, 0)
        self.refused = dict.fromkeys(("full", "timeout", "closed", "cancelled", "early", "strays", "nesting"), 0)
        self.attempts = 0
        self.inside = 0
        self.forgotten = 0
        self.closing = False
        self.hurried = False
        self.ruthless = False
        self._mistakes = mistakes

    def total(self) -> int:
        """Return how many have been seen to end."""
        return sum(self.ended.values())

    # While it goes on ---------------------------------------------------------------------------------------------------

    def accept(self, ticket: Ticket, handle: JobHandle[Any]) -> None:
        """Note that a submission was accepted."""
        if ticket.handle is not None:
            self._mistakes.note("accepted twice", handle)
        ticket.handle = handle
        self.accepted += 1

    def refuse(self, error: BaseException) -> None:
        """Note that a submission was not accepted, and why."""
        match error:
            case PoolClosed():
                self.refused["closed"] += 1
            case PoolOverloaded():
                self.refused[error.reason] += 1
            case asyncio.CancelledError():
                self.refused["cancelled"] += 1
            case _:
                self._mistakes.note("refused for no reason", repr(error))

    def end(self, ticket: Ticket, now: float) -> None:
        """Note how a job ended, and judge whether it may have."""
        handle = ticket.handle
        assert handle is not None
        self.ended[handle.state] += 1
        if ticket.forget and handle.state in (JobState.FAILED, JobState.TIMED_OUT):
            self.forgotten += 1
        elif (wrong := self._wrong(ticket, handle, now)) is not None:
            self._mistakes.note(wrong, f"{ticket.kind.name}, {handle!r}, {handle.exception()!r:.200}")
        if ticket.entered > 1:
            self._mistakes.note("run twice", f"{ticket.kind.name}, {handle!r}")
        if ticket.hits > 1:
            self._mistakes.note("cancelled twice", f"{ticket.kind.name}, {handle!r}")

    def _wrong(self, ticket: Ticket, handle: JobHandle[Any], now: float) -> str | None:
        """Say what is wrong with how a job ended, if anything is."""
        kind, error = ticket.kind, handle.exception()
        match handle.state:
            case JobState.SUCCEEDED:
                natural = kind.end is JobState.SUCCEEDED or (kind.turns and ticket.hits and (ticket.asked or self.hurried))
                return None if natural and ticket.entered and handle.result() == ticket.token else "wrong result"
            case JobState.FAILED:
                same = id(error) == ticket.raised if ticket.raised else isinstance(error, TypeError)
                return None if kind.end is JobState.FAILED and ticket.entered and same else "wrong failure"
            case JobState.TIMED_OUT:
                return self._wrong_timeout(ticket, error, now)
            case JobState.CANCELLED:
                return self._wrong_cancel(ticket, error)
            case JobState.ABANDONED:
                named = isinstance(error, JobCancelled | JobTimeout) and error.abandoned
                return None if named and (kind.end is JobState.ABANDONED or self.ruthless) else "abandoned in vain"
        return "not ended"

    def _wrong_timeout(self, ticket: Ticket, error: BaseException | None, now: float) -> str | None:
        if not isinstance(error, JobTimeout) or error.abandoned:
            return "wrong timeout"
        if ticket.limit is None or now < ticket.limit - CLOCK:
            return "timed out too early"
        if error.phase == "queued":
            return "run, but timed out in the queue" if ticket.entered or ticket.deadline is None else None
        if not ticket.entered:
            return "never run, but timed out while running"
        return "not left the time to clean up" if ticket.kind.cleans and not ticket.clean else None

    def _wrong_cancel(self, ticket: Ticket, error: BaseException | None) -> str | None:
        if not isinstance(error, JobCancelled) or error.abandoned:
            return "wrong cancellation"
        cause = {"cancel": ticket.asked, "shutdown": self.hurried, "self": ticket.kind.name == "cancels itself"}
        if not cause.get(error.reason, False):
            return f"cancelled without a cause ({error.reason})"
        if ticket.kind.cleans and ticket.entered and not ticket.clean:
            return "not left the time to clean up"
        return None

    # In the end ---------------------------------------------------------------------------------------------------------

    def settled(self) -> bool:
        """Say whether nothing of this pool is under way any more."""
        return not self.attempts and self.accepted == self.total()

    def check(self, stats: PoolStats) -> None:
        """Compare with what the pool says at any one moment."""
        if not balanced(stats):
            self._mistakes.note("the pool's books do not balance", stats)
        if stats.accepted != self.accepted:
            self._mistakes.note("handles given out, and jobs accepted", f"{self.accepted} != {stats}")
        if self.inside > stats.running + stats.strays:
            self._mistakes.note("more jobs run than the pool says", f"{self.inside} {stats}")
        if stats.ended < self.total():
            self._mistakes.note("more ends seen than there were", f"{self.ended} {stats}")

    def compare(self, stats: PoolStats, report: ShutdownReport) -> None:
        """Compare with what the pool says when all is over."""
        theirs = (report.succeeded, report.failed, report.timed_out, report.cancelled, report.abandoned)
        if theirs != tuple(self.ended.values()) or report.accepted != self.accepted or sum(theirs) != self.accepted:
            self._mistakes.note("the report is not the tally", f"{self.accepted} {self.ended} {report}")
        if dict(stats.refused) != self.refused:
            self._mistakes.note("refusals are not the tally", f"{self.refused} {stats}")
        if stats.queued or stats.running or stats.waiting or stats.strays:
            self._mistakes.note("something is left in a closed pool", stats)


def balanced(stats: PoolStats) -> bool:
    """Say whether a pool's books balance (R1), and its bounds hold (R2)."""
    whole = stats.accepted == stats.ended + stats.queued + stats.running
    return whole and stats.running <= stats.max_workers and stats.queued <= stats.queue_size


class WitnessedPool(WorkerPool):
    """A pool that gives each ticket its handle at once, so that no later cancellation can part the two: `run()` keeps its."""

    def __init__(self, books: Books, **options: Any) -> None:
        super().__init__(name=books.name, **options)
        self.books = books

    # Less general than what it overrides, on purpose: everything that is submitted here has a ticket as its argument.
    async def submit(  # type: ignore[override]
        self, fn: Callable[[Ticket], Any], /, ticket: Ticket, **options: Any
    ) -> JobHandle[Any]:
        """Submit, and note it."""
        handle = await super().submit(fn, ticket, **options)
        self.books.accept(ticket, handle)
        self.books.check(self.stats())
        return handle

    def submit_nowait(  # type: ignore[override]
        self, fn: Callable[[Ticket], Any], /, ticket: Ticket, **options: Any
    ) -> JobHandle[Any]:
        """Submit, and note it."""
        handle = super().submit_nowait(fn, ticket, **options)
        self.books.accept(ticket, handle)
        self.books.check(self.stats())
        return handle
