"""What must hold: bars with a verdict each, and a count of what must never happen."""

from __future__ import annotations

import faulthandler
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Bar", "Mistakes", "Result", "at_most", "exactly", "patient", "say", "table"]

_EXAMPLES = 10
_patience = 60.0


def patient(seconds: float) -> None:
    """Set for how long nothing may be said: then a part stands still, shows where, and ends as a failure."""
    global _patience  # noqa: PLW0603
    _patience = seconds
    faulthandler.dump_traceback_later(_patience, exit=True)


def say(text: str) -> None:
    """Print how it goes, which shows that it does."""
    print(text, flush=True)
    faulthandler.dump_traceback_later(_patience, exit=True)


@dataclass(frozen=True, slots=True)
class Bar:
    """Say what was measured, what it had to be, and whether it is."""

    what: str
    measured: str
    wanted: str
    held: bool


def at_most(what: str, value: float, limit: float, unit: str = "") -> Bar:
    """Hold a figure to a limit."""
    return Bar(what, f"{value:,.4g} {unit}".rstrip(), f"at most {limit:,.4g} {unit}".rstrip(), value <= limit)


def exactly(what: str, value: int, wanted: int) -> Bar:
    """Hold a count to the one that it must be."""
    return Bar(what, f"{value:,}", f"{wanted:,}", value == wanted)


@dataclass(slots=True)
class Result:
    """What came of one part: the figures, for the record, and the bars."""

    part: str
    figures: dict[str, Any]
    bars: list[Bar]

    def plain(self) -> dict[str, Any]:
        """Return it as what JSON has."""
        return asdict(self)


@dataclass(slots=True)
class Mistakes:
    """Count what must never happen, and show the first of it; memory stays flat, however much of it happens."""

    counts: Counter[str] = field(default_factory=Counter)

    def note(self, what: str, detail: object = "") -> None:
        """Note one mistake of a kind."""
        self.counts[what] += 1
        if self.counts.total() <= _EXAMPLES:
            print(f"  MISTAKE: {what}: {detail}", flush=True)

    def bar(self) -> Bar:
        """Say that there were none."""
        kinds = "; ".join(f"{count:,} x {what}" for what, count in self.counts.most_common(3))
        return Bar("mistakes", kinds or "none", "none", not self.counts)


def table(results: list[dict[str, Any]]) -> str:
    """Return the verdicts of all parts, one line each."""
    rows = [(result["part"], Bar(**bar)) for result in results for bar in result["bars"]]
    widths = [max(len(bar.what) for _, bar in rows), max(len(bar.measured) for _, bar in rows)]
    lines = [
        f"{'ok  ' if bar.held else 'FAIL'}  {part:8} {bar.what:{widths[0]}}  {bar.measured:>{widths[1]}}   ({bar.wanted})"
        for part, bar in rows
    ]
    failed = sum(not bar.held for _, bar in rows)
    return "\n".join([*lines, f"{len(rows)} bars, {failed} failed"])
