"""How long jobs have waited and run of late, as percentiles, from two small histograms.

Buckets grow by a constant factor, so that the middle of each is within 3 % of all that is in it (C. Masson, J. Rim and H. Lee,
"DDSketch", VLDB 2019, of which this is the part with a fixed range). Counts only grow. What they were at some moments of the
last minute is kept, and the difference is what has happened since: so a job costs two additions, whatever the window.

That is a twentieth of what a pool needs for a short job. So where more than a thousand jobs end in a second, one in sixteen is
counted, for those before it too: which one is drawn, so that no pattern among the jobs can hide from it. And whatever ends
when nothing has been counted for a while is counted for itself: where jobs have become slow, no slow job is missed.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections import deque
from itertools import accumulate
from operator import sub
from typing import TYPE_CHECKING, NamedTuple

from ._snapshot import Percentiles

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Timings"]

_ERROR = 0.03
_FACTOR = (1 + _ERROR) / (1 - _ERROR)
_SHORTEST = 1e-6  # seconds; what is shorter counts as that
_LONGEST = 1e6
_PER_E = 1 / math.log(_FACTOR)
_FIRST = -math.log(_SHORTEST) * _PER_E + 1
_BUCKETS = int(math.log(_LONGEST) * _PER_E + _FIRST) + 1

_WINDOW = 60.0  # seconds
_STEP = 10.0

_ALL = 100  # jobs that are counted, each, in every step
_RARE = 0.001  # seconds between two jobs; those that are further apart are counted, each
_STRIDES = 31  # the longest; the shortest is 1, so 16 in the mean


class _Mark(NamedTuple):
    """What had been counted by a moment."""

    at: float
    waited: array[int]
    ran: array[int]


class Timings:
    """Count how long the jobs of one pool wait and run.

    Args:
        time: the clock.

    Attributes:
        skip: which of the jobs that end is to be noted: 1 is the next. Whoever ends a job counts it down.
        until: a job that ends later than this is to be noted in any case.
    """

    __slots__ = ("_all", "_dice", "_marks", "_next", "_ran", "_stride", "_time", "_waited", "skip", "until")

    def __init__(self, time: Callable[[], float]) -> None:
        self._time = time
        self._waited = [0] * _BUCKETS
        self._ran = [0] * _BUCKETS
        self._marks: deque[_Mark] = deque()
        self._next = time() + _STEP
        self._all = _ALL
        self._dice = 1
        self._stride = self.skip = 1
        self.until = math.inf

    def note(self, accepted_at: float, started_at: float, now: float, log: Callable[[float], float] = math.log) -> None:
        """Count a job that ends now, and those before it that were skipped."""
        stride = 1 if self.skip else self._stride  # what was skipped before a quiet spell was not like what came after it
        if started_at is accepted_at:  # it has not begun: see `Run`
            self.skip += 1
            return
        if now >= self._next:
            self._mark(now)
            self._all = _ALL
        waited, ran = started_at - accepted_at, now - started_at
        self._waited[int(log(waited) * _PER_E + _FIRST) if _SHORTEST < waited < _LONGEST else _clipped(waited)] += stride
        self._ran[int(log(ran) * _PER_E + _FIRST) if _SHORTEST < ran < _LONGEST else _clipped(ran)] += stride
        if self._all:
            self._all -= 1
            stride = 1
        elif now < self.until:
            # The generator of ANSI C's example: `random` is the user's, who may have seeded it.
            dice = self._dice = (self._dice * 1103515245 + 12345) & 0x7FFFFFFF
            stride = (dice >> 16) % _STRIDES + 1
        else:
            stride = 1
        self._stride = self.skip = stride
        self.until = now + _RARE * stride

    def recent(self) -> tuple[Percentiles | None, Percentiles | None]:
        """Return how long the jobs have waited, and run, that have ended in the last minute, or up to 70 s; None: no jobs.

        It changes nothing, so that another thread may call it.
        """
        since = self._time() - _WINDOW
        if self._next <= since:  # nothing has been counted since then
            return None, None
        before = None
        for mark in tuple(self._marks):
            if mark.at <= since:
                before = mark
        return (
            _percentiles(self._waited, None if before is None else before.waited),
            _percentiles(self._ran, None if before is None else before.ran),
        )

    def _mark(self, now: float) -> None:
        # Nothing has been counted since that moment, else there would be a mark of it already.
        self._marks.append(_Mark(self._next, array("Q", self._waited), array("Q", self._ran)))
        while len(self._marks) > 1 and self._marks[1].at <= now - _WINDOW:
            self._marks.popleft()
        self._next = now + _STEP


def _clipped(seconds: float) -> int:
    return _BUCKETS - 1 if seconds >= _LONGEST else 0


def _percentiles(counts: Sequence[int], before: Sequence[int] | None) -> Percentiles | None:
    sums = list(accumulate(counts if before is None else map(sub, counts, before)))
    number = sums[-1]
    if not number:
        return None
    p50, p90, p99 = (_middle(bisect_left(sums, math.ceil(number * share))) for share in (0.5, 0.9, 0.99))
    return Percentiles(number, p50, p90, p99)


def _middle(bucket: int) -> float:
    """Return the duration that is within 3 % of all in a bucket, in seconds."""
    if not bucket:
        return 0.0
    return math.exp((bucket - _FIRST) / _PER_E) * (1 + _ERROR)
