"""The account from both sides: what the client was told, and what the journals of the service say.

accepted = delivered + named failures
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.servers.service import fails

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.servers.client import Answer

STATES = ("succeeded", "failed", "timed_out", "cancelled_queued", "cancelled_running", "abandoned")


@dataclass
class Journal:
    """What one process has written down.

    Attributes:
        accepted: the number and the time of each job, by its id.
        ends: how each job ended, by its id.
        times: when jobs have ended.
        done: the numbers of the jobs that did what they should.
        reports: what the pool said in the end.
    """

    accepted: dict[int, tuple[int, float]] = field(default_factory=dict)
    ends: dict[int, list[str]] = field(default_factory=dict)
    times: list[float] = field(default_factory=list)
    done: Counter[int] = field(default_factory=Counter)
    reports: list[dict[str, Any]] = field(default_factory=list)

    @property
    def states(self) -> dict[int, str]:
        """How each job that was accepted and has ended did that, by its number."""
        return {number: self.ends[job][0] for job, (number, _) in self.accepted.items() if job in self.ends}


def read(path: Path) -> Journal:
    """Read a journal."""
    journal = Journal()
    for line in map(json.loads, path.read_text().splitlines()):
        match line:
            case {"accepted": job, "number": number, "at": at}:
                journal.accepted[job] = number, at
            case {"ended": job, "state": state, "at": at, "started": started}:
                where = ("_running" if started else "_queued") if state == "cancelled" else ""
                journal.ends.setdefault(job, []).append(state + where)
                journal.times.append(at)
            case {"done": number}:
                journal.done[number] += 1
            case {"report": dict(report)}:
                journal.reports.append(report)
    return journal


def audit(answers: Sequence[Answer], journals: Sequence[Journal]) -> Iterator[str]:
    """Name everything that does not add up."""
    for journal in journals:
        yield from _pool(journal)
    numbers = Counter(number for journal in journals for number, _ in journal.accepted.values())
    states = {number: state for journal in journals for number, state in journal.states.items()}
    done = Counter(number for journal in journals for number in journal.done.elements())
    for answer in answers:
        yield from _answer(answer, numbers[answer.number], states.get(answer.number), done[answer.number])
    yield from (f"job {number} was delivered, and nobody asked for it" for number in done.keys() - {a.number for a in answers})


def _pool(journal: Journal) -> Iterator[str]:
    """The pool against itself: each accepted job has one end, and the report is the sum of them."""
    for job, (number, _) in journal.accepted.items():
        if len(ends := journal.ends.get(job, [])) != 1:
            yield f"job {number} was accepted, and has the ends {ends}"
    if len(journal.reports) != 1:
        yield f"the pool has left {len(journal.reports)} reports"
        return
    (report,) = journal.reports
    counted = Counter(end for ends in journal.ends.values() for end in ends)
    if report["accepted"] != len(journal.accepted) or report["accepted"] != sum(report[state] for state in STATES):
        yield f"the report does not balance, or not with {len(journal.accepted)} accepted: {report}"
    yield from (f"the report has {report[s]} jobs {s}, not {counted[s]}" for s in STATES if report[s] != counted[s])
    if len(report["strays"]) != report["abandoned"]:
        yield f"the report names {len(report['strays'])} strays of {report['abandoned']} that were abandoned"


def _answer(answer: Answer, accepted: int, state: str | None, done: int) -> Iterator[str]:
    """The client against the service."""
    who = f"job {answer.number} (asked to {answer.what}, answered {answer.status or answer.note})"
    named = state not in {None, "succeeded"}
    if accepted > 1 or done > 1:
        yield f"{who}: accepted {accepted} times, delivered {done} times"
    if done and not accepted:
        yield f"{who}: delivered, and never accepted"
    if state == "succeeded" and not done:
        yield f"{who}: succeeded, and was not delivered"
    match answer.what, answer.status:
        case "submit", 202:
            if not done and not named:
                yield f"{who}: lost: neither delivered nor a named failure"
        case "wait", 200:
            if not done:
                yield f"{who}: lost: not delivered"
        case "wait", 500 if named and (state == "cancelled_running" or fails(answer.number)):
            pass  # a server that waits no longer cancels the handler, and that the job
        case "submit", 503:
            if accepted:
                yield f"{who}: refused, and accepted all the same"
        case "wait", 503 | 504:
            if done:
                yield f"{who}: delivered, and refused all the same"
        case _, None:
            if accepted and answer.note == "never sent":
                yield f"{who}: accepted, and never sent"
        case _:
            yield f"{who}: no such answer is expected; it is {state}"
