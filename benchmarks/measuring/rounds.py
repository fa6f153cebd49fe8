"""Rounds: contestants take turns, and only what happened in one round is compared."""

from __future__ import annotations

import gc
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

__all__ = ["Spread", "interleaved", "paired", "percentile"]


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some figures and their quartiles."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Find the quartiles of at least one figure."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(low, median, high)


def paired(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """Divide what one took by what another took, round by round.

    The median of these is robust against a machine that is slower at times, which the ratio of two medians is not.
    """
    return [one / other for one, other in zip(over, under, strict=True)]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the least of the values that so large a share of them does not exceed (nearest rank)."""
    if not 0 < share <= 1:
        raise ValueError(f"share must be over 0 and at most 1, got {share!r}")
    ordered = sorted(values)
    rank = -int(-share * len(ordered) // 1)  # rounded up
    return ordered[rank - 1]


async def interleaved(
    rounds: int, runs: Mapping[str, Callable[[], Awaitable[float]]], *, warm_up: bool = True, collect: bool = True
) -> dict[str, list[float]]:
    """Let each take its turn (A B C A B C ...), so many times, and return what each turn gave.

    The garbage of one turn is collected before the next begins, so that nobody pays for another's; within a turn the
    collector works as it does in a service. With so many objects that this takes seconds, it can be left out.
    """
    results: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(-1 if warm_up else 0, rounds):
        for name, run in runs.items():
            if collect:
                gc.collect()
            figure = await run()
            if number >= 0:
                results[name].append(figure)
    return results
