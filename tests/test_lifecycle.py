"""The law: what the tables of moves allow can be done, what they do not allow is refused and changes nothing."""

from __future__ import annotations

import copy
import itertools
import pickle
from typing import Any

import pytest

from weirpool import JobState, PoolState, WorkerPool
from weirpool._lifecycle import ENDED, JOB_MOVES, POOL_MOVES, IllegalMove, Ledger

LEGAL_FOR_JOBS = {
    ("QUEUED", "RUNNING"),
    ("QUEUED", "TIMED_OUT"),
    ("QUEUED", "CANCELLED"),
    ("RUNNING", "SUCCEEDED"),
    ("RUNNING", "FAILED"),
    ("RUNNING", "TIMED_OUT"),
    ("RUNNING", "CANCELLED"),
    ("RUNNING", "ABANDONED"),
}
LEGAL_FOR_POOLS = {
    ("NEW", "OPEN"),
    ("NEW", "CLOSED"),
    ("OPEN", "DRAINING"),
    ("DRAINING", "CANCELLING"),
    ("DRAINING", "CLOSED"),
    ("CANCELLING", "CLOSED"),
}
JOB_PAIRS = list(itertools.product(JobState, JobState))
POOL_PAIRS = list(itertools.product(PoolState, PoolState))


class Thing:
    """All that the books need to know of a job."""

    status: JobState
    outcome: object
    number: int


def move(ledger: Ledger, job: Thing, to: JobState) -> None:
    """Move a job, by the verb that leads there."""
    if to is JobState.RUNNING:
        ledger.start(job)
    else:
        ledger.end(job, to, None)


def ledger_with_a_job(state: JobState) -> tuple[Ledger, Thing]:
    """Keep books in which one job has come to a state by legal moves."""
    ledger, job = Ledger(), Thing()
    ledger.accept_queued(job)
    if state is not JobState.QUEUED:
        ledger.start(job)
    if state in ENDED:
        ledger.end(job, state, None)
    return ledger, job


def counts(ledger: Ledger) -> dict[JobState, int]:
    """Return how many jobs are in each state."""
    return {JobState.QUEUED: ledger.queued, JobState.RUNNING: ledger.running, **ledger.ends}


def books(ledger: Ledger) -> dict[str, Any]:
    """Return all that is in the books."""
    return {name: copy.copy(getattr(ledger, name)) for name in Ledger.__slots__}


def test_the_states_are_those_that_the_documentation_knows() -> None:
    assert [state.name for state in JobState] == [
        "QUEUED",
        "RUNNING",
        "SUCCEEDED",
        "FAILED",
        "TIMED_OUT",
        "CANCELLED",
        "ABANDONED",
    ]
    assert [state.name for state in PoolState] == ["NEW", "OPEN", "DRAINING", "CANCELLING", "CLOSED"]
    assert all(state.value == state.name.lower() for state in (*JobState, *PoolState))


def test_the_tables_allow_what_they_should_and_nothing_else() -> None:
    assert {(was.name, to.name) for was, tos in JOB_MOVES.items() for to in tos} == LEGAL_FOR_JOBS
    assert {(was.name, to.name) for was, tos in POOL_MOVES.items() for to in tos} == LEGAL_FOR_POOLS


def test_the_tables_know_every_state() -> None:
    assert set(JOB_MOVES) == set(JobState)
    assert set(POOL_MOVES) == set(PoolState)


def test_the_five_ends_have_no_way_out() -> None:
    assert {state.name for state in ENDED} == {"SUCCEEDED", "FAILED", "TIMED_OUT", "CANCELLED", "ABANDONED"}
    assert all(not JOB_MOVES[state] for state in ENDED)
    assert not POOL_MOVES[PoolState.CLOSED]


def test_every_state_can_be_reached_and_every_way_comes_to_an_end() -> None:
    def reachable(moves: Any, start: Any) -> set[Any]:
        found, new = set(), {start}
        while new:
            found |= new
            new = {to for state in new for to in moves[state]} - found
        return found

    assert reachable(JOB_MOVES, JobState.QUEUED) == set(JobState)
    assert reachable(POOL_MOVES, PoolState.NEW) == set(PoolState)
    for state in JobState:
        assert reachable(JOB_MOVES, state) & ENDED
    for pool_state in PoolState:
        assert PoolState.CLOSED in reachable(POOL_MOVES, pool_state)


def test_a_legal_move_of_a_job_moves_its_state_and_its_count() -> None:
    for was, to in JOB_PAIRS:
        if (was.name, to.name) not in LEGAL_FOR_JOBS:
            continue
        ledger, job = ledger_with_a_job(was)
        move(ledger, job, to)
        assert job.status is to
        assert counts(ledger) == {state: int(state is to) for state in JobState}
        assert ledger.accepted == sum(counts(ledger).values()) == 1
        assert ledger.strays == int(to is JobState.ABANDONED)
        assert ledger.cancelled_queued == int((was, to) == (JobState.QUEUED, JobState.CANCELLED))
        assert ledger.ended == int(to in ENDED)
        assert ledger.unfinished == int(to not in ENDED)


def test_an_illegal_move_of_a_job_is_refused_and_changes_nothing() -> None:
    refused = 0
    for was, to in JOB_PAIRS:
        if (was.name, to.name) in LEGAL_FOR_JOBS:
            continue
        ledger, job = ledger_with_a_job(was)
        before = books(ledger)
        with pytest.raises(IllegalMove, match=f"^job 1: {was.name} -> {to.name}$"):
            move(ledger, job, to)
        assert job.status is was
        assert books(ledger) == before
        refused += 1
    assert refused == 7 * 7 - len(LEGAL_FOR_JOBS)


def pool_in(state: PoolState) -> Ledger:
    """Keep the books of a pool that has come to a state by legal moves."""
    ledger = Ledger()
    for step in PoolState:
        if step is PoolState.NEW or ledger.pool is state:
            continue
        ledger.move_pool(step)
    assert ledger.pool is state
    return ledger


def test_a_legal_move_of_a_pool_moves_its_state_and_nothing_else() -> None:
    for was, to in POOL_PAIRS:
        if (was.name, to.name) in LEGAL_FOR_POOLS:
            ledger = pool_in(was)
            before = books(ledger)
            ledger.move_pool(to)
            assert books(ledger) == before | {"pool": to}


def test_an_illegal_move_of_a_pool_is_refused_and_changes_nothing() -> None:
    refused = 0
    for was, to in POOL_PAIRS:
        if (was.name, to.name) not in LEGAL_FOR_POOLS:
            ledger = pool_in(was)
            before = books(ledger)
            with pytest.raises(IllegalMove, match=f"^pool: {was.name} -> {to.name}$"):
                ledger.move_pool(to)
            assert books(ledger) == before
            refused += 1
    assert refused == 5 * 5 - len(LEGAL_FOR_POOLS)


def test_an_illegal_move_is_a_bug_and_not_an_error_that_a_user_would_catch() -> None:
    from weirpool import PoolError

    assert issubclass(IllegalMove, RuntimeError)
    assert not issubclass(IllegalMove, PoolError)


def test_accepted_jobs_are_numbered_and_counted_where_they_begin() -> None:
    ledger = Ledger()
    jobs = [Thing() for _ in range(4)]
    for job, state in zip(jobs, [JobState.RUNNING, JobState.QUEUED, JobState.QUEUED, JobState.RUNNING], strict=True):
        if state is JobState.RUNNING:
            ledger.accept_running(job)
        else:
            ledger.accept_queued(job)
        assert job.status is state
    assert [job.number for job in jobs] == [1, 2, 3, 4]
    assert (ledger.accepted, ledger.queued, ledger.running) == (4, 2, 2)
    assert (ledger.unfinished, ledger.ended) == (4, 0)


def test_a_stray_that_ends_is_a_stray_no_more_and_stays_abandoned() -> None:
    ledger, job = ledger_with_a_job(JobState.ABANDONED)
    assert ledger.strays == 1
    ledger.stray_ended()
    assert ledger.strays == 0
    assert ledger.ends[JobState.ABANDONED] == 1
    assert job.status is JobState.ABANDONED


def test_states_are_hashed_by_identity_and_survive_copies_and_pickles() -> None:
    for state in (*JobState, *PoolState):
        assert copy.deepcopy(state) is state
        assert pickle.loads(pickle.dumps(state)) is state
        assert {state: 1}[state] == 1
    assert not {JobState.CANCELLED} & {PoolState.CANCELLING}


async def test_a_pool_goes_only_through_legal_moves() -> None:
    pool = WorkerPool()
    states = [pool.state]
    async with pool:
        states.append(pool.state)
        pool.close_intake()
        states.append(pool.state)
    states.append(pool.state)
    assert all((was.name, to.name) in LEGAL_FOR_POOLS for was, to in itertools.pairwise(states))
    assert states[-1] is PoolState.CLOSED


def test_the_states_are_called_as_the_documentation_says() -> None:
    assert [state.value for state in PoolState] == ["new", "open", "draining", "cancelling", "closed"]
    ends = ["succeeded", "failed", "timed_out", "cancelled", "abandoned"]
    assert [state.value for state in JobState] == ["queued", "running", *ends]
