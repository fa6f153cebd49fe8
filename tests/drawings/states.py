"""The states of jobs and pools: the arrows are those of the tables, and only where a box stands is decided here."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from tests.drawings.svg import Picture
from weirpool._lifecycle import JOB_MOVES, POOL_MOVES, JobState, PoolState

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["job_states", "pool_states"]

State = TypeVar("State", JobState, PoolState)

BOX, TALL = 112, 40

JOBS: dict[JobState, tuple[float, float, list[str]]] = {  # its box's left and middle, and what is so in there
    JobState.QUEUED: (44, 152, ["accepted, and", "waits for a place"]),
    JobState.RUNNING: (256, 112, ["has a place, and", "a task of its own"]),
    JobState.SUCCEEDED: (470, 30, ["returned in time"]),
    JobState.FAILED: (470, 84, ["raised"]),
    JobState.ABANDONED: (470, 138, ["ignored its cancellation", "for cancel_grace"]),
    JobState.TIMED_OUT: (470, 192, ["its time was over, while it ran", "or while it waited"]),
    JobState.CANCELLED: (470, 246, ["by cancel(), by itself,", "or as the pool closed"]),
}

POOLS: dict[PoolState, tuple[float, list[str]]] = {  # its box's left, and what is so in there
    PoolState.NEW: (44, ["made; nothing", "runs yet"]),
    PoolState.OPEN: (212, ["entered: takes", "and runs jobs"]),
    PoolState.DRAINING: (380, ["intake is closed;", "what was accepted", "runs to its end"]),
    PoolState.CANCELLING: (548, ["cancel_grace is left:", "the queue is cancelled,", "and what runs"]),
    PoolState.CLOSED: (728, ["pool.report has", "the account"]),
}


def told(kind: str, states: type[State], moves: Mapping[State, frozenset[State]]) -> str:
    """Say the table in words."""
    parts = [
        f"{state.value} may become {', '.join(after.value for after in states if after in moves[state])}"
        if moves[state]
        else f"{state.value} is an end"
        for state in states
    ]
    return f"The states of a {kind}: {'; '.join(parts)}."


def job_states() -> str:
    """Draw what may become of a job."""
    picture = Picture(860, 290, "What may become of a job", told("job", JobState, JOB_MOVES))
    left, middle, _ = JOBS[JobState.QUEUED]
    running, beside, _ = JOBS[JobState.RUNNING]
    picture.dot(14, middle)
    picture.path(f"M21 {middle:g}H{left - 2:g}")
    into = beside - 8
    picture.path(
        f"M14 {middle - 7:g}V50Q14 40 24 40H208Q218 40 218 50V{into - 10:g}Q218 {into:g} 228 {into:g}H{running - 2:g}"
    )
    picture.text(26, 30, "a place is free", "dim")
    for state, (x, y, words) in JOBS.items():
        end = not JOB_MOVES[state]
        picture.box(x, y - TALL / 2, BOX, TALL, "last" if end else "box")
        picture.text(x + BOX / 2, y + 5, state.value, anchor="middle")
        if end:
            picture.lines(x + BOX + 14, y + 5 - 8 * (len(words) - 1), words)
        else:
            picture.lines(x, y - TALL / 2 - 29, words)
        for after in JobState:
            if after in JOB_MOVES[state]:
                picture.path(job_arrow(state, after))
    return str(picture)


def job_arrow(was: JobState, now: JobState) -> str:
    """Return the way of an arrow: from the right of a box to the left of another, below `running` where that is in between."""
    x, y, _ = JOBS[was]
    to_x, to_y, _ = JOBS[now]
    if was is JobState.QUEUED and now is not JobState.RUNNING:
        drop = 24 if now is JobState.TIMED_OUT else 0
        start_x = x + (78 if drop else 34)
        corner = f"C{start_x:g} {to_y + 6:g} {start_x + 30:g} {to_y:g} {start_x + 110:g} {to_y:g}"
        return f"M{start_x:g} {y + TALL / 2:g}{corner}H{to_x - 2:g}"
    start, end = x + BOX, to_x - 2
    bend = (end - start) / 2
    return f"M{start:g} {y:g}C{start + bend:g} {y:g} {end - bend:g} {to_y:g} {end:g} {to_y:g}"


def pool_states() -> str:
    """Draw what may become of a pool."""
    picture = Picture(860, 214, "What may become of a pool", told("pool", PoolState, POOL_MOVES))
    middle = 104
    order = list(POOLS)
    picture.dot(14, middle)
    picture.path(f"M21 {middle}H{POOLS[PoolState.NEW][0] - 2:g}")
    for place, (state, (x, words)) in enumerate(POOLS.items()):
        picture.box(x, middle - TALL / 2, BOX, TALL, "box" if POOL_MOVES[state] else "last")
        picture.text(x + BOX / 2, middle + 5, state.value, anchor="middle")
        picture.lines(x + BOX / 2, middle + TALL / 2 + 22, words, anchor="middle")
        for after in order:
            if after not in POOL_MOVES[state]:
                continue
            to = POOLS[after][0]
            if order.index(after) == place + 1:
                picture.path(f"M{x + BOX:g} {middle}H{to - 2:g}")
            else:  # above what it leaves out
                top = 20 if state is PoolState.NEW else 52
                start, end = x + BOX / 2, to + (BOX * 2 / 3 if state is PoolState.NEW else BOX / 3)
                picture.path(
                    f"M{start:g} {middle - TALL / 2:g}V{top + 10}Q{start:g} {top} {start + 10:g} {top}"
                    f"H{end - 10:g}Q{end:g} {top} {end:g} {top + 10}V{middle - TALL / 2 - 2:g}"
                )
    picture.text(POOLS[PoolState.NEW][0] + BOX / 2 + 14, 38, "closed without having been entered", "dim")
    picture.text(POOLS[PoolState.DRAINING][0] + BOX / 2 + 14, 70, "all jobs have ended", "dim")
    return str(picture)
