"""Loads as a pool would report them, and a downstream that slows as its concurrency rises."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from weirpool.policies import Load

if TYPE_CHECKING:
    from weirpool.policies import Decision, ScalingController, ScalingPolicy


def load(now: float = 100.0, workers: int = 10, **numbers: Any) -> Load:
    """Return what a pool of 1 to 100 places reports in which nothing happens, but for the numbers given."""
    still: dict[str, Any] = dict.fromkeys((field.name for field in dataclasses.fields(Load)), 0)
    still |= {"min_workers": 1, "max_workers": 100, "queue_delay": 0.0, "least_queue_delay": 0.0, "busy_seconds": 0.0}
    return Load(**(still | {"now": now, "workers": workers} | numbers))


def decided(controller: ScalingController, **numbers: Any) -> int | None:
    """Return the number of places that a controller wants, None if it wants no change."""
    decision = controller.decide(load(**numbers))
    return None if decision is None else decision.workers


class Downstream:
    """What the jobs call: it bears so many at once, and beyond that each takes longer and all together get less done.

    Attributes:
        capacity: how many it bears.
        run: how long a job takes up to there, in seconds.
        thrash: by what share the throughput falls with as many again.
        gives_up: after how many seconds a job is timed out.
        refuses: whether it fails at once what it can't bear, instead of slowing down.
    """

    def __init__(self, capacity: float, run: float = 0.1, thrash: float = 0.5) -> None:
        self.capacity = capacity
        self.run = run
        self.thrash = thrash
        self.gives_up = math.inf
        self.refuses = False

    def takes(self, jobs: float) -> float:
        """Return how long each of so many jobs takes, in seconds."""
        if jobs <= self.capacity:
            return self.run
        return self.run * jobs / self.capacity * (1 + self.thrash * (jobs - self.capacity) / self.capacity)


class World:
    """A pool under a policy, a downstream, and callers who want so many jobs run at once.

    Nothing in it is random: each interval is as long as it takes, on average.

    Attributes:
        history: the places after each look.
        reasons: why they changed.
    """

    def __init__(self, policy: ScalingPolicy, downstream: Downstream, workers: int = 1, most: int = 1000) -> None:
        self.downstream = downstream
        self.interval = policy.interval
        self.controller = policy.controller()
        self.workers = workers
        self.fewest, self.most = 1, most
        self.now = 0.0
        self._parts = 0.0
        self.history: list[int] = []
        self.reasons: list[str] = []

    def pass_time(self, seconds: float, demand: float = math.inf) -> list[int]:
        """Let time pass; return how many places there were at each look."""
        before = len(self.history)
        for _ in range(round(seconds / self.interval)):
            self.now += self.interval
            self._apply(self.controller.decide(self._load(demand)))
            self.history.append(self.workers)
        return self.history[before:]

    def _load(self, demand: float) -> Load:
        busy = min(self.workers, demand)
        takes = self.downstream.takes(busy)
        waits = {"queued": 50, "queue_delay": 1.0, "least_queue_delay": 1.0} if demand > self.workers else {}
        if takes > self.downstream.gives_up:
            ends = {"timed_out": self._whole(busy / self.downstream.gives_up)}
        elif self.downstream.refuses and busy > self.downstream.capacity:
            busy = self.downstream.capacity
            ends = {"succeeded": self._whole(busy / self.downstream.run), "failed": 10 * self.workers}
        else:
            ends = {"succeeded": self._whole(busy / takes)}
        numbers: dict[str, Any] = {**waits, **ends, "started": sum(ends.values())}
        numbers |= {
            "busy": math.ceil(busy),
            "busy_seconds": busy * self.interval,
            "peak_busy": math.ceil(min(self.workers, demand)),
        }
        return load(self.now, self.workers, min_workers=self.fewest, max_workers=self.most, **numbers)

    def _whole(self, rate: float) -> int:
        """Return how many jobs end in an interval, without losing the parts of one that go on."""
        self._parts += rate * self.interval
        whole = int(self._parts + 1e-9)
        self._parts -= whole
        return whole

    def _apply(self, decision: Decision | None) -> None:
        if decision is not None:
            assert max(1, self.fewest) <= decision.workers <= self.most
            assert decision.workers != self.workers
            self.workers = decision.workers
            self.reasons.append(decision.reason)
