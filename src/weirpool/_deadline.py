"""How much time is left: for the job that runs the caller, and for code whose jobs have to keep to a bound."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from . import _checks
from ._run import CURRENT, Run, Within, current_run

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

__all__ = ["deadline_scope", "inherited", "remaining"]


@contextmanager
def deadline_scope(deadline: float | None) -> Iterator[None]:
    """Give the jobs that are submitted within the block no more time than until `deadline`, queueing included.

    ::

        with deadline_scope(loop.time() + 2):  # what this request may take
            user = await pool.run(fetch_user, id)
            posts = await pool.run(fetch_posts, id)

    `remaining()` says what is left of it. It counts for what the block calls and for the tasks that it starts, to any pool of
    this event loop. A tighter deadline counts, be it of a block around this one, of the job that this is in, or of the
    submission. The code in the block is not interrupted: that is what `asyncio.timeout_at` is for.

    Args:
        deadline: on the loop's clock, as with `asyncio.timeout_at`. None: whatever blocks around this one say does not count
            within, for jobs that are to outlive what submits them. The deadline of a job that this is in always does.

    Raises:
        TypeError: `deadline` is of the wrong kind.
        ValueError: `deadline` is out of its range.
        RuntimeError: no event loop is running.
    """
    loop = _checks.running_loop()
    if loop is None:
        raise RuntimeError("deadline_scope() needs a running event loop, on whose clock the deadline is")
    if deadline is not None:
        deadline = _checks.loop_time("deadline", deadline, loop.time())
    around = CURRENT.get()
    if isinstance(around, Within) and deadline is not None:
        deadline = _tighter(deadline, around, loop)
    token = CURRENT.set(Within(deadline, loop, current_run()))
    try:
        yield
    finally:
        CURRENT.reset(token)


def remaining() -> float | None:
    """Return how much time is left, to pass on to what the caller calls: until the end of its job's, or of a `deadline_scope`.

    Returns:
        Seconds, never below 0; None when there is no deadline.
    """
    around = CURRENT.get()
    if around is None:
        callee = sys.modules.get("weirpool._callee")  # there in a process or an interpreter of a job
        left: float | None = None if callee is None else callee.remaining()
        return left
    run = current_run()
    if isinstance(around, Within):
        loop = around.loop
    elif run is None or run.job is None or run.job.owner is None:
        return None
    else:
        loop = run.job.owner.loop
    due = inherited(around, None, loop)
    return None if due is None else max(0.0, due - loop.time())


def inherited(around: Run | Within, deadline: float | None, loop: asyncio.AbstractEventLoop) -> float | None:
    """Return the earliest of a deadline, that of the scope in which a job is submitted, and that of the job that submits it.

    A scope and a job on another clock do not count, nor does a job that has ended.
    """
    run: Run | None
    if isinstance(around, Within):
        deadline = _tighter(deadline, around, loop)
        run = around.run
    else:
        run = around
    if run is None or run.due is None or run.job is None or run.job.owner is None or run.job.owner.loop is not loop:
        return deadline
    return run.due if deadline is None else min(deadline, run.due)


def _tighter(deadline: float | None, scope: Within, loop: asyncio.AbstractEventLoop) -> float | None:
    due = scope.due_on(loop)
    if due is None:
        return deadline
    return due if deadline is None else min(deadline, due)
