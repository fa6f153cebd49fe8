"""The records that the client, the service and the receiver write as things happen, and the account is made from.

A journal is a file of JSON lines, each flushed before its writer goes on: what a killed process knew is still there.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final, Self, TypeVar

from .settings import InputError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "CLIENT",
    "POOL",
    "RECEIVER",
    "Accepted",
    "Answer",
    "Ended",
    "Journal",
    "Load",
    "Receipt",
    "Record",
    "Report",
    "read",
]

CLIENT: Final = "client.jsonl"
POOL: Final = "pool.jsonl"
RECEIVER: Final = "receiver.jsonl"


@dataclass(frozen=True, slots=True)
class Load:
    """The client is about to send so many events."""

    events: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The client knows how one attempt to send an event ended.

    Attributes:
        event: the event's id.
        attempt: 1, 2, ...
        status: the HTTP status of the answer; None if there was none.
        sent: whether the service may have got the request: false only if there was no connection.
        job: the id of the job that the service answered with.
        retry_after: what the service asked to wait, in seconds.
        note: what the service, or else the error, said.
    """

    event: str
    attempt: int
    status: int | None
    sent: bool = True
    job: int | None = None
    retry_after: int | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The pool accepted a job to deliver an event."""

    event: str
    job: int


@dataclass(frozen=True, slots=True)
class Ended:
    """A job ended.

    Attributes:
        event: the event's id.
        job: the job's id.
        state: which of the ends it came to, as in `weirpool.JobState`.
        started: whether it ever ran.
        reason: why it did not succeed.
    """

    event: str
    job: int
    state: str
    started: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """The pool closed; the numbers are those of its `weirpool.ShutdownReport`."""

    accepted: int
    succeeded: int
    failed: int
    timed_out: int
    cancelled_queued: int
    cancelled_running: int
    abandoned: int
    refused: int
    drained: int
    drain_seconds: float
    cancel_seconds: float


@dataclass(frozen=True, slots=True)
class Receipt:
    """The receiver got an event (`status` is None), or is about to answer with that status."""

    event: str
    status: int | None


Record = Load | Answer | Accepted | Ended | Report | Receipt
R = TypeVar("R", bound=Record)
_KINDS: Final = {kind.__name__.lower(): kind for kind in (Load, Answer, Accepted, Ended, Report, Receipt)}


class Journal:
    """Write records to a file that does not exist yet, each out of this process before the next thing happens."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("x", encoding="utf-8", buffering=1)

    def write(self, record: Record) -> None:
        """Append a record."""
        self._file.write(json.dumps({"kind": type(record).__name__.lower(), **asdict(record)}) + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def read(path: Path) -> list[Record]:
    """Read a journal back; one that was never begun is empty.

    Raises:
        InputError: a line is not a record.
    """
    if not path.exists():
        return []
    records: list[Record] = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        try:
            fields = json.loads(line)
            records.append(_KINDS[fields.pop("kind")](**fields))
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise InputError(f"{path}, line {number}: not a record: {error}") from error
    return records


def of(kind: type[R], records: list[Record]) -> list[R]:
    """Pick the records of one kind."""
    return [record for record in records if isinstance(record, kind)]
