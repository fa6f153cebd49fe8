"""The pictures under docs/diagrams are drawn from what is so, today."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from tests.drawings.pictures import FOLDER, PICTURES
from tests.drawings.shutdown import GRACE, SHUTDOWN, record
from tests.drawings.states import job_states, pool_states
from weirpool import JobState, PoolState
from weirpool._lifecycle import JOB_MOVES, POOL_MOVES

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.complains
@pytest.mark.realtime
@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_the_one_that_is_drawn(name: str) -> None:
    assert (FOLDER / name).read_text() == PICTURES[name](), "run python -m tests.drawings"


def test_there_are_no_other_pictures() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(PICTURES)


def test_every_move_of_the_tables_is_an_arrow_and_every_state_a_box() -> None:
    for picture, moves, beginnings in ((job_states(), JOB_MOVES, 2), (pool_states(), POOL_MOVES, 1)):
        root = ET.fromstring(picture)
        arrows = [path for path in root.iter(f"{SVG}path") if path.get("class") == "flow"]
        assert len(arrows) == sum(map(len, moves.values())) + beginnings
        assert len({path.get("d") for path in arrows}) == len(arrows)
        assert {text.text for text in root.iter(f"{SVG}text")} > {state.value for state in moves}


def test_a_picture_says_in_words_what_it_shows() -> None:
    about = ET.fromstring(job_states()).findtext(f"{SVG}desc")
    assert about is not None
    assert "queued may become running, timed_out, cancelled" in about
    assert "abandoned is an end" in about


@pytest.mark.complains
@pytest.mark.realtime
def test_the_shutdown_that_is_drawn_has_one_job_of_each_kind_and_keeps_to_its_times() -> None:
    kept = record()
    closing, cancelling = kept.moves[PoolState.DRAINING], kept.moves[PoolState.CANCELLING]
    assert cancelling - closing == pytest.approx(SHUTDOWN - GRACE)
    assert kept.returned - closing == pytest.approx(SHUTDOWN)
    jobs = {span.name: span for span in kept.spans.values()}
    assert closing < jobs["short"].ended < jobs["next"].ended < cancelling, "these end while the pool drains"
    assert jobs["short"].state is jobs["next"].state is JobState.SUCCEEDED
    assert cancelling < jobs["tidy"].ended < kept.returned, "this one cleans up in its grace"
    assert jobs["last"].started is None
    assert jobs["last"].ended == pytest.approx(cancelling)
    assert jobs["stubborn"].state is JobState.ABANDONED
    assert [reason for _, reason in kept.refused] == ["closed"]
    assert closing < kept.refused[0][0] < cancelling
    assert kept.report is not None
    assert kept.report.accepted == len(jobs) == 6
    assert [stray.name for stray in kept.report.strays] == ["stubborn"]
