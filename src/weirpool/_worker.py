"""A worker, as a job sees it: what the pool's `worker_context` has made for it."""

from __future__ import annotations

from typing import Any

from ._run import current_run

__all__ = ["Worker", "current_worker"]


class Worker:
    """A worker of a pool that was made with `worker_context`; `current_worker()` returns that of the job that calls it.

    Attributes:
        number: the first that its pool started is 1.
        resource: what entering its context has returned; None when that has been left.
        jobs: how many jobs have been done with it.
        discarded: whether it is to be replaced.
    """

    __slots__ = ("discarded", "jobs", "number", "resource")

    def __init__(self, number: int) -> None:
        self.number: int = number
        self.resource: Any = None
        self.jobs: int = 0
        self.discarded: bool = False

    def discard(self) -> None:
        """Have the worker replaced when the job that calls this has ended: its context is left, and another one entered.

        For a job that finds its connection broken. The job itself goes on; calling this again changes nothing.
        """
        self.discarded = True

    def __repr__(self) -> str:
        return f"<Worker {self.number}: {self.jobs} jobs{', discarded' if self.discarded else ''}>"


def current_worker() -> Worker:
    """Return the worker of the job that runs the caller, in a pool that was made with `worker_context`.

    ::

        async def query(sql: str) -> list[Row]:
            return await current_worker().resource.fetch(sql)

    It is the job's own until the job ends, and may be asked for in the job's tasks and threads.

    Raises:
        RuntimeError: called outside of any job, after its job has ended, or in a job of a pool without `worker_context`.
    """
    run = current_run()
    job = None if run is None else run.job
    owner = None if job is None else job.owner
    if run is None or owner is None:
        raise RuntimeError(
            "current_worker() was called outside of any job, or where the job has ended: only what a job calls has a worker"
        )
    worker = owner.worker_of(run)
    if worker is None:
        raise RuntimeError(
            "current_worker() was called in a job of a pool whose workers have nothing of their own: "
            "make it with WorkerPool(worker_context=...)"
        )
    return worker
