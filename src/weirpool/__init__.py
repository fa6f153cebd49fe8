"""weirpool: the worker pool for asyncio services.

It bounds concurrency, pushes back when it is full, holds each job to its deadline, survives every way in which a job can
fail, and closes inside a bound with an account of every job.

A map of the source, bottom to top; a module imports only from floors below its own:

    _show                           how a user's thing is shown, which may be a trap
    _errors  _checks  _stack        words: the exceptions, the refusal of bad input, where a task hangs,
    _exits  _logs  _around          whom KeyboardInterrupt and SystemExit are for, what log records have in common,
                                    and what is put around a job's function
    _lifecycle                      law: the states, the legal moves, the books
    policies  _ticket               public: scaling, overload, retry; what only some jobs have
    _lending  _circles  _deadline   places that jobs lend while they wait for a pool; jobs that would wait for ever; time left
    _run  _failure  _worker         facts: the record of a run; the exception that somebody has to see; what a job works with
    _handle  _snapshot              views: what a submitter sees of a job; frozen statistics and reports
    _job  _events                   the record of a job, which is that handle; what an observer hears
    _telemetry                      the seam to whoever exports
    _queue  _observers  _watch      organs: the bounded queue, telling observers, the one timer,
    _group  _lanes                  the task group that jobs leave by themselves, the order of priorities and keys,
    _window  _overload  _asking     what policies are told, and what they say
    _timings  _failures  _running   how long jobs have taken of late, what they fail with; what is said of those that run
    _settings                       what a pool is asked to be
    _runner  _supervisor            runs one job in a task of its own; the task that all of these belong to
    _crew  _steering                the places: who runs, who is next; what holds them
    _admission  _retry  _workers    the way in; jobs that are tried again; what each worker has of its own
    _closing  _scaler               the way out; more and fewer places
    _pool                           WorkerPool
    events  telemetry               public: event records and Observer; OpenTelemetry, and how late the loop is
    integrations                    public: web frameworks, and the status page
    cli  demo  top                  the command line
"""

from __future__ import annotations

from ._deadline import deadline_scope, remaining
from ._errors import JobCancelled, JobTimeout, PoolClosed, PoolError, PoolOverloaded
from ._handle import JobHandle, current_job
from ._lifecycle import JobState, PoolState
from ._pool import WorkerPool
from ._running import RunningJob
from ._snapshot import FailureType, Percentiles, PoolStats, ShutdownReport
from ._worker import Worker, current_worker

__all__ = [
    "FailureType",
    "JobCancelled",
    "JobHandle",
    "JobState",
    "JobTimeout",
    "Percentiles",
    "PoolClosed",
    "PoolError",
    "PoolOverloaded",
    "PoolState",
    "PoolStats",
    "RunningJob",
    "ShutdownReport",
    "Worker",
    "WorkerPool",
    "current_job",
    "current_worker",
    "deadline_scope",
    "remaining",
]

# Tracebacks and documentation should say weirpool.WorkerPool, not weirpool._pool.WorkerPool.
for _name in __all__:
    globals()[_name].__module__ = __name__
