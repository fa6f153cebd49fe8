"""What the figures have to be, and the margins of the regression guard: all of it is here, and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .report import Report

__all__ = [
    "BARS",
    "FLOOD",
    "FORGET",
    "GOODPUT",
    "GUARD",
    "MAP",
    "MAP_MEMORY",
    "OVERLOAD_P99",
    "ROUND_TRIP",
    "TELEMETRY",
    "Bar",
    "Verdict",
    "judge",
    "judged",
    "verdicts",
]

ROUND_TRIP = "with a deadline"
FLOOD = "with a deadline"
FORGET = "handles dropped"
GOODPUT = "goodput in the burst"
OVERLOAD_P99 = "p99 in the burst"
TELEMETRY = "round trip"
MAP = "a batch, with a deadline"
MAP_MEMORY = "an endless source: growth of the process"


@dataclass(frozen=True, slots=True)
class Bar:
    """Hold a figure, or the ratio of two, to a limit.

    Args:
        question: the script that measures it.
        what: it is, in words.
        table: its title.
        over: whose figure it is; if there is an `under`, this is divided by that one's.
        under: see `over`.
        limit: what it is at most.
        reach: what would be good.
    """

    question: str
    what: str
    table: str
    over: str
    under: str | None
    limit: float
    reach: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Say what a bar was held against."""

    bar: Bar
    measured: float | None  # None: it was not

    @property
    def held(self) -> bool:
        """Whether the bar held."""
        return self.measured is not None and self.measured <= self.bar.limit

    @property
    def word(self) -> str:
        """The verdict."""
        if self.measured is None:
            return "not measured"
        return "no" if not self.held else "held" if self.measured > self.bar.reach else "reached"


BARS = (
    Bar("round_trip", "round trip, against Semaphore + timeout", ROUND_TRIP, "weirpool", "Semaphore", 1.45, 1.20),
    Bar("round_trip", "round trip, against Queue workers + timeout", ROUND_TRIP, "weirpool", "Queue workers", 1.50, 1.25),
    Bar("round_trip", "round trip, against anyio limiter + fail_after", ROUND_TRIP, "weirpool", "anyio", 0.80, 0.65),
    Bar("round_trip", "round trip, against aiojobs", ROUND_TRIP, "weirpool", "aiojobs", 0.60, 0.48),
    Bar("flood", "flood, against aiometer", FLOOD, "weirpool", "aiometer", 0.4, 0.3),
    Bar("flood", "flood, against aiojobs", FLOOD, "weirpool", "aiojobs", 0.7, 0.5),
    Bar("flood", "flood, against TaskGroup + Semaphore", FLOOD, "weirpool", "TaskGroup + Semaphore", 0.9, 0.7),
    Bar("map", "map, against aiometer's amap", MAP, "weirpool", "aiometer", 0.5, 0.4),
    Bar("map", "map, against anyio's limiter + task group", MAP, "weirpool", "anyio", 0.5, 0.4),
    Bar("map", "growth over the endless source, in MB", MAP_MEMORY, "weirpool", None, 5, 1),
    Bar("depth", "a queue of 1,000,000, against one of 1,000", "weirpool", "1,000,000", "1,000", 1.15, 1.0),
    Bar("width", "10,000 workers, against 100", "weirpool", "10,000", "100", 1.3, 1.0),
    Bar("memory", "bytes per queued job", "queued job", "weirpool", None, 400, 250),
    Bar(
        "overload",
        "goodput of the best fixed size, against Adaptive + CoDel",
        GOODPUT,
        "best fixed + CoDel",
        "Adaptive + CoDel",
        1.11,
        1.05,
    ),
    Bar(
        "overload", "p99 of Adaptive + CoDel, against the unloaded one", OVERLOAD_P99, "Adaptive + CoDel", "unloaded", 3.0, 2.0
    ),
    Bar("telemetry", "OpenTelemetry without an SDK, against none", TELEMETRY, "no SDK", "no telemetry", 1.02, 1.0),
    Bar("telemetry", "metrics, against one record by hand", TELEMETRY, "metrics", "a record by hand", 1.05, 1.0),
    Bar("telemetry", "traces, against a span by hand", TELEMETRY, "traces", "a span by hand", 1.15, 1.0),
    Bar("idle", "wake-ups of an idle pool, per second", "idle pool", "weirpool", None, 0, 0),
    Bar("start", "import, against that of what it is built on", "import", "weirpool", "foundation", 1.3, 1.15),
)

# Far beyond what is measured, so that only a real regression fails, and no busy neighbour on a machine of CI. A second
# measurement, twice as long, has to confirm it.
GUARD = (
    Bar("round_trip", "round trip, against Semaphore + timeout", ROUND_TRIP, "weirpool", "Semaphore", 2.0, 1.45),
    Bar("depth", "a queue of 100,000, against one of 1,000", "weirpool", "100,000", "1,000", 1.5, 1.15),
)


def judge(bar: Bar, report: Report | None) -> Verdict:
    """Hold one bar against what was measured."""
    table = None if report is None else report.table(bar.table)
    if table is None or bar.over not in table.rounds or (bar.under is not None and bar.under not in table.rounds):
        return Verdict(bar, None)
    spread = table.spread(bar.over) if bar.under is None else table.ratio(bar.over, bar.under)
    return Verdict(bar, None if spread is None else spread.median)


def verdicts(found: Iterable[Verdict]) -> str:
    """Return the table of verdicts."""
    rows = [("question", "measured", "bar", "reach for", "held")]
    rows += [
        (
            verdict.bar.what,
            "-"
            if verdict.measured is None
            else f"{verdict.measured:,.3g}"
            if verdict.bar.limit < 10
            else f"{verdict.measured:,.0f}",
            f"{verdict.bar.limit:g}",
            f"{verdict.bar.reach:g}",
            verdict.word,
        )
        for verdict in found
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        f"{row[0]:{widths[0]}}  " + "  ".join(f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in rows
    )


def judged(bars: Iterable[Bar], reports: Mapping[str, Report]) -> list[Verdict]:
    """Hold each bar against the report on its question, if there is one."""
    return [judge(bar, reports.get(bar.question)) for bar in bars]
