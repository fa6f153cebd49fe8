"""What every framework's module does, in each of them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.frameworks.apps import ASGI, FRAMEWORKS, Aiohttp, Django, Framework, Quart, Work
from tests.frameworks.client import Connection, StartFailedError
from weirpool import JobCancelled, JobTimeout, PoolClosed, PoolOverloaded, PoolState, WorkerPool
from weirpool.integrations import Pools

pytestmark = pytest.mark.realtime


def named(framework: Framework) -> str:
    return type(framework).__name__.lower()


@pytest.fixture(params=FRAMEWORKS, ids=named)
def framework(request: pytest.FixtureRequest) -> Framework:
    kind: Framework = request.param
    kind.available()
    return kind


@pytest.fixture
def work() -> Work:
    return Work()


def one(**options: Any) -> Pools:
    """Return a definition of one pool."""
    return Pools(lambda: WorkerPool(cancel_grace=0.2, shutdown_timeout=5, **options))


# Life -------------------------------------------------------------------------------------------------------------------


async def test_jobs_are_drained_while_what_they_use_is_still_there(framework: Framework, work: Work) -> None:
    async with framework.served(framework.build(one(), work)) as client:
        reply = await client.ask("/background", "POST")
        assert (reply.status, reply.json) == (202, {"job": 1, "pool": "pool"})
        await work.inside.wait()
        asyncio.get_running_loop().call_later(0.02, work.gate.set)
    assert work.log == (["up", "background", "down"] if framework.has_lifespan else ["background"])


async def test_an_application_may_start_again_with_fresh_pools(framework: Framework, work: Work) -> None:
    work.gate.set()
    app = framework.build(one(), work)
    for _ in range(2):
        if not framework.restarts:
            app = framework.build(one(), work)
        async with framework.served(app) as client:
            assert (await client.ask("/background", "POST")).json["job"] == 1


@pytest.mark.parametrize("framework", [f for f in FRAMEWORKS if f.package != "django"], ids=named)  # of which there is one
async def test_two_applications_may_share_a_definition(framework: Framework, work: Work) -> None:
    framework.available()
    pools, other = one(), Work()
    async with (
        framework.served(framework.build(pools, work)) as first,
        framework.served(framework.build(pools, other)) as second,
    ):
        for made, client in ((work, first), (other, second)):
            made.gate.set()
            assert (await client.ask("/run")).json == {"result": "job"}
        assert work.pool is not other.pool
        assert set(pools) == {work.pool, other.pool}
        assert (pools.ready, len(list(pools))) == (True, 2)
    assert (pools.ready, list(pools)) == (False, [])


async def test_several_pools_have_names(framework: Framework, work: Work) -> None:
    pools = Pools(lambda: WorkerPool(name="first"), mail=lambda: WorkerPool(name="letters"))
    async with framework.served(framework.build(pools, work)) as client:
        assert (await client.ask("/mail")).json == {"name": "letters"}
        assert (await client.ask("/background", "POST")).json == {"job": 1, "pool": "first"}
        work.gate.set()


# Starlette refuses a lifespan that yields a state then, as this one does.
@pytest.mark.parametrize("framework", [f for f in ASGI if f.package != "starlette"], ids=named)
async def test_the_server_need_not_have_a_state_for_the_lifespan(framework: Framework, work: Work) -> None:
    framework.available()
    work.gate.set()
    async with framework.served(framework.build(one(), work), state=False) as client:
        assert (await client.ask("/run")).json == {"result": "job"}


@pytest.mark.complains
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_if_a_pool_cannot_be_opened_the_application_does_not_start(framework: Framework, work: Work) -> None:
    made: list[WorkerPool] = []

    def make() -> WorkerPool:
        made.append(WorkerPool())
        return made[0]  # which is opened twice

    with pytest.raises((StartFailedError, RuntimeError)) as caught:
        async with framework.served(framework.build(Pools(make, mail=make), work)):
            pytest.fail("it has started")
    assert "a pool is used once" in repr(caught.value) + repr(caught.value.__cause__)
    assert made[0].state is PoolState.CLOSED
    assert work.log[:1] == (["up"] if framework.has_lifespan else [])


# Answers ----------------------------------------------------------------------------------------------------------------


async def test_a_full_pool_is_a_503_that_says_when_to_try_again(framework: Framework, work: Work) -> None:
    async with framework.served(framework.build(one(max_workers=1, queue_size=1), work)) as client:
        assert [(await client.ask("/background", "POST")).status for _ in range(2)] == [202, 202]
        reply = await client.ask("/background", "POST")
        assert reply.status == 503
        assert reply.headers["content-type"] == "application/problem+json"
        assert int(reply.headers["retry-after"]) in {1, 2}
        assert "connection" not in reply.headers
        said = reply.json
        assert (said["type"], said["title"], said["status"]) == ("about:blank", "Service Unavailable", 503)
        assert said["reason"] == "overloaded"
        assert "pool" not in said["detail"]
        work.gate.set()
    assert work.log.count("background") == 2


ANSWERED = [
    (lambda: PoolOverloaded("secret", "full", depth=1, limit=1, retry_after=10), 503, "overloaded", range(10, 16)),
    (lambda: PoolClosed("secret"), 503, "closing", (1, 2)),
    (lambda: JobCancelled("secret", "shutdown"), 503, "closing", (1, 2)),
    (lambda: JobTimeout("secret", 1, "running"), 504, "timeout", None),
]


@pytest.mark.parametrize(("error", "status", "reason", "again"), ANSWERED, ids=["full", "closed", "shutdown", "timeout"])
async def test_what_is_answered_to_each_error(
    framework: Framework, work: Work, error: Any, status: int, reason: str, again: Any
) -> None:
    work.error = error()
    async with framework.served(framework.build(one(), work)) as client:
        reply = await client.ask("/raise")
        assert (reply.status, reply.json["status"], reply.json["reason"]) == (status, status, reason)
        assert b"secret" not in reply.body
        assert ("retry-after" in reply.headers) == (again is not None)
        assert again is None or int(reply.headers["retry-after"]) in again
        assert (reply.headers.get("connection") == "close") == (reason == "closing")
        assert reply.error is None


@pytest.mark.complains
@pytest.mark.parametrize("error", [JobCancelled("a", "cancel"), ValueError("no")], ids=["cancelled", "other"])
async def test_other_errors_are_what_they_were(framework: Framework, work: Work, error: Exception) -> None:
    work.error = error
    async with framework.served(framework.build(one(), work)) as client:
        reply = await client.ask("/raise")
        assert reply.status in {500, 0}
        if framework.raises:
            assert reply.error is error


async def test_a_closing_pool_is_a_503_that_ends_the_connection(framework: Framework, work: Work) -> None:
    work.gate.set()
    async with framework.served(framework.build(one(), work)) as client:
        await client.ask("/run")
        assert work.pool is not None
        work.pool.close_intake()
        for path, method in (("/run", "GET"), ("/background", "POST")):
            reply = await client.ask(path, method)
            assert (reply.status, reply.json["reason"], reply.headers["connection"]) == (503, "closing", "close")


@pytest.mark.parametrize("framework", ASGI, ids=named)
async def test_http_2_knows_no_connection_header(framework: Framework, work: Work) -> None:
    framework.available()
    work.error = PoolClosed("a")
    async with framework.served(framework.build(one(), work)) as client:
        reply = await client.ask("/raise", version="2")
        assert (reply.status, reply.headers.get("connection")) == (503, None)


async def test_an_answer_of_the_users_own_takes_precedence(framework: Framework, work: Work) -> None:
    work.error = PoolClosed("a")
    async with framework.served(framework.build(one(), work, own=True)) as client:
        reply = await client.ask("/raise")
        assert (reply.status, reply.json) == (418, {"mine": True})


# Deadlines --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "headers", "least", "most"),
    [
        ({}, {}, None, None),
        ({}, {"Request-Timeout": "5"}, None, None),  # nobody has asked to heed it
        ({"request_timeout": 20}, {}, 15, 20),
        ({"deadline_header": "Request-Timeout"}, {}, None, None),
        ({"deadline_header": "Request-Timeout"}, {"Request-Timeout": "7.5"}, 5, 7.5),
        ({"deadline_header": "Request-Timeout"}, {"Request-Timeout": "999999999"}, 86_000, 86_400),
        ({"deadline_header": "request-timeout", "request_timeout": 20}, {"Request-Timeout": "7"}, 5, 7),
        ({"deadline_header": "Request-Timeout", "request_timeout": 20}, {"Request-Timeout": "70"}, 15, 20),
        ({"deadline_header": "Request-Timeout", "request_timeout": 9, "max_request_timeout": 50}, {}, 5, 9),
        (
            {"deadline_header": "Request-Timeout", "request_timeout": 9, "max_request_timeout": 50},
            {"Request-Timeout": "70"},
            45,
            50,
        ),
        ({"deadline_header": "x-envoy-expected-rq-timeout-ms"}, {"x-envoy-expected-rq-timeout-ms": "7000"}, 5, 7),
    ],
)
async def test_the_deadline_of_a_request_is_that_of_its_jobs(
    framework: Framework, work: Work, options: Any, headers: Any, least: Any, most: Any
) -> None:
    async with framework.served(framework.build(one(), work, **options)) as client:
        said = (await client.ask("/times", headers=headers)).json
        if least is None:
            assert said == {"handler": None, "job": None}
        else:
            assert least < said["job"] <= said["handler"] <= most


async def test_a_request_that_runs_out_of_time_is_a_504(framework: Framework, work: Work) -> None:
    async with framework.served(framework.build(one(), work, deadline_header="Request-Timeout")) as client:
        for value in ("0.02", "0"):
            reply = await client.ask("/run", headers={"Request-Timeout": value})
            assert (reply.status, reply.json["reason"]) == (504, "timeout")


@pytest.mark.parametrize("value", ["", "soon", "-1", "nan", "inf", "1e3", "1,2", "1_0", "9" * 10, "1.", "\u0661"])
async def test_a_deadline_that_makes_no_sense_is_a_400(framework: Framework, work: Work, value: str) -> None:
    async with framework.served(framework.build(one(), work, deadline_header="Request-Timeout")) as client:
        reply = await client.ask("/run", headers={"Request-Timeout": value})
        assert (reply.status, reply.json["reason"]) == (400, "deadline")
        assert reply.headers["content-type"] == "application/problem+json"
        assert "Request-Timeout must be one number of seconds" in reply.json["detail"]


async def test_a_deadline_in_milliseconds_is_called_that(framework: Framework, work: Work) -> None:
    async with framework.served(framework.build(one(), work, deadline_header="X-Timeout-MS")) as client:
        reply = await client.ask("/run", headers={"X-Timeout-MS": "soon"})
        assert "X-Timeout-MS must be one number of milliseconds" in reply.json["detail"]


async def test_a_job_in_the_background_outlives_the_time_of_its_request(framework: Framework, work: Work) -> None:
    async with framework.served(framework.build(one(), work, request_timeout=10)) as client:
        assert (await client.ask("/note", "POST")).status == 202
    assert [step for step in work.log if step not in {"up", "down"}] == [None]


# A client that has gone ---------------------------------------------------------------------------------------------------


def cancelling(framework: Framework) -> dict[str, Any]:
    """Return the option, where there is one: Quart and Django do it without."""
    return {} if framework.cancels else {"cancel_on_disconnect": True}


@pytest.mark.parametrize("framework", ASGI, ids=named)
@pytest.mark.parametrize("body", [(b"",), (b"{}",)], ids=["empty", "body"])
async def test_a_client_that_goes_cancels_the_job_that_it_waits_for(framework: Framework, work: Work, body: Any) -> None:
    framework.available()
    async with framework.served(framework.build(one(), work, **cancelling(framework))) as client:
        connection = Connection(body)
        asking = asyncio.create_task(client.ask("/run", "POST", connection=connection))
        await work.inside.wait()
        assert work.log[-1:] != ["cancelled"]
        connection.disconnect()
        async with asyncio.timeout(5):
            reply = await asking
        assert (reply.status, reply.error) == (0 if framework.cancels else 499, None)
        assert work.log[-1] == "cancelled"
        assert work.pool is not None
        assert work.pool.stats().cancelled == 1


@pytest.mark.parametrize("framework", [f for f in ASGI if not f.cancels], ids=named)
async def test_unless_it_is_asked_for_nothing_is_cancelled(framework: Framework, work: Work) -> None:
    framework.available()
    async with framework.served(framework.build(one(), work)) as client:
        connection = Connection((b"",))
        asking = asyncio.create_task(client.ask("/run", "POST", connection=connection))
        await work.inside.wait()
        connection.disconnect()
        await asyncio.sleep(0.02)
        work.gate.set()
        assert (await asking).json == {"result": "job"}


@pytest.mark.parametrize("framework", ASGI, ids=named)
async def test_a_client_that_stays_is_answered(framework: Framework, work: Work) -> None:
    framework.available()
    work.gate.set()
    async with framework.served(framework.build(one(), work, **cancelling(framework))) as client:
        for body in ((b"",), (b"a", b"b", b"c", b"d")):
            assert (await client.ask("/run", "POST", body=body)).json == {"result": "job"}


# Wrong places -------------------------------------------------------------------------------------------------------------


@pytest.mark.complains
async def test_who_asks_for_pools_that_were_never_installed_is_told_how(
    framework: Framework, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    from weirpool.integrations import _pools

    said: list[str] = []
    original = _pools.of_app

    def of_app(opened: object) -> Any:
        try:
            return original(opened)
        except RuntimeError as error:
            said.append(str(error))
            raise

    for module in ("aiohttp", "asgi", "litestar", "quart", "starlette"):
        try:
            monkeypatch.setattr(f"weirpool.integrations.{module}.of_app", of_app)
        except ImportError:
            continue
    app = framework.build(None, work)
    if framework.package in {"weirpool", "django"}:
        from tests.frameworks.client import AsgiClient

        reply = await AsgiClient(app, None).ask("/run")
    else:
        async with framework.served(app) as client:
            reply = await client.ask("/run")
    assert reply.status in {500, 0}
    assert len(said) == 1
    assert "call install(app, pools) where the application is made" in said[0]


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"timeout": 3}, TypeError, "install() has the options request_timeout, deadline_header, max_request_timeout"),
        ({"request_timeout": "3"}, TypeError, "request_timeout must be a number of seconds, got '3'"),
        ({"request_timeout": 0}, ValueError, "request_timeout must be above 0, got 0"),
        ({"request_timeout": float("nan")}, ValueError, "request_timeout must be from 0 to 86,400 seconds, got nan"),
        ({"deadline_header": 3}, TypeError, "deadline_header must be the name of a header"),
        ({"deadline_header": "a b"}, ValueError, "deadline_header must be the name of a header"),
        ({"max_request_timeout": 3}, ValueError, "max_request_timeout must be None where no deadline_header is given, got 3"),
        (
            {"deadline_header": "a", "request_timeout": 5, "max_request_timeout": 3},
            ValueError,
            "max_request_timeout must be at least request_timeout (5.0 s), got 3",
        ),
    ],
)
def test_options_that_make_no_sense_are_refused(framework: Framework, options: Any, error: Any, says: str) -> None:
    with pytest.raises(error) as caught:
        framework.build(one(), None, **options)  # type: ignore[arg-type]
    assert says in str(caught.value)


@pytest.mark.parametrize("framework", [Quart(), Aiohttp(), Django()], ids=named)
def test_who_wants_handlers_cancelled_where_that_is_no_option_is_told_how(framework: Framework) -> None:
    framework.available()
    with pytest.raises(TypeError, match=r"by Quart and Django in any case, and by aiohttp if .*handler_cancellation=True"):
        framework.build(one(), None, cancel_on_disconnect=True)  # type: ignore[arg-type]


def test_what_is_no_definition_of_pools_is_refused(framework: Framework) -> None:
    pool: Any = WorkerPool()
    pool.names = ("mail",)
    with pytest.raises(TypeError, match=r"pools must be a weirpool\.integrations\.Pools, got <WorkerPool"):
        framework.build(pool, None)  # type: ignore[arg-type]
