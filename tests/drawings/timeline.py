"""A recorded shutdown as a picture: a row for each job, the time from left to right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.drawings.shutdown import GRACE, SHUTDOWN
from tests.drawings.svg import Picture
from weirpool import JobState, PoolState

if TYPE_CHECKING:
    from tests.drawings.shutdown import Record, Span

__all__ = ["timeline"]

LEFT, SECOND, TOP, ROW, BAR = 92, 44, 78, 36, 16
END = 12.6  # of the axis, in seconds
ABOUT = (
    "A pool with three places is closed while six jobs run or wait. What was accepted runs on until only cancel_grace is "
    "left. Then the queue is cancelled, and what runs; a job that ignores that is abandoned, and aclose() returns in time."
)


def x(seconds: float) -> float:
    """Return where a time is."""
    return LEFT + seconds * SECOND


def timeline(record: Record) -> str:
    """Draw what was recorded."""
    assert record.report is not None
    rows = len(record.spans) + len(record.refused)
    bottom = TOP + rows * ROW + 6
    picture = Picture(860, bottom + 76, "A shutdown, job by job", ABOUT)
    closing, cancelling = record.moves[PoolState.DRAINING], record.moves[PoolState.CANCELLING]
    for start, end, words in (
        (closing, cancelling, f"drain: shutdown_timeout - cancel_grace, {SHUTDOWN - GRACE:g} s"),
        (cancelling, record.returned, f"grace, {GRACE:g} s"),
    ):
        picture.box(x(start) + 2, 40, (end - start) * SECOND - 4, 24, "phase", radius=4)
        picture.text(x((start + end) / 2), 57, words, "dim", "middle")
    for at, words, anchor in (
        (closing, "aclose(): intake is closed", "middle"),
        (cancelling, "cancel", "middle"),
        (record.returned, "returned", "middle"),
    ):
        picture.path(f"M{x(at):g} 36V{bottom}", "line")
        picture.text(x(at), 24, words, anchor=anchor)
    for number, span in enumerate(record.spans.values()):
        row(picture, TOP + number * ROW, span, record.returned)
    for number, (at, reason) in enumerate(record.refused, len(record.spans)):
        middle = TOP + number * ROW + ROW / 2
        picture.text(LEFT - 12, middle + 5, "late", anchor="end")
        picture.path(f"M{x(at) - 5:g} {middle - 5:g}l10 10m0 -10l-10 10", "cross")
        picture.text(x(at) + 14, middle + 5, f"refused: PoolClosed ({reason})", "no")
    picture.path(f"M{LEFT} {bottom}H{x(END):g}", "axis")
    for second in range(0, int(END) + 1, 2):
        picture.path(f"M{x(second):g} {bottom}v5", "axis")
        picture.text(x(second), bottom + 20, f"{second} s" if second else "0", "dim", "middle")
    legend(picture, bottom + 46)
    return str(picture)


def row(picture: Picture, top: float, span: Span, returned: float) -> None:
    """Draw a job: how it waits, runs, and what it does when it is cancelled; and what became of it."""
    middle = top + ROW / 2
    picture.text(LEFT - 12, middle + 5, span.name, anchor="end")

    def bar(start: float, end: float, kind: str) -> None:
        if end > start:
            inset = 1 if kind == "waits" else 0
            place = (x(start) + inset, middle - BAR / 2 + inset, (end - start) * SECOND - 2 * inset, BAR - 2 * inset)
            picture.box(*place, kind, radius=3)

    start = span.ended if span.started is None else span.started
    bar(span.accepted, start, "waits")
    bar(start, span.ended if span.cancelled is None else span.cancelled, "runs")
    if span.cancelled is not None:
        bar(span.cancelled, span.ended, "hangs" if span.state is JobState.ABANDONED else "cleans")
    picture.lines(x(returned) + 14 + (SECOND * 0.6), middle + (5 if len(said(span)) == 1 else -3), said(span), tone(span))


def said(span: Span) -> list[str]:
    """Say what became of a job."""
    if span.state is JobState.ABANDONED:
        return ["abandoned, and named", "in the report"]
    if span.state is JobState.CANCELLED:
        return ["cancelled in the queue"] if span.started is None else ["cancelled while it ran"]
    return [span.state.value]


def tone(span: Span) -> str:
    """Return the class of that text."""
    return "no" if span.state is JobState.ABANDONED else "dim"


def legend(picture: Picture, top: float) -> None:
    """Say what the bars mean."""
    left: float = LEFT
    for kind, words in (
        ("waits", "waits"),
        ("runs", "runs"),
        ("cleans", "cancelled, cleans up"),
        ("hangs", "ignores its cancellation"),
    ):
        picture.box(left, top, 26, 12, kind, radius=3)
        picture.text(left + 34, top + 11, words, "dim")
        left += 54 + 7.2 * len(words) + 12
