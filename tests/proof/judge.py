"""The judgements on single jobs: as what a job may end, when, and in which words, given what happened to it.

The facts are written down by the world as they happen, and not taken from the pool: when the job's function was called, when
somebody cancelled it, when its time was over, when the pool began to cancel. Whatever of that came first decides.

==================  ======================================================================================================
first of all        the job ends as
==================  ======================================================================================================
its natural end     that, at that time
its deadline        TIMED_OUT, also if it returns or raises then; never started, if it was still in the queue
a `cancel()`        CANCELLED ("cancel"), at once if it was in the queue; as whatever it makes of its cancellation
the shutdown        CANCELLED ("shutdown"), likewise
nothing it heeds    ABANDONED after its grace, with the error of what came first
==================  ======================================================================================================

Where two of these come in the same instant, either is right; so is each of them when the loop was blocked meanwhile or the
clock ran ahead of the work, and when a cancellation from nowhere has hit the job's own task.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from weirpool import JobCancelled, JobState, JobTimeout, PoolOverloaded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator

    from weirpool import JobHandle

    from .jobs import Nature
    from .world import World

__all__ = ["A_LITTLE", "Story", "judge_end", "judge_reaction", "live", "mark_of"]

A_LITTLE = 1e-6
A_MOMENT = 0.0015  # seconds: by so much the pool may be late in finding out that a deadline was passed, in a shuffled order
_ERRORS = {
    JobState.CANCELLED: (JobCancelled, PoolOverloaded),
    JobState.TIMED_OUT: (JobTimeout,),
    JobState.ABANDONED: (JobCancelled, JobTimeout),
}


@dataclass(eq=False, slots=True)
class Story:
    """What happened to one job, as far as its users can tell.

    Args:
        mark: its result.
        nature: what is known of jobs of its kind.
        submitted_at: when it was submitted.
        timeout: how long it may run.
        deadline: when its time is over, queueing included; also that of the job that has submitted it.
        blocked: for how long the loop had been blocked in all when it was submitted, or called.
    """

    mark: int
    nature: Nature
    submitted_at: float
    timeout: float | None
    deadline: float | None
    blocked: float
    handle: JobHandle[Any] | None = None
    accepted_at: float = math.inf  # or, of a job of `run()`, when it was called at the latest
    started_at: float | None = None
    ended_at: float = math.inf
    asked_at: float = math.inf  # when somebody cancelled it, by its handle or by its `run()`
    off: bool = False  # whether it must not be started any more
    touched: int = 0  # how often its task was cancelled from nowhere
    touched_at: float = math.inf
    seen: int | None = None  # how many cancellations it has seen; None: it does not count them
    nested: bool = False  # whether others may end it: the job that has submitted it, or an overload policy
    over: bool = field(default=False)  # whether its function has come to its end

    @property
    def due(self) -> float:
        """When its time is over."""
        ran_out = math.inf if self.started_at is None or self.timeout is None else self.started_at + self.timeout
        return ran_out if self.deadline is None else min(ran_out, self.deadline)

    @property
    def had(self) -> float:
        """How long it had, in the words of its JobTimeout."""
        assert self.timeout is not None or self.deadline is not None
        if self.deadline is not None and (self.started_at is None or self.due == self.deadline):
            return max(0.0, self.deadline - self.submitted_at)
        assert self.timeout is not None
        return self.timeout

    def ask(self, now: float) -> None:
        """Note that somebody cancels it."""
        if self.handle is None or not self.handle.done():
            self.asked_at = min(self.asked_at, now)

    def touch(self, now: float) -> None:
        """Note that its task is cancelled from nowhere."""
        self.touched += 1
        self.touched_at = min(self.touched_at, now)


def mark_of(name: str) -> int:
    """Return the mark of the job that has this name, and whose task has; 0: none has."""
    kind, _, mark = name.partition(" ")
    return int(mark) if kind == "job" and mark.isdecimal() else 0


async def live(story: Story, awaitable: Awaitable[Any]) -> Any:
    """Be a job, and note its end."""
    try:
        return await awaitable
    finally:
        story.over = True


class _Case:
    """One job that has ended, and what is to be said about that."""

    def __init__(self, world: World, story: Story) -> None:
        assert story.handle is not None
        self.world = world
        self.story = story
        self.state = story.handle.state
        # Of a failure nobody asks here: that it is logged then is not to be changed.
        self.error = story.handle.exception() if self.state in _ERRORS else None
        self.now = story.ended_at
        due = max(story.due, story.accepted_at)  # it may have been passed while there was no room
        at = {"deadline": due, "cancel": story.asked_at, "shutdown": world.closing.cancelling_at}
        self.causes = {cause: when for cause, when in at.items() if when <= self.now + A_LITTLE}
        self.first = min(self.causes.values(), default=math.inf)
        self.hit = story.nested or story.touched > 0 or world.strangers_hit > (0 if story.nature.children else 1)
        self.reacts = story.nature.time_to_end(world.options["cancel_grace"])
        self.vague = self.hit or world.jittered or world.blocked != story.blocked
        self.likely = {cause for cause, when in self.causes.items() if self.vague or when <= self.first + A_LITTLE}

    def judge(self) -> Iterator[str]:
        """Say what is wrong."""
        yield from self._judge_error()
        yield from self._judge_cause()
        if not self.hit:
            yield from self._judge_nature()
        if not self.vague:
            yield from self._judge_times()

    def _judge_error(self) -> Iterator[str]:
        error, state, story = self.error, self.state, self.story
        if story.started_at is not None and not story.over and state is not JobState.ABANDONED:
            yield f"R1: {state.name}, and it still runs"
        if isinstance(error, PoolOverloaded) and not (self.world.sheds and story.started_at is None):
            yield f"R1: {state.name}, with {error!r}"
        if state in _ERRORS and not isinstance(error, _ERRORS[state]):
            yield f"R1: {state.name}, with {error!r}"
        elif isinstance(error, JobCancelled | JobTimeout) and error.abandoned is not (state is JobState.ABANDONED):
            yield f"R8: {state.name}, and its error says abandoned={error.abandoned}"
        if isinstance(error, JobTimeout):
            if error.phase != ("queued" if story.started_at is None else "running"):
                yield f"R6: {state.name} while {error.phase}, and it was started at {story.started_at}"
            if "deadline" in self.causes and abs(error.timeout - story.had) > A_LITTLE:
                yield f"R6: it had {story.had:g} s, and its error says {error.timeout:g}"

    def _judge_cause(self) -> Iterator[str]:
        error, state, nature = self.error, self.state, self.story.nature
        reason = "deadline" if isinstance(error, JobTimeout) else error.reason if isinstance(error, JobCancelled) else None
        if reason is not None:
            possible = self.likely & ({"deadline"} if isinstance(error, JobTimeout) else {"cancel", "shutdown"})
            if state is JobState.CANCELLED and (nature.ends is None or nature.ends is JobState.CANCELLED):
                possible.add("self")
            if self.story.nested:
                possible |= {"cancel"}
            if self.hit:
                possible |= {"task", "self"} if state is JobState.CANCELLED else set()
            if reason not in possible:
                yield f"R6, R7, R12: {state.name} because of {reason!r}, which is none of {sorted(possible)}"
        elif self.likely == {"deadline"} and self.now > self.first + A_LITTLE and not self.vague:
            yield f"R6: {state.name} {self.now - self.first:g} s after its time was over"
        if reason == "shutdown" and self.now < self.world.closing.cancel_from - A_LITTLE:
            yield f"R11: cancelled by the shutdown, at {self.now:g} instead of {self.world.closing.cancel_from:g}"

    def _judge_nature(self) -> Iterator[str]:
        """See that it came to the end that is in its nature, if that came first, or else to that of what did."""
        story, nature, state, first = self.story, self.story.nature, self.state, self.first
        if story.started_at is None:
            if state in {JobState.SUCCEEDED, JobState.FAILED}:
                yield f"R1: {state.name}, and it was never called"
            return
        if nature.ends is None:
            return
        natural = math.inf if nature.lasts is None else story.started_at + nature.lasts
        if not self.causes or (not self.vague and first > natural + A_LITTLE):
            if state is not nature.ends:
                yield f"R7, R11: nobody disturbed it, and it is {state.name} instead of {nature.ends.name}"
        elif not self.vague and nature.lasts is not None and first < natural - A_LITTLE and self._heeds():
            expected = {JobState.TIMED_OUT} if self.likely == {"deadline"} else {JobState.CANCELLED}
            if "deadline" in self.likely:
                expected.add(JobState.TIMED_OUT)
            if state not in expected:
                yield f"R6, R7, R12: {state.name} after {sorted(self.likely)}, although it heeds that in its grace"

    def _judge_times(self) -> Iterator[str]:
        story, world, now = self.story, self.world, self.now
        if self.state is JobState.ABANDONED:
            slack = A_MOMENT if world.loop.deviations and "deadline" in self.likely else A_LITTLE
            if now > self.first + world.options["cancel_grace"] + slack:
                yield f"R8: abandoned {now - self.first:g} s after {sorted(self.likely)}"
            if now < min(self.first + world.closing.grace, world.closing.bound) - A_LITTLE:
                yield f"R12: abandoned {now - self.first:g} s after {sorted(self.likely)}, before the end of its grace"
        elif self.causes:
            reacts = 0.0 if story.started_at is None else self.reacts
            if reacts is not None and story.nature.ends is not None and now > self.first + reacts + A_LITTLE:
                yield f"R6, R7, R12: it took {now - self.first:g} s to end after {sorted(self.likely)}, and needs {reacts:g}"

    def _heeds(self) -> bool:
        """Whether it ends, when told to, and has the time for that."""
        reacts, world = self.reacts, self.world
        return (
            reacts is not None
            and reacts < world.closing.grace - A_LITTLE
            and self.first + reacts < world.closing.bound - A_LITTLE
        )


def judge_end(world: World, story: Story) -> Iterator[str]:
    """Say what is wrong with the end that a job has just come to."""
    case = _Case(world, story)
    for wrong in case.judge():
        yield f"{wrong} (job {case.story.mark})"


def judge_reaction(world: World, story: Story) -> Iterator[str]:
    """Say what is wrong with how a job was told to end, which it counted."""
    if world.jittered or story.seen is None:  # its grace may have been over before the step in which it is told
        return
    # The supervisor passes its first cancellation on to nobody. When all but the strays have ended, it does, to these.
    passed_on = world.strangers_hit - (0 if story.handle is not None and story.handle.state is JobState.ABANDONED else 1)
    if story.seen > 1 + story.touched + max(0, passed_on):
        yield f"R7: a co-operative job was cancelled {story.seen} times (job {story.mark})"
    told = {JobState.CANCELLED}
    # A job may come to its own end between its time being over and its being told: at that very moment, or in the turns that
    # are made up for after something has blocked the loop.
    if story.ended_at > story.due + A_LITTLE and world.blocked == story.blocked:
        told.add(JobState.TIMED_OUT)
    if not world.loop.deviations:  # else a grace of nothing may be over before the step in which it is told
        told.add(JobState.ABANDONED)
    if story.handle is not None and story.handle.state in told and not story.seen:
        yield f"R12: job {story.mark} is {story.handle.state.name}, and was never told"
