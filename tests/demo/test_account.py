"""The account finds every way in which three journals can fail to add up."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from weirpool.demo.account import Account, Offence, draw_up
from weirpool.demo.audit import text
from weirpool.demo.journals import Accepted, Answer, Ended, Load, Receipt, Record, Report

if TYPE_CHECKING:
    from collections.abc import Sequence

REPORT = Report(4, 1, 1, 1, 1, 0, 0, refused=1, drained=0, drain_seconds=0.0, cancel_seconds=0.0)
FINE_ANSWERED = Answer("fine", 1, 202, job=1)
CUT_ANSWERED = Answer("cut", 1, None, note="disconnected")
FINE_ENDED = Ended("fine", 1, "succeeded", started=True)
BROKEN_ENDED = Ended("broken", 2, "failed", started=True, reason="the receiver answered 500")
SILENT_ENDED = Ended("silent", 3, "timed_out", started=True, reason="too late")
FINE_RECEIVED, FINE_TAKEN = Receipt("fine", None), Receipt("fine", 200)


class Journals:
    """Three journals of a run in which all went as it should; tests doctor them."""

    def __init__(self) -> None:
        self.client: list[Record] = [
            Load(6),
            FINE_ANSWERED,
            Answer("broken", 1, 503, retry_after=1, note="overloaded"),
            Answer("broken", 2, 202, job=2),
            Answer("silent", 1, 202, job=3),
            Answer("queued", 1, 202, job=4),
            Answer("late", 1, None, sent=False, note="connection refused"),
            CUT_ANSWERED,
        ]
        self.pool: list[Record] = [
            Accepted("fine", 1),
            Accepted("broken", 2),
            Accepted("silent", 3),
            Accepted("queued", 4),
            FINE_ENDED,
            BROKEN_ENDED,
            SILENT_ENDED,
            Ended("queued", 4, "cancelled", started=False, reason="shutdown"),
            REPORT,
        ]
        self.receiver: list[Record] = [
            FINE_RECEIVED,
            Receipt("silent", None),
            Receipt("broken", None),
            FINE_TAKEN,
            Receipt("broken", 500),
        ]

    def doctor(
        self,
        *,
        without: Sequence[Record] = (),
        client: Sequence[Record] = (),
        pool: Sequence[Record] = (),
        receiver: Sequence[Record] = (),
        **more: int,
    ) -> None:
        """Take records out of the journals, add others, and add to the numbers of the report."""
        for journal, extra in ((self.client, client), (self.pool, pool), (self.receiver, receiver)):
            journal[:] = [record for record in journal if record not in without] + list(extra)
        if more:
            report = replace(REPORT, **{name: getattr(REPORT, name) + count for name, count in more.items()})
            self.pool[self.pool.index(REPORT)] = report

    def account(self) -> Account:
        return draw_up(self.client, self.pool, self.receiver)

    def offences(self) -> set[tuple[str, str]]:
        return {(offence.kind, offence.event) for offence in self.account().offences}


@pytest.fixture
def journals() -> Journals:
    return Journals()


def test_a_run_in_which_all_went_well_adds_up(journals: Journals) -> None:
    account = journals.account()
    assert account.offences == ()
    assert (account.events, account.accepted, account.unknown, account.unknown_accepted) == (6, 4, ("cut",), 0)
    assert account.ends == {
        ("succeeded", ""): 1,
        ("failed", "the receiver answered 500"): 1,
        ("timed_out", "too late"): 1,
        ("cancelled", "shutdown"): 1,
    }
    assert account.refused == Counter({"connection refused": 1})
    assert account.retries == Counter({"overloaded": 1})


def test_an_event_that_was_accepted_behind_a_dead_connection_is_said_to_be_unknown_to_the_client(journals: Journals) -> None:
    journals.doctor(
        pool=[Accepted("cut", 5), Ended("cut", 5, "succeeded", started=True)],
        receiver=[Receipt("cut", None), Receipt("cut", 200)],
        accepted=1,
        succeeded=1,
    )
    account = journals.account()
    assert account.offences == ()
    assert (account.accepted, account.unknown, account.unknown_accepted) == (4, ("cut",), 1)
    assert "the pool had accepted 1 of them" in text(account)


def test_what_timed_out_may_have_been_answered_in_its_last_moment(journals: Journals) -> None:
    journals.doctor(receiver=[Receipt("silent", 200)])
    assert journals.offences() == set()


# How the journals are doctored, and the offences that must be found then: no fewer, no more.
DOCTORED: dict[str, tuple[dict[str, Any], set[tuple[str, str]]]] = {
    "answered 202, never in the pool": (
        {"without": [CUT_ANSWERED], "client": [Answer("cut", 1, 202, job=9)]},
        {("lost", "cut")},
    ),
    "accepted, never ended": (
        {"without": [SILENT_ENDED], "timed_out": -1},
        {("lost", "silent"), ("numbers", "accepted")},
    ),
    "succeeded, never received": ({"without": [FINE_RECEIVED, FINE_TAKEN]}, {("lost", "fine")}),
    "succeeded, received, never answered": ({"without": [FINE_TAKEN]}, {("lost", "fine")}),
    "succeeded, answered 500": ({"without": [FINE_TAKEN], "receiver": [Receipt("fine", 500)]}, {("lost", "fine")}),
    "delivered twice": ({"receiver": [FINE_RECEIVED]}, {("duplicate", "fine")}),
    "timed out, delivered twice": ({"receiver": [Receipt("silent", None)]}, {("duplicate", "silent")}),
    "answered 202 twice": ({"client": [Answer("fine", 2, 202, job=1)]}, {("duplicate", "fine")}),
    "accepted as two jobs": (
        {"pool": [Accepted("fine", 5), replace(FINE_ENDED, job=5)], "accepted": 1, "succeeded": 1},
        {("duplicate", "fine")},
    ),
    "ended twice": ({"pool": [FINE_ENDED], "succeeded": 1}, {("duplicate", "fine"), ("numbers", "accepted")}),
    "answered 202 as another job": (
        {"without": [FINE_ANSWERED], "client": [Answer("fine", 1, 202, job=7)]},
        {("contradiction", "fine")},
    ),
    "refused, but accepted by the pool": (
        {
            "pool": [Accepted("late", 5), Ended("late", 5, "succeeded", started=True)],
            "receiver": [Receipt("late", None), Receipt("late", 200)],
            "accepted": 1,
            "succeeded": 1,
        },
        {("contradiction", "late")},
    ),
    "never sent, but accepted by the pool": (
        {
            "pool": [Accepted("ghost", 5), Ended("ghost", 5, "failed", started=True, reason="?")],
            "accepted": 1,
            "failed": 1,
        },
        {("contradiction", "ghost")},
    ),
    "delivered, never accepted": ({"receiver": [Receipt("late", None)]}, {("contradiction", "late")}),
    "delivered, never sent": ({"receiver": [Receipt("ghost", None)]}, {("contradiction", "ghost")}),
    "delivered, never started": ({"receiver": [Receipt("queued", None)]}, {("contradiction", "queued")}),
    "failed, but answered 200": ({"receiver": [Receipt("broken", 200)]}, {("contradiction", "broken")}),
    "failed without a reason": (
        {"without": [BROKEN_ENDED], "pool": [replace(BROKEN_ENDED, reason="")]},
        {("contradiction", "broken")},
    ),
    "ended for another event": (
        {"without": [FINE_ENDED], "pool": [replace(FINE_ENDED, event="late")]},
        {("contradiction", "fine")},
    ),
    "ended, never accepted": (
        {"pool": [Ended("late", 8, "failed", started=True, reason="?")], "accepted": 1, "failed": 1},
        {("contradiction", "late"), ("numbers", "accepted")},
    ),
    "an event without an answer": ({"without": [CUT_ANSWERED]}, {("numbers", "events")}),
    "a client that did not say what it set out with": ({"without": [Load(6)]}, {("numbers", "events")}),
    "a pool without a report": ({"without": [REPORT]}, {("numbers", "report")}),
    "fewer refused than the client heard": ({"refused": -1}, {("numbers", "refused")}),
    "more refused than the client can have missed": ({"refused": 2}, {("numbers", "refused")}),
    **{
        f"a report with one more {name}": ({name: 1}, {("numbers", name), ("numbers", "accepted")})
        for name in ("succeeded", "failed", "timed_out", "cancelled_queued", "cancelled_running", "abandoned")
    },
}


@pytest.mark.parametrize("what", DOCTORED)
def test_an_offence_is_found_and_named(journals: Journals, what: str) -> None:
    doctoring, offences = DOCTORED[what]
    journals.doctor(**doctoring)
    assert journals.offences() == offences


def test_the_text_ends_with_what_was_lost_and_names_every_offender(journals: Journals) -> None:
    assert text(journals.account(), "a remark").splitlines()[-3:] == ["a remark", "duplicates: 0", "lost: 0"]
    offences = tuple(Offence("lost", f"evt_{number}", "gone") for number in range(30))
    bad = text(replace(journals.account(), offences=offences))
    assert "IT DOES NOT ADD UP: 30 offences" in bad
    assert all(f"evt_{number}" in bad for number in range(30))
    assert bad.splitlines()[-1] == "lost: 30"


def test_two_offences_of_one_event_are_one_lost_event(journals: Journals) -> None:
    account = replace(journals.account(), offences=(Offence("lost", "evt", "once"), Offence("lost", "evt", "again")))
    assert account.offenders("lost") == ["evt"]
