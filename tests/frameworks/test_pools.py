"""The pools of an application: opened together, closed at once, and ready until the application is about to leave."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from tests.frameworks.client import AsgiClient
from tests.support import Clock, Gate, Stubborn, echo
from tests.test_imports import TOO_MUCH, in_a_new_process
from weirpool import PoolState, WorkerPool
from weirpool.integrations import Budget, Pools, check_budget
from weirpool.integrations.status import StatusPage


def pool(**options: Any) -> WorkerPool:
    return WorkerPool(**{"shutdown_timeout": 0.4, "cancel_grace": 0.1, **options})


# Life -------------------------------------------------------------------------------------------------------------------


async def test_each_opening_makes_pools_anew() -> None:
    pools = Pools(pool, mail=lambda: pool(name="mail"))
    assert pools.names == ("default", "mail")
    assert repr(pools) == "<Pools default, mail>"
    seen: list[WorkerPool] = []
    for _ in range(2):
        async with pools.open() as opened:
            assert opened.names == ("default", "mail")
            assert repr(opened) == "<OpenPools default, mail>"
            assert opened.pool("mail").name == "mail"
            assert await opened.pool().run(echo, 1) == 1
            seen += opened
    assert len({id(each) for each in seen}) == 4
    assert all(each.report is not None for each in seen)


@pytest.mark.complains
async def test_pools_are_closed_at_once_within_the_largest_of_their_times(clock: Clock) -> None:
    gate = Gate()
    async with Pools(lambda: pool(shutdown_timeout=0.3), slow=lambda: pool(shutdown_timeout=0.5)).open() as opened:
        for each in opened:
            await each.submit(gate)
        await asyncio.sleep(0)
        clock.start()
    # A job that heeds its cancellation needs none of its grace, which is the last 0.1 s.
    assert clock.shows(0.4)


@pytest.mark.complains
async def test_a_block_that_is_cancelled_cancels_the_jobs_of_all_pools(clock: Clock) -> None:
    gate, opened = Gate(), Pools(pool, other=pool).open()

    async def serve() -> None:
        async with opened:
            for each in opened:
                await each.submit(gate)
            await asyncio.Event().wait()

    serving = asyncio.create_task(serve())
    await asyncio.sleep(0.1)
    clock.start()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert clock.shows(0)
    assert [each.stats().cancelled for each in opened] == [1, 1]


@pytest.mark.complains
async def test_a_closing_that_is_cancelled_cancels_the_jobs_and_waits_for_all_pools(clock: Clock) -> None:
    gate, opened = Gate(), Pools(pool, other=pool).open()

    async def serve() -> None:
        async with opened:
            for each in opened:
                await each.submit(gate)

    serving = asyncio.create_task(serve())
    await asyncio.sleep(0.1)
    clock.start()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert clock.shows(0)
    assert [(each.state, each.stats().cancelled) for each in opened] == [(PoolState.CLOSED, 1)] * 2


@pytest.mark.complains
async def test_a_job_that_ignores_its_cancellation_does_not_keep_the_application() -> None:
    stubborn = Stubborn()
    async with Pools(pool).open() as opened:
        await opened.pool().submit(stubborn)
        await stubborn.started.wait()
    report = opened.pool().report
    assert report is not None
    assert len(report.strays) == 1
    await stubborn.release()


async def test_if_a_pool_cannot_be_opened_those_that_are_open_are_closed_again() -> None:
    first, broken = pool(), pool()
    await broken.aclose()
    pools = Pools(lambda: first, broken=lambda: broken, third=pool)
    opened = pools.open()
    with pytest.raises(RuntimeError, match="a pool is used once"):
        await opened.__aenter__()
    assert first.state is PoolState.CLOSED
    assert opened.pool("third").state is PoolState.NEW
    assert list(pools) == []


async def test_the_error_of_one_pool_that_closes_does_not_keep_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(WorkerPool):
        async def __aexit__(self, *reason: object) -> None:
            await super().__aexit__(*reason)  # type: ignore[arg-type]
            raise ValueError(self.name)

    opened = Pools(lambda: Broken(name="a"), b=lambda: Broken(name="b"), c=pool).open()
    with pytest.raises(ExceptionGroup, match="pools could not be closed") as caught:
        async with opened:
            pass
    assert [str(error) for error in caught.value.exceptions] == ["a", "b"]
    assert [each.state for each in opened] == [PoolState.CLOSED] * 3
    with pytest.raises(ValueError, match="a"):
        async with Pools(lambda: Broken(name="a")).open():
            pass


# Readiness ----------------------------------------------------------------------------------------------------------------


async def test_ready_turns_false_before_intake_closes_by_the_delay(clock: Clock) -> None:
    pools = Pools(pool, drain_delay=0.3)
    opened = pools.open()
    assert (pools.ready, opened.ready) == (False, False)
    await opened.__aenter__()
    assert (pools.ready, opened.ready) == (True, True)
    clock.start()
    leaving = asyncio.create_task(opened.__aexit__(None, None, None))
    await asyncio.sleep(0.2)
    assert (pools.ready, opened.ready) == (False, False)
    assert await opened.pool().run(echo, 1) == 1, "the load balancer has sent this one before it knew"
    await leaving
    assert clock.shows(0.3)
    assert opened.pool().state is PoolState.CLOSED


async def test_what_the_prestop_hook_has_waited_is_not_waited_again(clock: Clock) -> None:
    async with Pools(pool, drain_delay=0.3).open() as opened:
        clock.start()
        await opened.leave(0.2)
        assert clock.shows(0.2)
        assert not opened.ready
        assert opened.pool().state is PoolState.OPEN
        await opened.leave(0.1)
        assert clock.shows(0.2)
    assert clock.shows(0.3)


async def test_without_a_delay_nothing_is_waited_for(clock: Clock) -> None:
    async with Pools(pool).open() as opened:
        clock.start()
        await opened.leave()
        assert not opened.ready
    assert clock.shows(0)


async def test_a_block_that_is_left_by_an_error_waits_for_no_delay(clock: Clock) -> None:
    clock.start()
    with pytest.raises(ValueError, match="no"):
        async with Pools(pool, drain_delay=0.5).open():
            raise ValueError("no")
    assert clock.shows(0)


@pytest.mark.complains
async def test_a_delay_that_is_cancelled_cancels_the_jobs(clock: Clock) -> None:
    gate, opened = Gate(), Pools(pool, drain_delay=0.5).open()

    async def serve() -> None:
        async with opened:
            await opened.pool().submit(gate)

    clock.start()
    serving = asyncio.create_task(serve())
    await asyncio.sleep(0.1)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert clock.shows(0.1)
    assert opened.pool().stats().cancelled == 1


async def test_the_status_page_shows_what_is_open_and_says_when_it_leaves() -> None:
    pools = Pools(lambda: pool(name="a"))
    client = AsgiClient(StatusPage(pools), None)
    assert (await client.ask("/ready")).status == 503
    async with pools.open() as opened:
        reply = await client.ask("/ready")
        assert (reply.status, reply.json) == (200, {"ready": True, "pools": [{"name": "a", "state": "open"}]})
        assert [each["name"] for each in (await client.ask("/", headers={"accept": "application/json"})).json["pools"]] == [
            "a"
        ]
        await opened.leave()
        for page in (client, AsgiClient(StatusPage(opened), None)):
            reply = await page.ask("/ready")
            assert (reply.status, reply.json["ready"]) == (503, False)
    assert (await client.ask("/ready")).json == {"ready": False, "pools": []}


# The budget ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pools", "budget", "says"),
    [
        (20, {"server_timeout": 5}, None),
        (20, {"server_timeout": 5, "prestop": 4}, None),  # 20 + 5 + 4 + 1 = 30
        (
            20,
            {"server_timeout": 5, "prestop": 4.5},
            "preStop hook 4.5 s + server 5 s + pools 20 s + margin 1 s = 30.5 s, but the",
        ),
        (20, {"server_timeout": 5, "grace_period": 25}, "process is killed after 25 s"),
        (20, {"server_timeout": 5, "grace_period": 25, "margin": 0}, None),
        (0, {"server_timeout": None}, "the server waits for its requests for ever"),
        (WorkerPool(shutdown_timeout=40), {"server_timeout": 0}, "pools 40 s"),
        ([WorkerPool(shutdown_timeout=3), WorkerPool(shutdown_timeout=40)], {"server_timeout": 0}, "pools 40 s"),
        ([], {"server_timeout": 29}, None),
    ],
)
def test_a_budget_that_does_not_fit_is_told(pools: Any, budget: Budget, says: str | None) -> None:
    problems = check_budget(pools, **budget)
    assert (problems == []) if says is None else (len(problems) == 1 and says in problems[0]), problems


@pytest.mark.parametrize(
    ("pools", "budget", "error", "says"),
    [
        (20, {}, TypeError, "a budget has server_timeout, grace_period, prestop, margin, and needs server_timeout"),
        (20, {"server_timeout": 1, "grace": 1}, TypeError, "a budget has server_timeout, grace_period"),
        ("20", {"server_timeout": 1}, TypeError, "pools must be a pool, several, or a number of seconds, got '2' among them"),
        (None, {"server_timeout": 1}, TypeError, "pools must be a number of seconds, got None"),
        (-1, {"server_timeout": 1}, ValueError, "pools must be from 0 to 86,400 seconds, got -1"),
        (20, {"server_timeout": "1"}, TypeError, "server_timeout must be a number of seconds, got '1'"),
        (20, {"server_timeout": 1, "margin": float("nan")}, ValueError, "margin must be from 0 to 86,400 seconds, got nan"),
        (20, {"server_timeout": 1, "prestop": True}, TypeError, "prestop must be a number of seconds, got True"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(pools: Any, budget: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error) as caught:
        check_budget(pools, **budget)
    assert says in str(caught.value)


@pytest.mark.complains
@pytest.mark.parametrize(("delay", "prestop", "warned"), [(0, 5, False), (3, 5, False), (3, 0, False), (9, 0, True)], ids=str)
async def test_a_budget_that_does_not_fit_is_logged_at_the_start(
    caplog: pytest.LogCaptureFixture, delay: float, prestop: float, warned: bool
) -> None:
    budget: Budget = {"server_timeout": 4, "prestop": prestop}
    opened = Pools(lambda: WorkerPool(shutdown_timeout=20), drain_delay=delay, budget=budget).open()
    async with opened:
        records = [record for record in caplog.records if record.name == "weirpool.integrations"]
    assert [record.levelno for record in records] == [logging.WARNING] * warned
    if warned:
        assert "pools 29 s" in records[0].getMessage()


# Imports ------------------------------------------------------------------------------------------------------------------


@pytest.mark.realtime
def test_no_framework_is_imported_before_it_is_asked_for() -> None:
    loaded = in_a_new_process(
        """
        import json, sys
        import weirpool.integrations, weirpool.integrations.asgi, weirpool.integrations.status
        print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
        """
    )
    assert (TOO_MUCH | {"django", "asgiref"}) & set(loaded) == set()


# Bad input ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "options", "error", "says"),
    [
        ([], {}, TypeError, "Pools() needs at least one function that makes a pool: Pools(lambda: WorkerPool(...))"),
        ([WorkerPool()], {}, TypeError, "default must be a function that makes a pool, as one is used once"),
        ([], {"mail": 3}, TypeError, "mail must be a function that makes a pool"),
        ([pool], {"default": pool}, TypeError, "the pool 'default' was given twice"),
        ([pool], {"drain_delay": pool}, TypeError, "drain_delay must be a number of seconds, got <function pool"),
        ([pool], {"drain_delay": -1}, ValueError, "drain_delay must be from 0 to 86,400 seconds, got -1"),
        ([pool], {"budget": {}}, TypeError, "a budget has server_timeout"),
        ([pool], {"budget": pool}, TypeError, "budget must be a weirpool.integrations.Budget(...), got <function"),
    ],
)
def test_what_makes_no_pools_is_refused(arguments: Any, options: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error) as caught:
        Pools(*arguments, **options)
    assert says in str(caught.value)


async def test_a_function_that_returns_no_pool_is_refused_before_any_is_open() -> None:
    made = pool()
    with pytest.raises(TypeError, match="the function given for other must return a WorkerPool, got 3"):
        Pools(lambda: made, other=lambda: 3).open()  # type: ignore[arg-type,return-value]
    assert made.state is PoolState.NEW


async def test_a_pool_that_there_is_not_is_refused_with_the_names_of_those_that_there_are() -> None:
    opened = Pools(pool, mail=pool).open()
    for name in ("post", 3):
        with pytest.raises(ValueError, match=r"pool that Pools\(\) was given \('default', 'mail'\), got "):
            opened.pool(name)  # type: ignore[arg-type]


@pytest.mark.parametrize(("delay", "error"), [("1", TypeError), (-1, ValueError)])
async def test_a_delay_that_makes_no_sense_changes_nothing(delay: Any, error: type[Exception]) -> None:
    async with Pools(pool).open() as opened:
        with pytest.raises(error, match="delay must be"):
            await opened.leave(delay)
        assert opened.ready


async def test_pools_are_opened_once() -> None:
    opened = Pools(pool).open()
    async with opened:
        with pytest.raises(RuntimeError, match="a pool is used once"):
            await opened.__aenter__()
        assert opened.ready
