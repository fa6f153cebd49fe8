"""What happens in a pool, as records, and the interface of whoever wants to hear of it."""

from dataclasses import dataclass

from ._lifecycle import JobState, PoolState

__all__ = ["JobAccepted", "JobEnded", "JobStarted", "Observer", "PoolMoved", "PoolResized", "StrayEnded", "SubmitRefused"]


@dataclass(frozen=True, slots=True)
class JobAccepted:
    """A job was accepted.

    Attributes:
        pool: the pool's name.
        id: the job's number.
        name: the job's name.
    """

    pool: str
    id: int
    name: str


@dataclass(frozen=True, slots=True)
class JobStarted:
    """A job got a worker's place; its function is called on the loop's next turn.

    Attributes:
        pool: the pool's name.
        id: the job's number.
        name: the job's name.
        queued_for: how long it waited since it was accepted, in seconds.
    """

    pool: str
    id: int
    name: str
    queued_for: float


@dataclass(frozen=True, slots=True)
class JobEnded:
    """A job came to its end.

    Attributes:
        pool: the pool's name.
        id: the job's number.
        name: the job's name.
        state: which of the five ends it came to.
        ran_for: how long it held a place, in seconds; None if it never started.
        error: what awaiting it raises; None if it succeeded. Do not keep it: its traceback keeps the job's arguments.
    """

    pool: str
    id: int
    name: str
    state: JobState
    ran_for: float | None
    error: BaseException | None


@dataclass(frozen=True, slots=True)
class StrayEnded:
    """An abandoned job has really ended, at last.

    Attributes:
        pool: the pool's name.
        id: the job's number.
        name: the job's name.
    """

    pool: str
    id: int
    name: str


@dataclass(frozen=True, slots=True)
class SubmitRefused:
    """A submission was not accepted.

    Attributes:
        pool: the pool's name.
        reason: "full", "timeout", "closed", "cancelled" (the submitter was, while it waited for room), "early", "strays" or
            "nesting".
    """

    pool: str
    reason: str


@dataclass(frozen=True, slots=True)
class PoolMoved:
    """The pool moved on in its life.

    Attributes:
        pool: the pool's name.
        was: the state that it left.
        now: the state that it is in.
    """

    pool: str
    was: PoolState
    now: PoolState


@dataclass(frozen=True, slots=True)
class PoolResized:
    """The number of workers was changed.

    Attributes:
        pool: the pool's name.
        was: how many jobs could run at once.
        now: how many can from now on.
        reason: why: "resize" if somebody asked for it, else what the scaling policy says.
    """

    pool: str
    was: int
    now: int
    reason: str


class Observer:
    """Hear what happens in a pool: derive from this, override what you want to hear, pass it as `observers=[...]`.

    The methods are called synchronously, on the event loop, where things happen: be quick, do not block. They may call the
    pool. One that raises is logged, and its observer is not called again.
    """

    __slots__ = ()

    def job_accepted(self, event: JobAccepted, /) -> None:
        """Hear that a job was accepted."""

    def job_started(self, event: JobStarted, /) -> None:
        """Hear that a job got a worker's place."""

    def job_ended(self, event: JobEnded, /) -> None:
        """Hear that a job came to its end."""

    def stray_ended(self, event: StrayEnded, /) -> None:
        """Hear that an abandoned job really ended."""

    def submit_refused(self, event: SubmitRefused, /) -> None:
        """Hear that a submission was not accepted."""

    def pool_moved(self, event: PoolMoved, /) -> None:
        """Hear that the pool moved on in its life."""

    def pool_resized(self, event: PoolResized, /) -> None:
        """Hear that the number of workers was changed."""
