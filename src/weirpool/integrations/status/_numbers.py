"""What pools say of themselves, as values for JSON."""

from __future__ import annotations

import secrets
import time
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from weirpool import PoolState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from weirpool import RunningJob, WorkerPool

__all__ = ["MOST_JOBS", "brief", "key_of", "numbers", "readiness"]

MOST_JOBS = 100
_MOST_OF_A_TRACEBACK = 2000  # characters

_keys: WeakKeyDictionary[WorkerPool, str] = WeakKeyDictionary()


def key_of(pool: WorkerPool) -> str:
    """Return what tells a pool from all others, which may have its name: in this process, after it and before it."""
    return _keys.setdefault(pool, secrets.token_hex(6))


def numbers(pools: Iterable[WorkerPool]) -> dict[str, Any]:
    """Return the statistics of pools, the jobs that have been running longest, the strays, and what jobs have failed with."""
    return {"at": time.time(), "pools": [_pool(pool) for pool in pools]}


def _pool(pool: WorkerPool) -> dict[str, Any]:
    stats = pool.stats()
    try:
        running, strays = pool.running(MOST_JOBS), pool.strays(MOST_JOBS)
    except RuntimeError:  # it belongs to another event loop, whose jobs can't be looked at from here
        running, strays = (), ()
    return {
        **asdict(stats),
        "key": key_of(pool),
        "state": stats.state.value,
        "running_jobs": [_job(job) for job in running],
        "stray_jobs": [asdict(stray) for stray in strays],
        "failures": [asdict(failure) for failure in pool.failures()],
    }


def _job(job: RunningJob) -> dict[str, Any]:
    return {field.name: getattr(job, field.name) for field in fields(job) if field.name != "handle"}


def brief(numbers: dict[str, Any]) -> dict[str, Any]:
    """Return numbers with what a page shows of stacks and tracebacks: a megabyte per second is too much for who is slow."""
    pools = []
    for pool in numbers["pools"]:
        jobs = {kind: [job | {"stack": job["stack"][-1:]} for job in pool[kind]] for kind in ("running_jobs", "stray_jobs")}
        failures = [failure | {"traceback": failure["traceback"][:_MOST_OF_A_TRACEBACK]} for failure in pool["failures"]]
        pools.append(pool | jobs | {"failures": failures})
    return numbers | {"pools": pools}


def readiness(pools: Iterable[WorkerPool]) -> tuple[bool, list[dict[str, str]]]:
    """Say whether all pools accept jobs, and in which state each of them is; no pools accept none."""
    states = [(pool.name, pool.state) for pool in pools]
    ready = bool(states) and all(state is PoolState.OPEN for _, state in states)
    return ready, [{"name": name, "state": state.value} for name, state in states]
