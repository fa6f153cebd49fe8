"""The job: deliver one event to the receiver. And the pool's journal: what became of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weirpool import JobCancelled, JobTimeout
from weirpool.events import JobAccepted, JobEnded, Observer

from .journals import Accepted, Ended, Journal

if TYPE_CHECKING:
    import aiohttp

    from .events import Event

__all__ = ["DeliveryError", "JobJournal", "deliver"]


class DeliveryError(Exception):
    """Say that the receiver did not take an event."""


async def deliver(session: aiohttp.ClientSession, receiver: str, event: Event) -> int:
    """POST an event to the receiver, and return the 2xx status that it answered.

    There is no timeout here: the pool holds the job to its own.

    Raises:
        DeliveryError: the receiver answered something else.
    """
    headers = {"Content-Type": "application/json"}
    async with session.post(receiver + event.path, data=event.model_dump_json(), headers=headers) as response:
        if not response.ok:
            raise DeliveryError(f"the receiver answered {response.status}")
        return response.status


class JobJournal(Observer):
    """Write down each job when it is accepted and when it ends. Its jobs must be named after their events."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def job_accepted(self, event: JobAccepted, /) -> None:
        """Write down which event a job is for."""
        self._journal.write(Accepted(event=event.name, job=event.id))

    def job_ended(self, event: JobEnded, /) -> None:
        """Write down how a job ended."""
        started = event.ran_for is not None
        self._journal.write(Ended(event.name, event.id, event.state.value, started, _reason(event.error, started)))


def _reason(error: BaseException | None, started: bool) -> str:
    """Say why a job did not succeed, in words that are the same for all jobs with the same fate."""
    match error:
        case None:
            return ""
        case JobTimeout():
            return f"ran out of its {error.timeout:g} s while {error.phase}"
        case JobCancelled():
            return f"{error.reason}, {'while running' if started else 'in the queue'}"
        case _:
            return f"{type(error).__name__}: {error}"
