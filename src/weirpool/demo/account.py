"""The law of the demo: what three journals must say for nothing to be lost and nothing to happen twice.

No journal is believed alone. What the client was told must be what the pool says, what the pool says of a delivery must be
what the receiver saw, and the pool's own totals must be the sum of its parts. Each rule is a generator of offences.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from .journals import Accepted, Answer, Ended, Load, Receipt, Record, Report, of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Account", "Offence", "draw_up"]


@dataclass(frozen=True, slots=True)
class Offence:
    """Name an event that does not add up.

    Attributes:
        kind: "lost" (nobody can say what became of it), "duplicate" (something happened twice), "contradiction" (two
            journals disagree about it), or "numbers" (totals are wrong; then `event` is the name of the total).
        event: the event's id.
        what: what is wrong with it.
    """

    kind: Literal["lost", "duplicate", "contradiction", "numbers"]
    event: str
    what: str


@dataclass(frozen=True, slots=True)
class Account:
    """Say what became of every event.

    Attributes:
        events: how many events the client had to send.
        accepted: how many of them were answered 202.
        ends: how those ended, by state and reason.
        refused: how many ended without being accepted, by the last answer.
        unknown: events of which the client has no answer, because the connection died.
        unknown_accepted: how many of those the pool had accepted all the same.
        retries: how many answers were 503, by what the service said.
        report: the pool's totals; None if it left none.
        offences: everything that does not add up.
    """

    events: int
    accepted: int
    ends: Counter[tuple[str, str]]
    refused: Counter[str]
    unknown: tuple[str, ...]
    unknown_accepted: int
    retries: Counter[str]
    report: Report | None
    offences: tuple[Offence, ...]

    def offenders(self, kind: str) -> list[str]:
        """Return the events that are in an offence of one kind, each once."""
        return list(dict.fromkeys(offence.event for offence in self.offences if offence.kind == kind))


@dataclass(slots=True)
class _Books:
    """The journals, sorted by event and by job."""

    events: int | None = None
    answers: dict[str, list[Answer]] = field(default_factory=lambda: defaultdict(list))
    jobs: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    ends: dict[int, list[Ended]] = field(default_factory=lambda: defaultdict(list))
    received: Counter[str] = field(default_factory=Counter)
    statuses: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    report: Report | None = None

    def told(self, event: str) -> Literal["accepted", "refused", "unknown"]:
        """Say what the client knows of an event: any 202 counts, and so does any attempt that may have got through."""
        answers = self.answers.get(event, [])
        if any(answer.status == 202 for answer in answers):
            return "accepted"
        return "unknown" if not answers or any(answer.sent and answer.status is None for answer in answers) else "refused"

    def end(self, event: str) -> Ended | None:
        """Return how the job of an event ended, if there is exactly one answer to that."""
        ends = [end for job in self.jobs.get(event, []) for end in self.ends.get(job, [])]
        return ends[0] if len(ends) == 1 else None


def draw_up(client: list[Record], pool: list[Record], receiver: list[Record]) -> Account:
    """Draw up the account from the three journals."""
    books = _sorted(client, pool, receiver)
    told = {event: books.told(event) for event in books.answers}
    accepted = [event for event, what in told.items() if what == "accepted"]
    unknown = tuple(event for event, what in told.items() if what == "unknown")
    ends = [end for event in accepted if (end := books.end(event)) is not None]
    last = [books.answers[event][-1] for event, what in told.items() if what == "refused"]
    rules = (_answers, _hand_over, _one_end, _reasons, _receipts, _deliveries, _totals)
    return Account(
        events=books.events or 0,
        accepted=len(accepted),
        ends=Counter((end.state, end.reason) for end in ends),
        refused=Counter(answer.note for answer in last),
        unknown=unknown,
        unknown_accepted=sum(event in books.jobs for event in unknown),
        retries=Counter(answer.note for answers in books.answers.values() for answer in answers if answer.status == 503),
        report=books.report,
        offences=tuple(offence for rule in rules for offence in rule(books)),
    )


def _sorted(client: list[Record], pool: list[Record], receiver: list[Record]) -> _Books:
    books = _Books()
    for load in of(Load, client):
        books.events = load.events
    for answer in of(Answer, client):
        books.answers[answer.event].append(answer)
    for accepted in of(Accepted, pool):
        books.jobs[accepted.event].append(accepted.job)
    for ended in of(Ended, pool):
        books.ends[ended.job].append(ended)
    for report in of(Report, pool):
        books.report = report
    for receipt in of(Receipt, receiver):
        if receipt.status is None:
            books.received[receipt.event] += 1
        else:
            books.statuses[receipt.event].append(receipt.status)
    return books


# The client against itself and against the pool -------------------------------------------------------------------------


def _answers(books: _Books) -> Iterator[Offence]:
    """Every event has an answer, and none is accepted twice."""
    if books.events is None or books.events != len(books.answers):
        yield Offence("numbers", "events", f"the client set out with {books.events}, and accounts for {len(books.answers)}")
    for event, answers in books.answers.items():
        if sum(answer.status == 202 for answer in answers) > 1:
            yield Offence("duplicate", event, "answered 202 more than once")


def _hand_over(books: _Books) -> Iterator[Offence]:
    """What was answered 202 is in the pool, as that job; what was refused is not."""
    for event, answers in books.answers.items():
        jobs = books.jobs.get(event, [])
        for answer in answers:
            if answer.status == 202 and not jobs:
                yield Offence("lost", event, f"answered 202 (job {answer.job}), but the pool never accepted it")
            elif answer.status == 202 and answer.job not in jobs:
                yield Offence("contradiction", event, f"answered 202 as job {answer.job}, but the pool has job {jobs[0]}")
        if jobs and books.told(event) == "refused":
            yield Offence("contradiction", event, f"the client was refused ({answers[-1].note}), but the pool accepted it")
    for event in books.jobs.keys() - books.answers.keys():
        yield Offence("contradiction", event, "accepted by the pool, but the client never sent it")


# The pool against itself ------------------------------------------------------------------------------------------------


def _one_end(books: _Books) -> Iterator[Offence]:
    """Every accepted event has one job, and that one end."""
    known = set()
    for event, jobs in books.jobs.items():
        known.update(jobs)
        if len(jobs) > 1:
            yield Offence("duplicate", event, f"accepted as {len(jobs)} jobs: {', '.join(map(str, jobs))}")
        for job in jobs:
            ends = books.ends.get(job, [])
            if not ends:
                yield Offence("lost", event, f"job {job} was accepted and never ended")
            elif len(ends) > 1:
                yield Offence("duplicate", event, f"job {job} ended {len(ends)} times")
            elif ends[0].event != event:
                yield Offence("contradiction", event, f"job {job} was accepted for it, and ended for {ends[0].event}")
    for job in books.ends.keys() - known:
        yield Offence("contradiction", books.ends[job][0].event, f"job {job} ended without having been accepted")


def _reasons(books: _Books) -> Iterator[Offence]:
    """Whatever did not succeed says why."""
    for ends in books.ends.values():
        for end in ends:
            if end.state != "succeeded" and not end.reason:
                yield Offence("contradiction", end.event, f"{end.state} without a reason")


def _totals(books: _Books) -> Iterator[Offence]:
    """The pool's report adds up, and is the sum of its journal."""
    report = books.report
    if report is None:
        yield Offence("numbers", "report", "the pool left none: it was not closed")
        return
    by_state = Counter((end.state, end.started) for ends in books.ends.values() for end in ends)
    counted = {
        "accepted": sum(map(len, books.jobs.values())),
        "cancelled_queued": by_state["cancelled", False],
        "cancelled_running": by_state["cancelled", True],
        **{
            state: by_state[state, False] + by_state[state, True]
            for state in ("succeeded", "failed", "timed_out", "abandoned")
        },
    }
    for name, count in counted.items():
        if getattr(report, name) != count:
            yield Offence("numbers", name, f"the pool reports {getattr(report, name)}, its journal has {count}")
    total = sum(getattr(report, name) for name in counted if name != "accepted")
    answers = [answer for answers in books.answers.values() for answer in answers]
    refused = sum(answer.status == 503 for answer in answers)
    unheard = sum(answer.status is None and answer.sent for answer in answers)
    if not refused <= report.refused <= refused + unheard:
        yield Offence("numbers", "refused", f"the pool reports {report.refused}, the client heard {refused}")
    if report.accepted != total:
        yield Offence("numbers", "accepted", f"the pool reports {report.accepted}, but ends that sum up to {total}")


# The pool against the receiver ------------------------------------------------------------------------------------------


def _receipts(books: _Books) -> Iterator[Offence]:
    """The receiver gets only what was accepted and started, and that once."""
    for event, count in books.received.items():
        end = books.end(event)
        if count > 1:
            yield Offence("duplicate", event, f"delivered {count} times")
        if event not in books.jobs:
            yield Offence("contradiction", event, "delivered, but the pool never accepted it")
        elif end is not None and not end.started:
            yield Offence("contradiction", event, f"delivered, but job {end.job} says it never started")


def _deliveries(books: _Books) -> Iterator[Offence]:
    """What succeeded was received and answered 2xx; what failed was not.

    What timed out or was cancelled may have been received or not, and even answered in its last moment: nobody can know.
    """
    for event in books.jobs:
        end = books.end(event)
        if end is None:
            continue
        statuses = books.statuses.get(event, [])
        fine = any(200 <= status < 300 for status in statuses)
        if end.state == "succeeded" and event not in books.received:
            yield Offence("lost", event, "succeeded, but the receiver never got it")
        elif end.state == "succeeded" and not fine:
            yield Offence("lost", event, f"succeeded, but the receiver answered {statuses or 'nothing'}")
        elif end.state == "failed" and fine:
            yield Offence("contradiction", event, f"failed ({end.reason}), but the receiver answered {statuses}")
