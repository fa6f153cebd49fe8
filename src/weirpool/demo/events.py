"""One webhook event, and how a file of them is read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, StringConstraints, ValidationError

from .settings import InputError

__all__ = ["SAMPLE", "Event", "load"]

SAMPLE = Path(__file__).with_name("events.jsonl")

Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]
# The first part of the path says how the receiver answers; see receiver.py.
ReceiverPath = Annotated[str, StringConstraints(pattern=r"^/(fast|slow|error|never)(/[A-Za-z0-9_.-]+)*$")]


class Event(BaseModel):
    """Something that happened at a tenant, and where to tell it: one line of the events file, the body of one POST.

    Attributes:
        id: the event's own id, which is also what the job that delivers it is called.
        type: what happened, as in "invoice.paid".
        created: when.
        tenant: at whom.
        path: where the receiver takes it.
        data: the rest, which only the receiver understands.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="allow", frozen=True)

    id: Id
    type: str
    created: AwareDatetime
    tenant: str
    path: ReceiverPath
    data: dict[str, Any]


def load(path: Path) -> list[Event]:
    """Read a file with one event as JSON on each line; empty lines are skipped.

    Raises:
        InputError: there is no such file, it holds no events, two with the same id, or something that is not an event.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise InputError(f"--events must be a readable file of JSON lines, got {str(path)!r}: {error.strerror}") from error
    events: list[Event] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            event = Event.model_validate_json(line)
        except ValidationError as error:
            raise InputError(f"{path}, line {number}: {_first(error)}") from error
        if event.id in seen:
            raise InputError(f"{path}, line {number}: id must be unique, {event.id!r} is on line {seen[event.id]} already")
        seen[event.id] = number
        events.append(event)
    if not events:
        raise InputError(f"--events must be a file with at least one event, got {str(path)!r}: it has none")
    return events


def _first(error: ValidationError) -> str:
    """Say what is wrong first in a line: which key, what is allowed, what was there."""
    problem = error.errors(include_url=False)[0]
    if problem["type"] == "json_invalid":
        return f"not JSON: {problem['msg'].removeprefix('Invalid JSON: ')}"
    if not problem["loc"]:
        return f"must be a JSON object, got {problem['input']!r:.60}"
    key = ".".join(map(str, problem["loc"]))
    if problem["type"] == "missing":
        return f"the key {key!r} is missing"
    return f"{key}: {problem['msg']}, got {problem['input']!r:.60}"
