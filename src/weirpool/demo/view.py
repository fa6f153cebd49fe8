"""What is shown while the demo runs: a live panel on a terminal, a line per second anywhere else."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LiveView", "Numbers", "PlainView", "View"]

_RATE_OVER = 2.0  # seconds
_WIDTH = 76


@dataclass(frozen=True, slots=True)
class Numbers:
    """What there is to see at one moment: the pool's statistics, the client's progress, and the rate of deliveries."""

    events: int
    answered: int
    accepted: int
    queued: int
    queue_size: int
    running: int
    workers: int
    delivered: int
    failed: int
    timed_out: int
    cancelled: int
    refused: int
    rate: float


class View:
    """Make numbers out of what the service tells, and show them; this base class shows nothing."""

    def __init__(self, events: int) -> None:
        self.phase: str = ""
        self._events = events
        self._began = time.monotonic()
        self._past: deque[tuple[float, int]] = deque()

    @property
    def elapsed(self) -> float:
        """Seconds since the view was made."""
        return time.monotonic() - self._began

    def enter(self, phase: str) -> None:
        """Show that the run has come to its next phase."""
        self.phase = phase

    def update(self, stats: Mapping[str, Any], answered: int) -> None:
        """Show how the pool is doing, and how many events the client has an answer for."""
        now, delivered = self.elapsed, stats["succeeded"]
        past = self._past
        past.append((now, delivered))
        while len(past) > 2 and past[1][0] <= now - _RATE_OVER:
            past.popleft()
        since, before = past[0]
        self.show(
            Numbers(
                events=self._events,
                answered=answered,
                accepted=stats["accepted"],
                queued=stats["queued"],
                queue_size=stats["queue_size"],
                running=stats["running"],
                workers=stats["max_workers"],
                delivered=delivered,
                failed=stats["failed"],
                timed_out=stats["timed_out"],
                cancelled=stats["cancelled"] + stats["abandoned"],
                refused=sum(stats["refused"].values()),
                rate=(delivered - before) / (now - since) if now > since else 0.0,
            )
        )

    def show(self, numbers: Numbers) -> None:
        """Show numbers."""

    def finish(self, text: str, fine: bool) -> None:
        """Show the account, when all is over."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class PlainView(View):
    """Print a line per second and per phase."""

    def __init__(self, events: int) -> None:
        super().__init__(events)
        self._due = 0.0

    def enter(self, phase: str) -> None:
        """Print the phase."""
        super().enter(phase)
        self._due = 0.0
        print(f"[{self.elapsed:5.1f} s] {phase}", flush=True)

    def show(self, numbers: Numbers) -> None:
        """Print the numbers, if the last ones are a second old or of another phase."""
        if self.elapsed < self._due:
            return
        self._due = self.elapsed + 1.0
        n = numbers
        print(
            f"[{self.elapsed:5.1f} s] accepted {n.accepted:,}  queued {n.queued:,}  running {n.running:,}"
            f"  delivered {n.delivered:,}  failed {n.failed:,}  timed out {n.timed_out:,}  cancelled {n.cancelled:,}"
            f"  refused {n.refused:,}  rate {n.rate:.0f}/s",
            flush=True,
        )

    def finish(self, text: str, fine: bool) -> None:  # noqa: ARG002  (the text says it)
        """Print the account."""
        print(text, flush=True)


class LiveView(View):
    """Draw a panel on a terminal, and redraw it in place."""

    def __init__(self, events: int, console: Console | None = None) -> None:
        super().__init__(events)
        self._console = console or Console(highlight=False)
        self._live = Live(console=self._console, auto_refresh=False)
        self._numbers: Numbers | None = None

    def enter(self, phase: str) -> None:
        """Show the phase on top of the panel."""
        super().enter(phase)
        self._draw()

    def show(self, numbers: Numbers) -> None:
        """Show the numbers in the panel."""
        self._numbers = numbers
        self._draw()

    def finish(self, text: str, fine: bool) -> None:
        """Print the account below the panel, its last line in green or all of it in red."""
        head, _, last = text.rpartition("\n")
        self._console.print(Text(head, style="" if fine else "red"), soft_wrap=True)
        self._console.print(Text(last, style="bold green" if fine else "bold red"), soft_wrap=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def _draw(self) -> None:
        parts = [Text(f"{self.elapsed:5.1f} s  {self.phase}", style="bold", overflow="ellipsis", no_wrap=True)]
        n = self._numbers
        body = Group(*parts) if n is None else Group(*parts, Text(), _bars(n), Text(), _counts(n))
        width = min(_WIDTH, self._console.width)
        self._live.update(Panel(body, title="weirpool demo", title_align="left", width=width), refresh=True)


def _bars(n: Numbers) -> Table:
    """Draw how far the client is, and how full the pool is."""
    bars = Table.grid(padding=(0, 1))
    bars.add_column(width=8)
    bars.add_column()
    bars.add_column()
    bars.add_row("client", _bar(n.answered, n.events), f"{n.answered:,} of {n.events:,} events dealt with")
    bars.add_row("queue", _bar(n.queued, n.queue_size), f"{n.queued:,} of {n.queue_size:,} queued")
    bars.add_row("workers", _bar(n.running, n.workers), f"{n.running:,} of {n.workers:,} running")
    return bars


def _bar(count: int, of: int) -> ProgressBar:
    return ProgressBar(total=max(of, 1), completed=count, width=26, finished_style="bar.complete")


def _counts(n: Numbers) -> Table:
    counts = Table.grid(padding=(0, 3), expand=True)
    for style in ("cyan", "green", "yellow"):
        counts.add_column(style=style)
    counts.add_row(f"accepted {n.accepted:>7,}", f"delivered {n.delivered:>7,}", f"refused {n.refused:>7,} (503)")
    counts.add_row(f"queued   {n.queued:>7,}", f"failed    {n.failed:>7,}", f"rate    {n.rate:>7.0f} deliveries/s")
    counts.add_row(f"running  {n.running:>7,}", f"timed out {n.timed_out:>7,}", f"cancelled {n.cancelled:>5,}")
    return counts
