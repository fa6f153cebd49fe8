"""Jobs that would wait for each other for ever, which is found out when the last of them begins to.

Who waits for a place is no part of such a circle: places are lent (see `_lending`). What is left are jobs that wait for each
other's end, and jobs of one key: the next may not start before one of those that run has ended.
"""

from __future__ import annotations

from asyncio import Future
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._job import Job
    from ._run import Run

__all__ = ["refuse_circle"]


def refuse_circle(run: Run, job: Job) -> None:
    """Refuse to wait from inside a job for another that can't end before that one has.

    Args:
        run: the run of the job that is about to wait.
        job: what it is about to wait for; it may be one that was not accepted yet.

    Raises:
        RuntimeError: it would wait for ever.
    """
    me = run.job
    if me is job:
        raise RuntimeError(f"job {job.name!r} waits for itself; it would wait for ever")
    if me is None or job.owner is None or not _matters(me):
        return
    ahead = _needs(job)
    if not ahead or _can_end(me, job):
        return
    if job.run is not None:
        raise RuntimeError(f"job {me.name!r} would wait for ever for {job.name!r}, which waits for it, maybe by way of others")
    assert job.ticket is not None
    raise RuntimeError(
        f"job {me.name!r} would wait for ever for one that has the same key ({job.ticket.key!r}) as "
        f"{ahead[0].name!r}, which must end first: give one of them another key, or set key_limit above {len(ahead)}"
    )


def _matters(job: Job) -> bool:
    """Say whether others may have to wait for a job to end: without that it closes no circle."""
    waiters: Sequence[object] = job.waiters if isinstance(job.waiters, list) else (job.waiters,)
    return (job.ticket is not None and job.ticket.key is not None) or any(
        each is not None and type(each) is not Future for each in waiters
    )


def _needs(job: Job) -> list[Job]:
    """Return the jobs that a running job waits for, all of which must end; or those of which one must end for it to start."""
    if job.run is not None:
        loan = job.run.loan
        return [] if loan is None else [target for wait in loan.waits for target in wait.targets]
    return [] if job.owner is None else job.owner.ahead_of(job)


def _has_limit(job: Job) -> bool:
    """Say whether a job's time will be over one day; that to run does not pass in the queue."""
    return job.deadline is not None or (job.timeout is not None and job.run is not None)


def _can_end(me: Job, other: Job) -> bool:
    """Say whether a job can end that waits for another, as far as the jobs know whom they wait for.

    That a deadline will end one of those that wait is an end, too.
    """
    if me not in _reached(other, {}):  # so this wait closes no circle, and nearly all end here
        return True
    needs = _reached(me, {me: [*_needs(me), other]})
    wanted_by: dict[Job, list[Job]] = {}
    for job, those in needs.items():
        for each in those:
            wanted_by.setdefault(each, []).append(job)
    # From those that wait for nobody, so that what is left are the circles.
    missing = {job: 0 if _has_limit(job) else len(each) if job.run else min(1, len(each)) for job, each in needs.items()}
    able = [job for job, number in missing.items() if not number]
    for job in able:
        for each in wanted_by.get(job, ()):
            missing[each] -= 1
            if not missing[each]:
                able.append(each)
    return missing[me] <= 0


def _reached(first: Job, needs: dict[Job, list[Job]]) -> dict[Job, list[Job]]:
    """Return whom a job needs, whom these need, and so on, each with whom it needs; what is known already is kept."""
    needs.setdefault(first, _needs(first))
    todo = [first]
    for job in todo:
        for each in needs[job]:
            if each not in needs:
                needs[each] = _needs(each)
                todo.append(each)
    return needs
