"""Every exception that weirpool raises.

::

    PoolError(Exception)
    ├── PoolClosed            submitted to, or waiting on, a pool whose intake is closed
    ├── PoolOverloaded        no room for one more job
    ├── JobCancelled          you awaited a job that was cancelled
    └── JobTimeout            you awaited a job that ran out of time; also a TimeoutError

A job that fails with an exception of its own raises just that exception to whoever awaits it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_Error = TypeVar("_Error", bound=BaseException)

__all__ = [
    "JobCancelled",
    "JobTimeout",
    "PoolClosed",
    "PoolError",
    "PoolOverloaded",
    "cause_of",
    "context_of",
    "is_a",
    "is_context_hidden",
    "members_of",
    "set_context",
    "traceback_of",
]

# Straight from BaseException, past whatever attributes of these names a user's class has: they may raise.
cause_of: Final[Callable[[BaseException], BaseException | None]] = BaseException.__dict__["__cause__"].__get__
context_of: Final[Callable[[BaseException], BaseException | None]] = BaseException.__dict__["__context__"].__get__
set_context: Final[Callable[[BaseException, BaseException | None], None]] = BaseException.__dict__["__context__"].__set__
traceback_of: Final[Callable[[BaseException], TracebackType | None]] = BaseException.__dict__["__traceback__"].__get__
is_context_hidden: Final[Callable[[BaseException], bool]] = BaseException.__dict__["__suppress_context__"].__get__
members_of: Final[Callable[[Any], tuple[BaseException, ...]]] = BaseExceptionGroup.__dict__["exceptions"].__get__


def is_a(error: BaseException | None, *kinds: type[BaseException]) -> bool:
    """Say whether an exception is one of these by its type: `isinstance` asks the exception itself, which may raise or lie."""
    return issubclass(type(error), kinds)


class PoolError(Exception):
    """Tell an error of the pool from an error of a job: every class here derives from this one."""

    # The arguments of __init__ are not `args` (the message is), so the default way to copy or pickle an exception would
    # call __init__ with the wrong ones.
    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)

    def again(self) -> Self:
        """Return a fresh copy to raise, so that two awaiters never share a traceback or a context."""
        return _rebuild(type(self), self.args, self.__dict__, self.__cause__)


def _rebuild(
    cls: type[_Error], args: tuple[Any, ...], attributes: dict[str, Any], cause: BaseException | None = None
) -> _Error:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(attributes)
    if "__notes__" in attributes:
        error.__notes__ = list(attributes["__notes__"])
    if cause is not None:
        error.__cause__ = cause
    return error


class PoolClosed(PoolError):
    """Say that the pool takes no more jobs: it is closing or closed.

    Attributes:
        pool: the pool's name.
    """

    def __init__(self, pool: str) -> None:
        super().__init__(f"pool {pool!r} takes no more jobs: its intake is closed")
        self.pool: str = pool


OverloadReason = Literal["full", "timeout", "early", "dropped", "shed", "strays", "nesting"]

_OVERLOADED: Final[dict[OverloadReason, str]] = {
    "full": "is full ({limit} jobs may wait)",
    "timeout": "had no room for {waited:.3g} s ({limit} jobs may wait)",
    "early": "is filling up and refuses some early ({depth} of {limit} jobs wait)",
    "dropped": "has dropped a job that waited for {waited:.3g} s for a newer one ({limit} jobs may wait)",
    "shed": "has shed a job that waited for {waited:.3g} s, which is too long ({depth} of {limit} jobs wait)",
    "strays": "starts no jobs while {depth} abandoned ones still run (at most {limit} may)",
    "nesting": "has {depth} jobs that wait for it from inside (at most {limit} may)",
}


class PoolOverloaded(PoolError):
    """Say that the pool had no room for one more job, or no time for one that waited, and when to try again.

    Attributes:
        pool: the pool's name.
        reason: of a submission that was refused: "full" when there was no room and no waiting was wanted, "timeout" when none
            came within `submit_timeout` or before the deadline, "early" when an overload policy refused it before the queue
            was full, "strays" when too many abandoned jobs still run, "nesting" when too many jobs wait for their own pool. Of
            a job that was accepted: "dropped" for a newer one, "shed" because it had waited for too long.
        depth: how many there were of what there is a limit of: jobs that wait, strays, or jobs that lend their places.
        limit: how many there may be.
        waited: how long the submitter or the job waited, in seconds.
        retry_after: when room is likely, in whole seconds, at least 1: ready for an HTTP Retry-After header.
    """

    def __init__(
        self, pool: str, reason: OverloadReason, *, depth: int, limit: int, waited: float = 0.0, retry_after: int = 1
    ) -> None:
        how = _OVERLOADED[reason].format(depth=depth, limit=limit, waited=waited)
        super().__init__(f"pool {pool!r} {how}; try again in about {retry_after} s")
        self.pool: str = pool
        self.reason: OverloadReason = reason
        self.depth: int = depth
        self.limit: int = limit
        self.waited: float = waited
        self.retry_after: int = retry_after

    @property
    def queue_size(self) -> int:
        """How many jobs the pool lets wait, where that is the limit."""
        return self.limit


class JobCancelled(PoolError):
    """Say that the job you awaited was cancelled; you were not.

    This is not `asyncio.CancelledError`, on purpose: a cancelled job must never look to its awaiter as if the awaiter
    itself were cancelled.

    Attributes:
        job: the job's name.
        reason: "cancel" (by its handle), "shutdown" (the pool closed), "self" (the job raised CancelledError), or
            "task" (somebody cancelled the job's task, as the end of `asyncio.run` does).
        abandoned: true when the job did not end within `cancel_grace`, and may still be running.
    """

    def __init__(self, job: str, reason: str, *, abandoned: bool = False) -> None:
        tail = ", did not end in its grace and was abandoned" if abandoned else ""
        super().__init__(f"job {job!r} was cancelled ({reason}){tail}")
        self.job: str = job
        self.reason: str = reason
        self.abandoned: bool = abandoned


class JobTimeout(PoolError, TimeoutError):
    """Say that the job you awaited ran out of time.

    Where the job raised an exception of its own after its time was over, that exception is the `__cause__`.

    Attributes:
        job: the job's name.
        timeout: how long the job had, in seconds: to run, or from acceptance to its deadline.
        phase: "queued" when the job was never started, "running" otherwise.
        abandoned: true when the job did not end within `cancel_grace`, and may still be running.
    """

    def __init__(self, job: str, timeout: float, phase: Literal["queued", "running"], *, abandoned: bool = False) -> None:
        tail = ", did not end in its grace and was abandoned" if abandoned else ""
        super().__init__(f"job {job!r} ran out of its {timeout:.6g} s while {phase}{tail}")
        self.job: str = job
        self.timeout: float = timeout
        self.phase: Literal["queued", "running"] = phase
        self.abandoned: bool = abandoned
