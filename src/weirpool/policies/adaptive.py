"""How many jobs at once the downstream bears, found out by watching what they cost.

Whatever jobs call (a database, a service) has a concurrency beyond which more at once only makes each slower, and then all.
Nobody knows the number, and it changes. It shows in the place-seconds that a success costs: flat below it, and rising above.
"""

# No `from __future__ import annotations` here: users' tools resolve the fields' types at run time, in the namespace of
# `weirpool.policies`, which these classes say they come from.
import math
import random
from dataclasses import dataclass

from .. import _checks
from .scaling import Decision, Load, ScalingController, resized

__all__ = ["Adaptive"]

_MOST = 1_000_000
_LEAST_RATIO = 0.5  # a smaller one can take a limit to nothing at once (vector, PR 21344)
_MOST_RATIO = 2.0
_LONGEST_BLOCK = 1000  # jobs, of which the average is within some percent of the truth
_MARGIN = 1.5  # standard errors by which the best of many averages is too low, where run times vary as waiting times do
_SHORTEST = 1e-4  # seconds; what takes less can't be measured well (Netflix's number), and nothing is divided by 0
_SLACK = 5  # times what is in use: nobody has tried a limit above that lately (failsafe-go's number)
_STALE = 10.0  # seconds for which it has to have been above that
_HELPED = 0.8  # of what a success cost before: with half the places, that shows that they were too many
_PROBED = 3  # times the evidence, for a baseline that may be higher than the one before
_JITTER = 0.15  # of the time to a probe, so that the processes of a service do not probe together (Envoy's number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adaptive:
    """Find the number of places with which a pool gets most out of what its jobs call, and follow it.

    Compared are what a success costs (the place-seconds in use, divided by the jobs that returned) and a baseline, the least
    that it has cost: `ratio = tolerance * baseline / cost`, from 0.5 to 2, and `places = ratio * places + √places / 2`,
    which settles a little above what the downstream bears. From a low number it doubles, up to half of where it was too high
    last. What chance may explain changes nothing.

    Time-outs and slow failures make a success dearer, as they use places and bring nothing; quick failures do not make it
    look cheap, and jobs that have not ended yet are counted with the rest, so that not only the short ones are seen. What
    the pool refuses or sheds is not counted: it tells of the demand, and a pool that shrank for it would shed still more.

    What keeps it from going wrong as adaptive limits have elsewhere:

    - It stays as it is while less than half of the places are in use: nothing can be learned then. When it has been more
      than five times what is in use, for ten seconds, it shrinks.
    - It never gets below 1 or `min_workers`: at most half of the places go at once, and jobs that started before a change do
      not count for the next one.
    - The baseline never rises by itself, or it would follow an overload upwards. Once a success has been too dear for
      long, half of the places are taken away for a moment, and half again while that makes it cheaper. What it costs then is
      the new baseline: what does not get better with fewer places is not theirs to mend.
    - Chance does not make the baseline much too low: it is the average of up to 1,000 successes, plus an allowance.

    Give a pool one kind of job: the average of different ones says nothing. Where latency rises long before throughput
    falls, and throughput is what counts, raise `tolerance`, to 2 for instance.

    Sources: Envoy's adaptive concurrency filter (the gradient, the root, probing with fewer places); Netflix
    concurrency-limits (nothing below half; its Gradient2 climbs without end where a time-out pins the latency, issue 137);
    failsafe-go (a limit relative to what is in use). The cost of a success instead of a latency is ours, by Little's law.

    Args:
        interval: seconds between two looks.
        evidence: how many jobs must have ended to judge by (Netflix's number).
        tolerance: how many times its baseline a success may cost before places are taken away, from 1. Less than Envoy's
            1.25, as the baseline has its allowance already.
        probe_after: after how many seconds at twice what it may cost a success has been too dear for long; the nearer it is
            to that, the later. A probe takes about two intervals, with half of the places.
        seed: of the generator that spreads the probes.
    """

    interval: float = 0.5
    evidence: int = 10
    tolerance: float = 1.1
    probe_after: float = 10.0
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "interval", _checks.seconds("interval", self.interval))
        object.__setattr__(self, "evidence", _checks.whole("evidence", self.evidence, "jobs", 1, _MOST))
        object.__setattr__(self, "tolerance", _checks.number("tolerance", self.tolerance, "times the baseline", 1, 100))
        object.__setattr__(self, "probe_after", _checks.seconds("probe_after", self.probe_after))
        object.__setattr__(self, "seed", _checks.whole("seed", self.seed, "of a generator", 0, 2**64))

    @property
    def on_submit(self) -> bool:
        """No: that jobs wait does not show that more places would help."""
        return False

    @property
    def while_idle(self) -> bool:
        """No: how many calls the downstream bears does not show while there are none."""
        return False

    def controller(self) -> ScalingController:
        """Return a new controller."""
        return _Adaptive(self)


class _Sample:
    """What became of jobs for some time."""

    __slots__ = ("busy_seconds", "ended", "succeeded")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.busy_seconds = 0.0
        self.ended = 0
        self.succeeded = 0

    def add(self, load: Load) -> None:
        self.busy_seconds += load.busy_seconds
        self.ended += load.succeeded + load.failed + load.timed_out
        self.succeeded += load.succeeded

    @property
    def cost(self) -> float:
        """Place-seconds per success."""
        return max(self.busy_seconds / self.succeeded, _SHORTEST) if self.succeeded else math.inf

    @property
    def mean(self) -> float:
        """Place-seconds per job: how long one takes, about."""
        return self.busy_seconds / self.ended if self.ended else 0.0


class _Baseline:
    """The least that a success has cost: the average of the best block of jobs, each block longer than the one before."""

    __slots__ = ("_block", "_evidence", "_length", "cost")

    def __init__(self, evidence: int) -> None:
        self._evidence = evidence
        self._block = _Sample()
        self.raise_to(math.inf)

    def raise_to(self, cost: float) -> None:
        """Begin anew."""
        self.cost = cost
        self._length = self._evidence
        self._block.clear()

    def learn(self, load: Load) -> None:
        """Lower it if a block has come to its end that was better."""
        block = self._block
        block.add(load)
        if block.succeeded >= self._length:
            self.cost = min(self.cost, block.cost * (1 + _MARGIN / math.sqrt(block.succeeded)))
            self._length = min(3 * self._length, _LONGEST_BLOCK)
            block.clear()


class _Probe:
    """How many places there were before a probe, what a success cost with them, and what it cost at the last step."""

    __slots__ = ("first", "last", "places")

    def __init__(self, places: int, cost: float) -> None:
        self.places = places
        self.first = self.last = cost


class _Adaptive:
    __slots__ = (
        "_baseline",
        "_changed_at",
        "_debt",
        "_dice",
        "_excess",
        "_policy",
        "_probe",
        "_probe_at",
        "_sample",
        "_too_many",
        "_used_at",
    )

    def __init__(self, policy: Adaptive) -> None:
        self._policy = policy
        self._dice = random.Random(policy.seed)  # noqa: S311  (a seed that repeats is what is wanted)
        self._baseline = _Baseline(policy.evidence)
        self._sample = _Sample()
        self._changed_at = self._used_at = -math.inf
        self._too_many = math.inf  # places, when they were last
        self._probe: _Probe | None = None
        self._excess = 0.0  # by how much a success is too dear at present
        self._debt = 0.0  # that, times for how long
        self._probe_at = self._when_to_probe()  # in the measure of the debt

    def decide(self, load: Load, /) -> Decision | None:
        sample = self._sample
        if self._is_stale(load):
            sample.clear()
            fewer = load.workers - math.isqrt(load.workers)
            return self._change(load, fewer, f"{load.peak_busy} of {load.workers} places in use")
        if self._probe is None and load.peak_busy * 2 < load.workers:
            return None
        sample.add(load)
        if load.now - self._changed_at < 2 * sample.mean:
            sample.clear()  # too many of these jobs started before the change
            return None
        decision = self._judge(load) if self._probe is None else self._go_on_probing(load, self._probe)
        if decision is not None or sample.ended >= _LONGEST_BLOCK:
            sample.clear()
        return decision

    def _is_stale(self, load: Load) -> bool:
        """Say whether there have been far more places than were in use for some time."""
        if load.peak_busy * _SLACK >= load.workers or self._used_at == -math.inf:
            self._used_at = load.now
        return load.now - self._used_at >= _STALE

    def _judge(self, load: Load) -> Decision | None:
        sample = self._sample
        unknown = self._baseline.cost == math.inf
        self._baseline.learn(load)
        self._debt += self._policy.interval * self._excess
        if sample.ended < self._policy.evidence:
            return None
        ratio = max(self._ratio(sample.cost), _LEAST_RATIO)
        self._excess = max(1 / ratio - 1, 0.0)
        if self._debt >= self._probe_at or (unknown and load.workers > load.min_workers):
            return self._start_probe(load, sample.cost)
        wanted = _places(load.workers, ratio)
        if ratio < 1:
            self._too_many = load.workers
        elif load.peak_busy >= load.workers and load.workers * 2 <= self._too_many:
            wanted = load.workers * 2
        if wanted > load.workers and sample.succeeded * 2 < sample.ended:
            return None  # most fail: more of that would be no use
        if abs(wanted - load.workers) * math.sqrt(sample.ended) < load.workers:  # one standard error
            return None
        reason = f"a success costs {sample.cost:.3g} place-seconds, at best {self._baseline.cost:.3g}"
        return self._change(load, wanted, reason)

    def _ratio(self, cost: float) -> float:
        """Return by what to multiply the places for a success to be cheap enough."""
        return 0.0 if cost == math.inf else min(self._policy.tolerance * self._baseline.cost / cost, _MOST_RATIO)

    def _when_to_probe(self) -> float:
        return self._policy.probe_after * self._dice.uniform(1 - _JITTER, 1 + _JITTER)

    def _start_probe(self, load: Load, cost: float) -> Decision | None:
        self._probe = _Probe(load.workers, cost)
        return self._halve(load) or self._end_probe(load, self._probe, cost)

    def _go_on_probing(self, load: Load, probe: _Probe) -> Decision | None:
        if self._sample.ended < self._policy.evidence * _PROBED:
            return None
        cost, before = self._sample.cost, probe.last
        probe.last = cost
        helped = cost < _HELPED * before or cost == math.inf
        return (helped and self._halve(load)) or self._end_probe(load, probe, min(cost, before))

    def _halve(self, load: Load) -> Decision | None:
        """Take half of the places away; None where there can't be fewer."""
        return self._change(load, load.workers // 2, "is a success cheaper with fewer places?")

    def _end_probe(self, load: Load, probe: _Probe, cost: float) -> Decision | None:
        """Take what a success costs now for the baseline, and give back as many places as that allows."""
        self._probe, self._too_many = None, math.inf
        self._excess, self._debt, self._probe_at = 0.0, 0.0, self._when_to_probe()
        if cost < math.inf:
            self._baseline.raise_to(cost)
        wanted = max(load.workers, _places(probe.places, self._ratio(probe.first)))
        return self._change(load, wanted, f"a success costs {cost:.3g} place-seconds with {load.workers} places")

    def _change(self, load: Load, workers: int, reason: str) -> Decision | None:
        decision = resized(load, workers, reason)
        if decision is not None:
            self._changed_at = load.now
        return decision


def _places(places: int, ratio: float) -> int:
    wanted = int(ratio * places + math.sqrt(places) / 2)
    return max(wanted, places + 1) if ratio >= 1 else wanted
