"""Tell observers what happens. They are never awaited, and none of them can hurt a job, another observer or the pool."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from ._errors import is_a, traceback_of
from ._events import JobAccepted, JobEnded, JobStarted, Observer, PoolMoved, PoolResized, StrayEnded, SubmitRefused
from ._exits import raise_in_loop
from ._failure import Failure
from ._lifecycle import SUCCEEDED
from ._logs import fields

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from ._job import Job
    from ._lifecycle import PoolState
    from ._run import Run

__all__ = ["JobListener", "Listener", "Observers"]

_log = logging.getLogger("weirpool.observer")

_HOOKS = [name for name in vars(Observer) if not name.startswith("_")]


class JobListener(Protocol):
    """Whoever hears what happens to the jobs and places of a pool."""

    def job_accepted(self, job: Job) -> None:
        """Hear that a job was accepted."""
        ...

    def job_started(self, job: Job, run: Run) -> None:
        """Hear that a job got a place."""
        ...

    def job_ended(self, job: Job, run: Run | None) -> None:
        """Hear that a job came to its end, with its run if it had got a place."""
        ...

    def stray_ended(self, job: Job) -> None:
        """Hear that an abandoned job really ended."""
        ...

    def pool_resized(self, was: int, now: int, reason: str) -> None:
        """Hear that the number of workers was changed."""
        ...


class Listener(JobListener, Protocol):
    """Whoever hears what happens in a pool: its observers, or something that passes it on to them."""

    def submit_refused(self, reason: str) -> None:
        """Hear that a submission was not accepted."""
        ...

    def pool_moved(self, was: PoolState, now: PoolState) -> None:
        """Hear that the pool moved on."""
        ...


class Observers:
    """Hold the observers of one pool. A pool without observers has none of these: it asks `is None`, and that is all."""

    __slots__ = ("_dropped", "_hooks", "_loop", "_pool")

    def __init__(self, pool: str, observers: Sequence[Observer], loop: asyncio.AbstractEventLoop) -> None:
        self._pool = pool
        self._loop = loop
        self._dropped: list[Observer] = []
        # Only what is overridden is called, so that no event is built for nobody.
        self._hooks: dict[str, list[tuple[Observer, Callable[[Any], None]]]] = {
            hook: [(observer, getattr(observer, hook)) for observer in observers if _overrides(observer, hook)]
            for hook in _HOOKS
        }

    def job_accepted(self, job: Job) -> None:
        """Tell that a job was accepted."""
        if self._hooks["job_accepted"]:
            self._tell("job_accepted", JobAccepted(self._pool, job.number, job.name))

    def job_started(self, job: Job, run: Run) -> None:
        """Tell that a job got a place."""
        run.started_at = self._loop.time()
        if self._hooks["job_started"]:
            self._tell("job_started", JobStarted(self._pool, job.number, job.name, run.started_at - job.accepted_at))

    def job_ended(self, job: Job, run: Run | None) -> None:
        """Tell that a job came to its end, with its run if it had got a place."""
        if self._hooks["job_ended"]:
            ran_for = None if run is None else self._loop.time() - run.started_at
            outcome = None if job.status is SUCCEEDED else job.outcome  # a result may be anything, and is not looked at
            error = outcome.error if isinstance(outcome, Failure) else outcome
            self._tell("job_ended", JobEnded(self._pool, job.number, job.name, job.status, ran_for, error))

    def stray_ended(self, job: Job) -> None:
        """Tell that an abandoned job really ended."""
        if self._hooks["stray_ended"]:
            self._tell("stray_ended", StrayEnded(self._pool, job.number, job.name))

    def submit_refused(self, reason: str) -> None:
        """Tell that a submission was not accepted."""
        if self._hooks["submit_refused"]:
            self._tell("submit_refused", SubmitRefused(self._pool, reason))

    def pool_moved(self, was: PoolState, now: PoolState) -> None:
        """Tell that the pool moved on."""
        if self._hooks["pool_moved"]:
            self._tell("pool_moved", PoolMoved(self._pool, was, now))

    def pool_resized(self, was: int, now: int, reason: str) -> None:
        """Tell that the number of workers was changed."""
        if self._hooks["pool_resized"]:
            self._tell("pool_resized", PoolResized(self._pool, was, now, reason))

    def _tell(self, hook: str, event: object) -> None:
        for observer, call in tuple(self._hooks[hook]):
            if any(observer is dropped for dropped in self._dropped):
                continue  # for what an earlier one of these calls led to
            try:
                call(event)
            except BaseException as error:
                self._drop(observer, hook, error)
                if is_a(error, KeyboardInterrupt, SystemExit):
                    raise_in_loop(self._loop, error)

    def _drop(self, observer: Observer, hook: str, error: BaseException) -> None:
        if any(observer is dropped for dropped in self._dropped):
            return  # in a call from within the one that raises now
        self._dropped.append(observer)
        for listeners in self._hooks.values():
            listeners[:] = [listener for listener in listeners if listener[0] is not observer]
        with suppress(Exception):  # whatever a logging handler does, the pool has to go on
            _log.error(
                "observer %s of pool %r raised in %s and is dropped",
                type(observer).__qualname__,
                self._pool,
                hook,
                exc_info=(type(error), error, traceback_of(error)),
                extra=fields("observer.dropped", self._pool, observer=type(observer).__qualname__, hook=hook),
            )


def _overrides(observer: Observer, hook: str) -> bool:
    method = getattr(observer, hook)
    return getattr(method, "__func__", method) is not getattr(Observer, hook)
