"""The account finds what is wrong, with doctored journals and with services that have a planted defect."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.servers.audit import STATES, Journal, audit, read
from tests.servers.client import Answer
from tests.servers.service import Options
from tests.servers.test_servers import lost_nothing, running

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Job 1 was answered 202 and delivered; 3 failed, and who waited for it was told; 4 was cancelled in the queue; 6 was refused;
# 7 may or may not have been accepted, for all that the client knows; 8 was waited for.
ANSWERS = [
    Answer(1, "submit", 202),
    Answer(3, "wait", 500),
    Answer(4, "submit", 202),
    Answer(6, "submit", 503),
    Answer(7, "submit", None, "ServerDisconnectedError"),
    Answer(8, "wait", 200),
    Answer(9, "submit", None, "never sent"),
]


def journal() -> Journal:
    """Return the journal of a service in which all went well."""
    return Journal(
        accepted={1: (1, 0.0), 2: (3, 0.0), 3: (4, 0.0), 4: (7, 0.0), 5: (8, 0.0)},
        ends={1: ["succeeded"], 2: ["failed"], 3: ["cancelled_queued"], 4: ["succeeded"], 5: ["succeeded"]},
        done=Counter([1, 7, 8]),
        reports=[
            dict.fromkeys(STATES, 0)
            | {"accepted": 5, "succeeded": 3, "failed": 1, "cancelled_queued": 1, "strays": [], "refused": {"full": 1}}
        ],
    )


def test_where_all_went_well_there_is_nothing_to_find() -> None:
    assert list(audit(ANSWERS, [journal()])) == []


def _undone(its: Journal, _: list[Answer]) -> None:
    del its.done[1]


def _twice(its: Journal, _: list[Answer]) -> None:
    its.done[1] += 1


def _forgotten(its: Journal, _: list[Answer]) -> None:
    del its.accepted[1], its.ends[1], its.done[1]
    its.reports[0] |= {"accepted": 4, "succeeded": 2}


def _endless(its: Journal, _: list[Answer]) -> None:
    del its.ends[2]


def _unnamed(its: Journal, _: list[Answer]) -> None:
    its.reports[0] |= {"abandoned": 1, "succeeded": 2}
    its.ends[1] = ["abandoned"]


def _killed(its: Journal, _: list[Answer]) -> None:
    its.reports.clear()


def _unbalanced(its: Journal, _: list[Answer]) -> None:
    its.reports[0]["failed"] += 1


def _refused_all_the_same(its: Journal, answers: list[Answer]) -> None:
    answers[0] = Answer(1, "submit", 503)


def _waited_and_refused(its: Journal, answers: list[Answer]) -> None:
    answers[5] = Answer(8, "wait", 503)


def _untrue(its: Journal, answers: list[Answer]) -> None:
    answers[1] = Answer(3, "wait", 200)


def _broken(its: Journal, answers: list[Answer]) -> None:
    answers[0] = Answer(1, "submit", 500)


def _unasked(its: Journal, answers: list[Answer]) -> None:
    answers.pop(0)


def _unsent(its: Journal, answers: list[Answer]) -> None:
    answers[4] = Answer(7, "submit", None, "never sent")


DOCTORED: dict[str, tuple[Callable[[Journal, list[Answer]], Any], str]] = {
    "succeeded, and nothing was done": (_undone, "job 1 .* was not delivered"),
    "delivered twice": (_twice, "job 1 .* delivered 2 times"),
    "answered 202, and unknown to the pool": (_forgotten, "job 1 .* lost"),
    "accepted, and never ended": (_endless, "job 3 was accepted, and has the ends"),
    "abandoned, and not named": (_unnamed, "names 0 strays of 1"),
    "killed": (_killed, "0 reports"),
    "a report that does not balance": (_unbalanced, "does not balance"),
    "refused, and accepted": (_refused_all_the_same, "job 1 .* accepted all the same"),
    "waited for, refused, and delivered": (_waited_and_refused, "job 8 .* delivered, and refused"),
    "answered 200, and not done": (_untrue, "job 3 .* lost"),
    "another answer": (_broken, "job 1 .* no such answer"),
    "delivered, and never asked for": (_unasked, "job 1 was delivered, and nobody"),
    "accepted, and never sent": (_unsent, "job 7 .* never sent"),
}


@pytest.mark.parametrize("what", DOCTORED)
def test_an_offence_is_found(what: str) -> None:
    doctor, offence = DOCTORED[what]
    its, answers = journal(), list(ANSWERS)
    doctor(its, answers)
    with pytest.raises(AssertionError, match=offence):
        raise AssertionError("\n".join(audit(answers, [its])))


def test_a_job_in_two_processes_is_found() -> None:
    assert "job 1 (asked to submit, answered 202): accepted 2 times, delivered 2 times" in audit(
        ANSWERS, [journal(), journal()]
    )


@pytest.mark.realtime
async def test_a_service_that_forgets_a_job_is_found_out(tmp_path: Path) -> None:
    async with running("uvicorn", Options(str(tmp_path), forget=2), "starlette") as run:
        await run.load()
        await run.end(bound=5 + 3.0)
    assert [offence for offence in run.offences() if "job 2 " not in offence] == []
    assert any("lost" in offence for offence in run.offences())


@pytest.mark.realtime
async def test_a_pool_without_time_to_close_is_found_out(tmp_path: Path) -> None:
    """Its account adds up, as it names what it has cancelled; but it did not deliver what was accepted."""
    async with running("uvicorn", Options(str(tmp_path), seconds=0.4, shutdown=0.0, grace=0.0), "starlette") as run:
        await run.load()
        await run.end(bound=5)
    assert run.offences() == []
    assert not lost_nothing(run)
    assert run.report["cancelled_queued"] > 0


def test_a_journal_that_was_cut_off_in_a_line_is_no_account(tmp_path: Path) -> None:
    (tmp_path / "1.jsonl").write_text('{"accepted": 1, "number": 1, "at": 0}\n{"ended": 1, "sta')
    with pytest.raises(ValueError, match="Unterminated"):
        read(tmp_path / "1.jsonl")
