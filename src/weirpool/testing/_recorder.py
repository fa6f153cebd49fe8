"""An observer that remembers what it is told, for tests to look at."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import TypeVar

from weirpool.events import (
    JobAccepted,
    JobEnded,
    JobStarted,
    Observer,
    PoolMoved,
    PoolResized,
    StrayEnded,
    SubmitRefused,
)

from ._checks import shown, whole

__all__ = ["Event", "Recorder"]

Event = JobAccepted | JobStarted | JobEnded | StrayEnded | SubmitRefused | PoolMoved | PoolResized

E = TypeVar("E", JobAccepted, JobStarted, JobEnded, StrayEnded, SubmitRefused, PoolMoved, PoolResized)

_KINDS = (JobAccepted, JobStarted, JobEnded, StrayEnded, SubmitRefused, PoolMoved, PoolResized)


@dataclass(eq=False, slots=True)
class _Waiter:
    """Somebody who waits for so many more events."""

    future: asyncio.Future[None]
    kind: type[Event]
    fields: dict[str, object]
    missing: int

    def hear(self, event: Event) -> None:
        if self.missing and _is(event, self.kind, self.fields):
            self.missing -= 1
            if not self.missing:
                # Who waits may do so on another loop than that of the pool; and that may have been closed by now.
                with suppress(RuntimeError):
                    self.future.get_loop().call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


class Recorder(Observer):
    """Remember what happens in a pool, or in several, in the order in which it happens.

    ::

        recorder = Recorder()
        async with WorkerPool(observers=[recorder]) as pool:
            await pool.submit(deliver, event, name="mail")
            await recorder.wait_for(JobEnded, name="mail")
        assert recorder.of(JobEnded, state=JobState.FAILED) == ()

    When it is full it forgets the oldest. The event of a job that has failed holds the exception, and so what the job's frames
    hold, until it is forgotten, or `clear` is called.

    Args:
        limit: how many events are remembered, at most.

    Attributes:
        limit: how many events are remembered, at most.
        forgotten: how many events were told and are not remembered any more.

    Raises:
        TypeError: `limit` is not an int.
        ValueError: `limit` is below 1.
    """

    __slots__ = ("_events", "_waiters", "forgotten", "limit")

    def __init__(self, *, limit: int = 10_000) -> None:
        whole("limit", limit, 1)
        self.limit: int = limit
        self.forgotten: int = 0
        self._events: deque[Event] = deque(maxlen=limit)
        self._waiters: set[_Waiter] = set()

    @property
    def events(self) -> tuple[Event, ...]:
        """All events that are remembered, the oldest first."""
        return tuple(self._events)

    def names(self) -> list[str]:
        """Return the names of the events, the oldest first: "JobAccepted", "JobStarted", "JobEnded"."""
        return [type(event).__name__ for event in self._events]

    def of(self, kind: type[E], /, **fields: object) -> tuple[E, ...]:
        """Return the events of one kind, the oldest first.

        Args:
            kind: `JobEnded`, for instance.
            **fields: what the events must say: `state=JobState.FAILED`, for instance.

        Raises:
            TypeError: `kind` is no kind of event, or has no such field.
        """
        _check(kind, fields)
        return self._of(kind, fields)

    async def wait_for(self, kind: type[E], /, *, count: int = 1, **fields: object) -> tuple[E, ...]:
        """Wait until an event has come, and return all of that kind; at once if it has come before this.

        It wakes at the event and asks for no time, so it is the same in virtual time. Bound it with `asyncio.timeout`.

        Args:
            kind: `JobEnded`, for instance.
            count: how many of them there must be.
            **fields: what the events must say: `name="mail"`, for instance.

        Returns:
            What `of` does: at least `count` events.

        Raises:
            TypeError: `kind` is no kind of event, or has no such field; or `count` is not an int.
            ValueError: `count` is below 1, or more than are remembered.
        """
        _check(kind, fields)
        whole("count", count, 1, self.limit)
        while len(found := self._of(kind, fields)) < count:
            waiter = _Waiter(asyncio.get_running_loop().create_future(), kind, fields, count - len(found))
            self._waiters.add(waiter)
            try:
                await waiter.future
            finally:
                self._waiters.discard(waiter)
        return found

    def clear(self) -> None:
        """Forget all events, as if none had been told."""
        self._events.clear()
        self.forgotten = 0

    def _of(self, kind: type[E], fields: dict[str, object]) -> tuple[E, ...]:
        return tuple(event for event in self._events if isinstance(event, kind) and _is(event, kind, fields))

    def _note(self, event: Event) -> None:
        self.forgotten += len(self._events) == self.limit
        self._events.append(event)
        for waiter in tuple(self._waiters):
            waiter.hear(event)

    def job_accepted(self, event: JobAccepted, /) -> None:
        """Remember that a job was accepted."""
        self._note(event)

    def job_started(self, event: JobStarted, /) -> None:
        """Remember that a job got a worker's place."""
        self._note(event)

    def job_ended(self, event: JobEnded, /) -> None:
        """Remember that a job came to its end."""
        self._note(event)

    def stray_ended(self, event: StrayEnded, /) -> None:
        """Remember that an abandoned job really ended."""
        self._note(event)

    def submit_refused(self, event: SubmitRefused, /) -> None:
        """Remember that a submission was not accepted."""
        self._note(event)

    def pool_moved(self, event: PoolMoved, /) -> None:
        """Remember that the pool moved on in its life."""
        self._note(event)

    def pool_resized(self, event: PoolResized, /) -> None:
        """Remember that the number of workers was changed."""
        self._note(event)

    def __repr__(self) -> str:
        return f"<Recorder of {len(self._events)} events>"


def _is(event: Event, kind: type[Event], fields: dict[str, object]) -> bool:
    return type(event) is kind and all(getattr(event, name) == value for name, value in fields.items())


def _check(kind: object, wanted: dict[str, object]) -> None:
    if not any(kind is known for known in _KINDS):
        raise TypeError(
            f"kind must be one of {', '.join(it.__name__ for it in _KINDS)} (of weirpool.events), got {shown(kind)}"
        )
    assert isinstance(kind, type)
    has = [field.name for field in fields(kind)]
    for name in wanted:
        if name not in has:
            raise TypeError(f"{kind.__name__} has no field {name!r}: its fields are {', '.join(has)}")
