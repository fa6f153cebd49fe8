"""weirpool: the worker pool for asyncio services.

It bounds concurrency, pushes back when it is full, holds each job to its deadline, survives every way in which a job can
fail, and closes inside a bound with an account of every job.

A map of the source, bottom to top; a module imports only from floors below its own:

    _show  _callee                  how a user's thing is shown, which may be a trap; what runs in a process of a job's own
    _errors  _checks  _stack        words: the exceptions, the refusal of bad input, where a task hangs,
    _exits  _logs  _around          whom KeyboardInterrupt and SystemExit are for, what log records have in common,
    _waiting                        what is put around a job's function; waiting for something to happen
    _lifecycle                      law: the states, the legal moves, the books
    policies  _ticket               public: scaling, overload, retry; what only some jobs have
    _lending  _circles  _deadline   places that jobs lend while they wait for a pool; jobs that would wait for ever; time left
    _run  _failure  _worker         facts: the record of a run; the exception that somebody has to see; what a job works with
    _handle  _snapshot              views: what a submitter sees of a job; frozen statistics and reports
    _job  _events                   the record of a job, which is that handle; what an observer hears
    _threads  _kept  _pickles       functions in threads; what else they run in, kept until the pool closes; what goes there
    _processes  _interpreters       that is, processes or interpreters
    _blocking                       jobs made of plain functions
    _telemetry                      the seam to whoever exports
    _queue  _observers  _watch      organs: the bounded queue, telling observers, the one timer,
    _group  _lanes  _pace           the task group that jobs leave by themselves, the order of priorities and keys, rates,
    _window  _overload  _asking     what policies are told, and what they say
    _timings  _failures  _running   how long jobs have taken of late, what they fail with; what is said of those that run
    _settings                       what a pool is asked to be
    _runner  _supervisor            runs one job in a task of its own; the task that all of these belong to
    _crew  _steering  _refusals     the places: who runs, who is next; what holds them; refusals, and when to come again
    _admission  _retry  _workers    the way in; jobs that are tried again; what each worker has of its own;
    _paced                          jobs that start at a rate
    _closing  _scaler               the way out; more and fewer places
    _crossing  _job_future          submissions from other threads, and what those hold
    _executor  _from_thread         the pool as an Executor of concurrent.futures, and as other threads see it
    _completed  _job_group          jobs in the order in which they end; jobs that belong together
    _results                        the stream of all jobs that end
    _batch_items  _batch            items of many callers for one job
    _progress  _flow  _map          how far a map has come; the flow of its items; what `map` returns
    _pool                           WorkerPool
    events  telemetry               public: event records and Observer; OpenTelemetry, and how late the loop is
    integrations                    public: web frameworks, and the status page
    standalone                      public: run and serve, for processes that are nothing but a worker
    cli  mapping  demo  top         the command line
"""

from __future__ import annotations

import typing as _typing

from ._blocking import in_interpreter, in_process, in_thread
from ._deadline import deadline_scope, remaining
from ._errors import JobCancelled, JobTimeout, PoolClosed, PoolError, PoolOverloaded
from ._handle import JobHandle, current_job
from ._lifecycle import JobState, PoolState
from ._pool import WorkerPool
from ._running import RunningJob
from ._snapshot import FailureType, Percentiles, PoolStats, ShutdownReport
from ._worker import Worker, current_worker

__all__ = [
    "Batch",
    "Failed",
    "FailureType",
    "Group",
    "JobCancelled",
    "JobHandle",
    "JobState",
    "JobTimeout",
    "MapProgress",
    "MapResults",
    "Percentiles",
    "PoolClosed",
    "PoolError",
    "PoolOverloaded",
    "PoolState",
    "PoolStats",
    "Results",
    "RunningJob",
    "ShutdownReport",
    "Worker",
    "WorkerPool",
    "current_job",
    "current_worker",
    "deadline_scope",
    "in_interpreter",
    "in_process",
    "in_thread",
    "remaining",
    "run",
    "serve",
]

if _typing.TYPE_CHECKING:
    from ._batch import Batch
    from ._job_group import Group
    from ._map import Failed, MapProgress, MapResults
    from ._results import Results
    from .standalone import run, serve

_LATER = {
    "Batch": "._batch",
    "Group": "._job_group",
    "Results": "._results",
    **dict.fromkeys(("Failed", "MapProgress", "MapResults"), "._map"),
    **dict.fromkeys(("run", "serve"), ".standalone"),
}  # what few processes need is loaded by those

# Tracebacks and documentation should say weirpool.WorkerPool, not weirpool._pool.WorkerPool.
for _name in set(__all__) - set(_LATER):
    globals()[_name].__module__ = __name__


def __getattr__(name: str) -> _typing.Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415

    globals()[name] = thing = getattr(import_module(_LATER[name], __name__), name)
    return thing
