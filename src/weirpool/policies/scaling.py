"""How many places a pool should have: rules that look at its load and say a number, with the reason.

A policy is a frozen description; its `controller()` keeps the state for one pool. A controller sees what it is told and
nothing else, no clock and no pool: the same loads in the same order give the same decisions.
"""

# No `from __future__ import annotations` here: users' tools resolve the fields' types at run time, in the namespace of
# `weirpool.policies`, which these classes say they come from.
import math
from dataclasses import dataclass
from typing import Protocol

from .. import _checks

__all__ = ["Decision", "Load", "OnDemand", "QueueDelay", "ScalingController", "ScalingPolicy", "Step", "resized"]

_MOST = 1_000_000  # as many places as a pool may have
_EARLY = 0.001  # seconds; a loop's timer may be that
_FALLING = 0.9  # of what it was at the last look, or less: a delay that goes away by itself, soon


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Say how busy a pool is, and how its jobs have fared since its policy last looked.

    What is counted "since the last look" is 0 where a policy is asked in between, because a job has to wait.

    Attributes:
        now: the event loop's clock, in seconds.
        workers: how many places there are.
        min_workers: how many there are at least.
        max_workers: how many at most.
        busy: places in which a job runs at this instant.
        queued: jobs that wait for a place, those not counted that wait for others of their key.
        waiting: submitters that wait for room, and jobs that wait to have back the places that they have lent.
        queue_delay: how long the job that is next has waited, in seconds; 0 if none waits.
        started: jobs that were given a place, since the last look.
        least_queue_delay: the shortest that any of them has waited, in seconds (a job that found a place at once: 0); 0 if
            none.
        succeeded: jobs that returned.
        failed: jobs that raised.
        timed_out: jobs whose time was over while they ran, those among them that were abandoned for it included.
        dropped: jobs that never ran: their time was over in the queue, they were shed or dropped, or refused for want of room.
        busy_seconds: how long places were in use, in seconds together: how many were on average, times how long that was.
        peak_busy: the most places that were in use at once.
    """

    now: float
    workers: int
    min_workers: int
    max_workers: int
    busy: int
    queued: int
    waiting: int
    queue_delay: float
    started: int
    least_queue_delay: float
    succeeded: int
    failed: int
    timed_out: int
    dropped: int
    busy_seconds: float
    peak_busy: int


@dataclass(frozen=True, slots=True)
class Decision:
    """Say how many places there should be, and why.

    Attributes:
        workers: how many; what is outside the pool's bounds is brought inside.
        reason: why, in a few words, for logs and pages.
    """

    workers: int
    reason: str


class ScalingController(Protocol):
    """Whoever decides for one pool."""

    def decide(self, load: Load, /) -> Decision | None:
        """Return how many places there should be; None: as many as there are."""
        ...


class ScalingPolicy(Protocol):
    """A rule for the number of places, of which each pool gets a controller of its own."""

    @property
    def interval(self) -> float:
        """Seconds between two looks, while there is anything to look at."""
        ...

    @property
    def on_submit(self) -> bool:
        """Whether the controller is asked in between, too, at once when a job has to wait."""
        ...

    @property
    def while_idle(self) -> bool:
        """Whether the controller is asked also while nothing happens and there are more places than the fewest.

        If so, an idle pool wakes up for each look until it has come down to those.
        """
        ...

    def controller(self) -> ScalingController:
        """Return a new controller."""
        ...


def resized(load: Load, workers: int, reason: str) -> Decision | None:
    """Return the decision for a number of places, brought inside the pool's bounds; None if there are so many already."""
    workers = max(1, load.min_workers, min(workers, load.max_workers))
    return None if workers == load.workers else Decision(workers, reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnDemand:
    """Add a place at once for each job that would have to wait, and retire an unused one now and then.

    For jobs whose cost is here: what limits them is this process, or nothing does. Growing before queueing keeps waiting
    times short; growing only once the queue is full, as Java's ThreadPoolExecutor does, makes `max_workers` mean nothing
    while the queue has room. Unused places cost nothing, so going is slow: one per idle period, which is the gentlest way
    there is.

    Sources: alitto/pond (grow on submit), gammazero/workerpool (one idle worker per idle period; 2 s there, where a worker
    is a goroutine with a stack of its own; ours are numbers).

    Args:
        idle_period: how long not all places must have been in use before one of them goes, in seconds.
    """

    idle_period: float = 10.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "idle_period", _checks.seconds("idle_period", self.idle_period))

    @property
    def interval(self) -> float:
        """Seconds between two looks: the idle period."""
        return self.idle_period

    @property
    def on_submit(self) -> bool:
        """Yes: ask when a job has to wait."""
        return True

    @property
    def while_idle(self) -> bool:
        """Yes: unused places go by and by."""
        return True

    def controller(self) -> ScalingController:
        """Return a new controller."""
        return _OnDemand()


class _OnDemand:
    __slots__ = ()

    def decide(self, load: Load, /) -> Decision | None:
        crowd = load.queued + load.waiting
        if crowd and load.busy >= load.workers:
            return resized(load, load.workers + crowd, f"{crowd} waiting, no free place")
        if max(load.busy, load.peak_busy) < load.workers:
            return resized(load, load.workers - 1, "not all places were in use")
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Look at the length of the queue now and then, and go up or down by a fixed step.

    The rule of the articles on worker pools in Go, as they give it: longer a queue than there are workers, two more; an
    empty queue and less than half at work, two fewer. Easy to follow on a graph, and slow: 50 more places take two minutes.
    Submitters that wait for room count as queued, else a short queue could never be longer than the workers are many.

    Args:
        interval: seconds between two looks.
        step: how many places come or go at once.
    """

    interval: float = 5.0
    step: int = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "interval", _checks.seconds("interval", self.interval))
        object.__setattr__(self, "step", _checks.whole("step", self.step, "places", 1, _MOST))

    @property
    def on_submit(self) -> bool:
        """No: look at intervals only."""
        return False

    @property
    def while_idle(self) -> bool:
        """Yes: unused places go by and by."""
        return True

    def controller(self) -> ScalingController:
        """Return a new controller."""
        return _Step(self.step)


class _Step:
    __slots__ = ("_step",)

    def __init__(self, step: int) -> None:
        self._step = step

    def decide(self, load: Load, /) -> Decision | None:
        crowd = load.queued + load.waiting
        if crowd > load.workers:
            return resized(load, load.workers + self._step, f"{crowd} waiting for {load.workers} places")
        if not crowd and load.busy * 2 < load.workers:
            return resized(load, load.workers - self._step, f"{load.busy} of {load.workers} places in use")
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueDelay:
    """Hold the time that jobs wait in the queue at a target.

    Measured is the least that any job has waited since the last decision: it tells a queue that stands from one that comes
    and goes, as the average does not (the measure of CoDel). Where more than a tenth of the jobs are shed, refused or too
    late to start, the others do not show how long the queue would be: that counts as twice the target. Above the target
    places are added, in proportion, at most as many again; not while the delay is falling by itself. Below half of it, if
    not all places were in use for an idle period, half of the unused ones go. Between the two nothing changes.

    It adds places whether or not they help: where what the jobs call is overloaded itself, use `Adaptive`.

    Source: K. Nichols and V. Jacobson, "Controlling Queue Delay", 2012 (the least delay); the hill climbing of .NET's thread
    pool (as much evidence as it takes to tell, and a limit on changes per second).

    Args:
        target: how long jobs may wait, in seconds. 0.1: what a person does not notice yet.
        interval: seconds between two looks.
        evidence: how many jobs must have started to judge by. Waived while nothing starts and the next job has waited too
            long.
        changes_per_second: how many changes there are in a second, at most, however often it looks.
        idle_period: how long not all places must have been in use before some go, in seconds. Long against the waves of the
            load, so that they do not move the pool.
    """

    target: float = 0.1
    interval: float = 1.0
    evidence: int = 10
    changes_per_second: float = 1.0
    idle_period: float = 10.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "target", _checks.seconds("target", self.target))
        object.__setattr__(self, "interval", _checks.seconds("interval", self.interval))
        object.__setattr__(self, "evidence", _checks.whole("evidence", self.evidence, "jobs", 1, _MOST))
        rate = _checks.number("changes_per_second", self.changes_per_second, "changes in a second", 0.001, 100)
        object.__setattr__(self, "changes_per_second", rate)
        object.__setattr__(self, "idle_period", _checks.seconds("idle_period", self.idle_period))

    @property
    def on_submit(self) -> bool:
        """No: one job that waits is no evidence."""
        return False

    @property
    def while_idle(self) -> bool:
        """Yes: unused places go by and by."""
        return True

    def controller(self) -> ScalingController:
        """Return a new controller."""
        return _QueueDelay(self)


class _QueueDelay:
    __slots__ = ("_calm_peak", "_calm_since", "_delay", "_dropped", "_least", "_may_change_at", "_policy", "_started")

    def __init__(self, policy: QueueDelay) -> None:
        self._policy = policy
        self._started = 0  # the evidence since the last judgement
        self._dropped = 0
        self._least = math.inf
        self._delay = 0.0  # what it was then
        self._calm_since = math.inf
        self._calm_peak = 0
        self._may_change_at = -math.inf

    def decide(self, load: Load, /) -> Decision | None:
        delay = self._judge(load)
        falling = delay is not None and delay < self._delay * _FALLING
        if delay is not None:
            self._delay = delay
        calm = self._is_calm(load)
        if load.now < self._may_change_at - _EARLY:
            return None
        decision = None
        if delay is not None and delay > self._policy.target and not falling:
            more = math.ceil(load.workers * min(2.0, delay / self._policy.target))
            decision = resized(load, more, f"jobs wait {delay:.3g} s, target {self._policy.target:.3g} s")
        elif calm:
            fewer = load.workers - (load.workers - self._calm_peak + 1) // 2
            decision = resized(load, fewer, f"at most {self._calm_peak} of {load.workers} places in use")
            self._calm_since = math.inf
        if decision is not None:
            self._may_change_at = load.now + 1 / self._policy.changes_per_second
        return decision

    def _judge(self, load: Load) -> float | None:
        """Return how long jobs have to wait, if there is evidence enough."""
        target = self._policy.target
        self._started += load.started
        self._dropped += load.dropped
        if load.started:
            self._least = min(self._least, load.least_queue_delay)
        elif load.queue_delay > target:
            return load.queue_delay  # nothing starts: that is evidence
        if self._started + self._dropped < self._policy.evidence:
            return None
        delay = self._least if self._started else 0.0
        if self._dropped * 10 > self._started:
            delay = max(delay, 2 * target)
        self._started, self._dropped, self._least = 0, 0, math.inf
        return delay

    def _is_calm(self, load: Load) -> bool:
        """Say whether there have been places to spare for an idle period."""
        delay = max(load.queue_delay, load.least_queue_delay)
        if delay > self._policy.target / 2 or load.dropped or load.peak_busy >= load.workers:
            self._calm_since = math.inf
            return False
        if self._calm_since == math.inf:
            self._calm_since, self._calm_peak = load.now, 0
        self._calm_peak = max(self._calm_peak, load.peak_busy)
        return load.now - self._calm_since >= self._policy.idle_period
