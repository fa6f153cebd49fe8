"""The oracle: what must hold after every step, and at the end of a run."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

from weirpool import JobHandle, JobState, PoolState

from .judge import A_LITTLE, judge_end, judge_reaction

if TYPE_CHECKING:
    from weirpool import PoolStats

    from .world import World

__all__ = ["Oracle", "Violation"]


def placed(stats: PoolStats) -> int:
    """Return how many jobs hold a place."""
    return stats.running - stats.lending


def startable(stats: PoolStats, world: World) -> bool:
    """Say whether jobs may be started."""
    return not stats.paused and stats.strays <= world.max_strays


class Violation(AssertionError):
    """A promise was not kept."""


class Oracle:
    """Look at a world, and note what is wrong there.

    Args:
        world: the world.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._last: PoolStats | None = None
        self._placed = 0
        self._ended: dict[JobHandle[Any], JobState] = {}
        self._final_accepted: int | None = None

    def check(self) -> None:
        """See that what must hold at every instant holds now."""
        world = self._world
        stats, now = world.pool.stats(), world.loop.time()
        if stats != self._last:
            self._last = stats
            self._check_books(stats)
            self._check_closing(stats, now)
            self._check_ends(stats, now)
        if world.closing.cancel_by < now - A_LITTLE or world.closing.closed_by < now - A_LITTLE:
            self._check_bounds(stats, now)
        if stats.waiting and stats.state is PoolState.OPEN and world.loop.idle:
            full = stats.queued == stats.queue_size if stats.queue_size else placed(stats) >= stats.workers
            if not full and startable(stats, world) and not world.unordered:
                world.violation(f"R3: there is room, and submitters wait for ever: {stats}")
        if world.closers and stats.state is PoolState.OPEN:
            world.violation("R10: aclose() has been called, and intake is still open")
        if world.violations:
            raise Violation("; ".join(world.violations))

    def _check_books(self, stats: PoolStats) -> None:
        if stats.accepted != stats.ended + stats.queued + stats.running or stats.strays > stats.abandoned:
            self._world.violation(f"R1: the books do not balance: {stats}")
        if not (0 <= stats.lending <= stats.running and 0 <= stats.queued <= stats.queue_size):
            self._world.violation(f"R2: out of bounds: {stats}")
        if placed(stats) > max(stats.workers, self._placed):  # those that run are not interrupted when there are fewer places
            self._world.violation(f"R2: more jobs have a place than there are places: {stats}")
        self._placed = placed(stats)
        idle = placed(stats) < stats.workers and startable(stats, self._world) and not self._world.unordered
        if stats.queued and idle and stats.state is not PoolState.CANCELLING:
            self._world.violation(f"R2: a worker idles while jobs wait: {stats}")

    def _check_closing(self, stats: PoolStats, now: float) -> None:
        if stats.state in {PoolState.NEW, PoolState.OPEN}:
            return
        if self._final_accepted is None:
            self._final_accepted = stats.accepted
        elif stats.accepted != self._final_accepted:
            self._world.violation("R10: a job was accepted after intake had been closed")
        if stats.state is not PoolState.DRAINING and self._world.closing.cancelling_at == math.inf:
            self._world.closing.cancelling_at = now
            if stats.state is PoolState.CANCELLING and now < self._world.closing.cancel_from - A_LITTLE:
                self._world.violation(f"R11: jobs are cancelled, at {now:g} instead of {self._world.closing.cancel_from:g}")

    def _check_ends(self, stats: PoolStats, now: float) -> None:
        """See that what has ended stays as it is, and what has just ended was to end like that."""
        for handle, state in self._ended.items():
            if handle.state is not state:
                self._world.violation(f"R1: job {handle.id} was {state.name} and is {handle.state.name} now")
        for story in tuple(self._world.pending.values()):
            if story.handle is not None and story.handle.done():
                del self._world.pending[story.mark]
                self._ended[story.handle] = story.handle.state
                story.ended_at = now
                self._world.violations += judge_end(self._world, story)
        if stats.state is PoolState.CLOSED and self._world.pending:
            self._world.violation(
                f"R1: closed, and these have not ended: {[story.handle for story in self._world.pending.values()]}"
            )

    def _check_bounds(self, stats: PoolStats, now: float) -> None:
        """See that what has to be done by now is done, unless the loop has just been blocked or the clock runs ahead."""
        world, closing = self._world, self._world.closing
        if stats.state is PoolState.CLOSED or now <= world.stalled_to + A_LITTLE or world.jittered:
            return
        unfinished = stats.queued or stats.running
        if closing.cancel_by < now - A_LITTLE and stats.state is not PoolState.CANCELLING and unfinished:
            world.violation(f"R12, R16: jobs were to be cancelled {now - closing.cancel_by:g} s ago: {stats}")
        if closing.closed_by < now - A_LITTLE:
            world.violation(f"R13: the pool was to be closed {now - closing.closed_by:g} s ago: {stats}")

    def judge_closed(self) -> None:
        """See that the pool is what it has to be when closing returns."""
        stats = self._world.pool.stats()
        if stats.state is not PoolState.CLOSED or stats.queued or stats.running:
            self._world.violation(f"R13: closing returned, and the pool is not closed: {stats}")

    def judge_actor(self, actor: asyncio.Task[Any]) -> None:
        """See that somebody was cancelled if, and only if, somebody had cancelled them."""
        name = actor.get_name()
        if actor.cancelled():
            if not actor.cancelling():
                self._world.violation(f"R7: {name} got a CancelledError, and nobody had cancelled it")
        elif (error := actor.exception()) is not None:
            self._world.violation(f"{name} got {error!r}")
        elif actor.cancelling():
            self._world.violation(f"R7: {name} was cancelled, and nobody told it")

    def judge_end(self) -> None:
        """See what is left when everybody has gone."""
        stats = self._world.pool.stats()
        if stats.state is not PoolState.CLOSED and (stats.state is not PoolState.NEW or stats.accepted):
            self._world.violation(f"R13: everybody has gone, and the pool is not closed: {stats}")
        report = self._world.pool.report
        if report is not None:
            counts = (report.succeeded, report.failed, report.timed_out, report.cancelled, report.abandoned)
            if (report.accepted, sum(counts)) != (stats.accepted, stats.accepted):
                self._world.violation(f"R14: the report does not add up: {report}")
        if any(other is not report for other in self._world.reports):
            self._world.violation("R15: closers got different reports")
        if not any(pool.stats().abandoned for pool in (self._world.pool, *self._world.other_pools)):
            main = asyncio.current_task()
            if left := [task.get_name() for task in self._world.loop.tasks().values() if task is not main]:
                self._world.violation(f"R17: tasks are left: {left}")
            if timers := self._world.loop.timers():
                self._world.violation(f"R17: timers are left: {timers}")
        for story in self._world.stories.values():
            self._world.violations += judge_reaction(self._world, story)

    def judge_silence(self) -> None:
        """See what is left when even the strays have ended."""
        stats = self._world.pool.stats()
        self._check_ends(stats, self._world.loop.time())
        if stats.strays:
            self._world.violation(f"R8: all tasks have ended, and {stats.strays} strays are counted")
        if timers := self._world.loop.timers():
            self._world.violation(f"R17: timers are left: {timers}")
        self._world.watcher.judge(stats)
