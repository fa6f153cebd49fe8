"""What becomes of jobs when there are too many: who waits, who is refused, who is dropped.

A policy is a frozen description; its `controller()` keeps the state for one pool. A controller sees what it is told and
nothing else, no clock and no pool: the same calls in the same order get the same answers.
"""

# No `from __future__ import annotations` here: users' tools resolve the fields' types at run time, in the namespace of
# `weirpool.policies`, which these classes say they come from.
import random
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from .. import _checks
from .._show import shown, type_name

__all__ = [
    "CallerRuns",
    "CoDel",
    "DropOldest",
    "EarlyRefusal",
    "OverloadController",
    "OverloadPolicy",
    "Reject",
    "Wait",
    "named",
]

_MOST = 1_000_000


class OverloadController(Protocol):
    """Whoever decides for one pool."""

    @property
    def newest_first(self) -> bool:
        """Whether the newest job is to be taken from the queue, and not the oldest; read before each is taken."""
        ...

    def refuses(self, queued: int, limit: int, /) -> bool:
        """Say whether a job is to be refused although it might find room; asked at each submission that finds no free place.

        Args:
            queued: how many jobs wait.
            limit: how many may.
        """
        ...

    def sheds(self, now: float, waited: float, /) -> bool:
        """Say whether the job that has waited longest is to be shed.

        Asked before a job is taken from the queue, whichever end it is taken from, and again after each that is shed.

        Args:
            now: the event loop's clock, in seconds.
            waited: how long that job has waited, in seconds.
        """
        ...

    def idle(self, now: float, /) -> None:
        """Hear that nothing waits any more.

        Args:
            now: the event loop's clock, in seconds.
        """
        ...


class OverloadPolicy(Protocol):
    """A rule for what is too much, of which each pool gets a controller of its own."""

    @property
    def when_full(self) -> Literal["wait", "reject", "drop_oldest", "caller_runs"]:
        """What becomes of a submission that finds the queue full."""
        ...

    def controller(self) -> OverloadController | None:
        """Return a new controller; None if nobody needs to be asked."""
        ...


@dataclass(frozen=True, slots=True)
class Wait:
    """Let whoever submits wait for room, for as long as `submit_timeout` says: the default."""

    @property
    def when_full(self) -> Literal["wait"]:
        """Wait."""
        return "wait"

    def controller(self) -> None:
        """Nobody needs to be asked."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Refuse a job at once if there is no room for it, `submit` as well as `submit_nowait`."""

    @property
    def when_full(self) -> Literal["reject"]:
        """Refuse."""
        return "reject"

    def controller(self) -> None:
        """Nobody needs to be asked."""


@dataclass(frozen=True, slots=True)
class DropOldest:
    """Make room by dropping the job that has waited longest; its handle ends with `PoolOverloaded`.

    For what is worth less the older it is: the position of a thing that moves, a refresh that the next one repeats.

    Sources: DiscardOldest of Java's executors, NewestFirst of .NET's limiters; only the latter tells whoever waited.
    """

    @property
    def when_full(self) -> Literal["drop_oldest"]:
        """Drop the oldest."""
        return "drop_oldest"

    def controller(self) -> None:
        """Nobody needs to be asked."""


@dataclass(frozen=True, slots=True)
class CallerRuns:
    """Run a job that finds no room at once, as a part of `submit`: while it runs, whoever submits can't submit more.

    Source: CallerRunsPolicy of Java's executors.
    """

    @property
    def when_full(self) -> Literal["caller_runs"]:
        """Run it here."""
        return "caller_runs"

    def controller(self) -> None:
        """Nobody needs to be asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoDel:
    """Shed what has waited too long, once a queue stands (controlled delay).

    A queue that comes and goes is good, it takes up bursts. One that stands only makes everybody late. So: if even the
    shortest time that jobs have waited in an interval was above the target, the pool is overloaded. Then what has waited for
    more than twice the target is shed when its turn comes, and the newest job is taken first, whose caller is most likely
    still to wait. That ends with an interval that was better, or when nothing waits any more. The first job of an interval
    is never shed.

    Sources: folly's Codel (this rule; it sheds by age, not at K. Nichols's growing rate, which works better for services,
    they say); "Fail at Scale", ACM Queue 2015 (newest first; these constants need no tuning to the service, as limits on a
    queue's length do). Theirs are 5 ms and 100 ms, for requests of some milliseconds; ours are for jobs that take 0.1 s or
    so. Scale both to the jobs.

    Args:
        target: how long jobs may wait in a queue that stands, in seconds: about as long as one runs.
        interval: for how long they must have waited longer before any is shed, in seconds; above `target`. Longer than the
            bursts that the queue is for.
        when_full: what becomes of a submission that finds the queue full.
    """

    target: float = 0.1
    interval: float = 0.5
    when_full: Literal["wait", "reject", "drop_oldest", "caller_runs"] = "wait"

    def __post_init__(self) -> None:
        object.__setattr__(self, "target", _checks.seconds("target", self.target))
        object.__setattr__(self, "interval", _checks.seconds("interval", self.interval))
        if self.interval <= self.target:
            raise ValueError(f"interval must be above target ({self.target:g} s), got {shown(self.interval)}")
        object.__setattr__(self, "when_full", named(self.when_full, "when_full").when_full)

    def controller(self) -> OverloadController:
        """Return a new controller."""
        return _CoDel(self.target, self.interval)


class _CoDel:
    __slots__ = ("_ends", "_interval", "_least", "_target", "newest_first")

    def __init__(self, target: float, interval: float) -> None:
        self._target = target
        self._interval = interval
        self._least = 0.0
        self._ends: float | None = None  # of the interval; None before its first job
        self.newest_first = False  # that is: overloaded

    def refuses(self, queued: int, limit: int, /) -> bool:  # noqa: ARG002
        return False

    def sheds(self, now: float, waited: float, /) -> bool:
        if self._ends is None or now > self._ends:
            self.newest_first = self._ends is not None and self._least > self._target
            self._ends, self._least = now + self._interval, waited
            return False
        self._least = min(self._least, waited)
        return self.newest_first and waited > 2 * self._target

    def idle(self, now: float, /) -> None:  # noqa: ARG002
        self._ends = None
        self.newest_first = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyRefusal:
    """Refuse some jobs before the queue is full: none up to one depth, all from another on, in between the more the fuller.

    So a full queue is no cliff at which every caller is refused in the same moment, to come again in the same moment.

    Sources: S. Floyd and V. Jacobson, "Random Early Detection", 1993; failsafe-go's limiters.

    Args:
        low: the share of the queue's size from which some are refused, from 0.
        high: the share from which all are refused, above `low` and at most 1.
        when_full: what becomes of a submission that finds the queue full.
        seed: of the generator.
    """

    low: float = 0.5
    high: float = 1.0
    when_full: Literal["wait", "reject", "drop_oldest", "caller_runs"] = "reject"
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "low", _checks.number("low", self.low, "a share of the queue", 0, 1))
        object.__setattr__(self, "high", _checks.number("high", self.high, "a share of the queue", 0, 1))
        if self.high <= self.low:
            raise ValueError(f"high must be above low ({self.low:g}), got {shown(self.high)}")
        object.__setattr__(self, "when_full", named(self.when_full, "when_full").when_full)
        object.__setattr__(self, "seed", _checks.whole("seed", self.seed, "of a generator", 0, 2**64))

    def controller(self) -> OverloadController:
        """Return a new controller."""
        return _EarlyRefusal(self.low, self.high, self.seed)


class _EarlyRefusal:
    __slots__ = ("_dice", "_high", "_low")

    newest_first = False

    def __init__(self, low: float, high: float, seed: int) -> None:
        self._low = low
        self._high = high
        self._dice = random.Random(seed)  # noqa: S311  (a seed that repeats is what is wanted)

    def refuses(self, queued: int, limit: int, /) -> bool:
        low, high = self._low * limit, self._high * limit
        if queued <= low:
            return False
        return queued >= high or self._dice.random() * (high - low) < queued - low

    def sheds(self, now: float, waited: float, /) -> bool:  # noqa: ARG002
        return False

    def idle(self, now: float, /) -> None:
        pass


NAMED: Final[dict[str, Wait | Reject | DropOldest | CallerRuns]] = {
    policy.when_full: policy for policy in (Wait(), Reject(), DropOldest(), CallerRuns())
}


def named(name: Any, argument: str = "overload") -> Wait | Reject | DropOldest | CallerRuns:
    """Return the policy of a name.

    Args:
        name: "wait", "reject", "drop_oldest" or "caller_runs".
        argument: what the caller calls it, for the error.

    Raises:
        TypeError: it is no name.
        ValueError: there is no policy of this name.
    """
    rule = f"{argument} must be one of {', '.join(NAMED)}"
    if not issubclass(type(name), str):
        raise TypeError(f"{rule}, got {shown(name)} ({type_name(name)})")
    policy = NAMED.get(str.__str__(name))
    if policy is None:
        raise ValueError(f"{rule}, got {shown(name)}")
    return policy
