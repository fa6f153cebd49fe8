"""What pools say of themselves, as values for JSON."""

from __future__ import annotations

import time
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from weirpool import PoolState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from weirpool import RunningJob, WorkerPool

__all__ = ["numbers", "readiness"]

_MOST_JOBS = 100


def numbers(pools: Iterable[WorkerPool]) -> dict[str, Any]:
    """Return the statistics of pools, the jobs that have been running longest, the strays, and what jobs have failed with."""
    return {"at": time.time(), "pools": [_pool(pool) for pool in pools]}


def _pool(pool: WorkerPool) -> dict[str, Any]:
    stats = pool.stats()
    return {
        **asdict(stats),
        "state": stats.state.value,
        "running_jobs": [_job(job) for job in pool.running(_MOST_JOBS)],
        "stray_jobs": [asdict(stray) for stray in pool.strays()[:_MOST_JOBS]],
        "failures": [asdict(failure) for failure in pool.failures()],
    }


def _job(job: RunningJob) -> dict[str, Any]:
    return {field.name: getattr(job, field.name) for field in fields(job) if field.name != "handle"}


def readiness(pools: Iterable[WorkerPool]) -> tuple[bool, dict[str, str]]:
    """Say whether all pools accept jobs, and in which state each of them is; no pools accept none."""
    states = [(pool.name, pool.stats().state) for pool in pools]
    return bool(states) and all(state is PoolState.OPEN for _, state in states), {name: state.value for name, state in states}
