"""The service and the client of the demo, each against a real server."""

from __future__ import annotations

import io
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from rich.console import Console

from tests.demo.processes import event
from weirpool.demo.children import Child, ChildError
from weirpool.demo.client import Client
from weirpool.demo.events import Event
from weirpool.demo.journals import Answer, Ended, Journal, Load, Report, of, read
from weirpool.demo.view import LiveView

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

pytestmark = pytest.mark.realtime


@asynccontextmanager
async def service(tmp_path: Path) -> AsyncIterator[tuple[Child, aiohttp.ClientSession]]:
    """Run the service with one worker and no queue, and the receiver."""
    pool = ["--workers=1", "--queue-size=0", "--submit-timeout=0.1", "--job-timeout=9", "--shutdown-timeout=1"]
    async with (
        Child("weirpool.demo.receiver", f"--journal={tmp_path / 'receiver.jsonl'}", log=tmp_path / "receiver.log") as receiver,
        Child(
            "weirpool.demo.service",
            f"--receiver={await receiver.ready()}",
            f"--journal={tmp_path / 'pool.jsonl'}",
            "--cancel-grace=0.5",
            *pool,
            log=tmp_path / "service.log",
        ) as child,
        aiohttp.ClientSession(await child.ready()) as session,
    ):
        yield child, session


async def test_the_service_takes_an_event_says_what_became_of_it_and_refuses_what_it_can_not_hold(tmp_path: Path) -> None:
    async with service(tmp_path) as (child, session):
        async with session.post("/events", json=event(1, "never")) as answer:
            assert (answer.status, answer.headers["Location"]) == (202, "/events/1")
            assert await answer.json() == {"id": 1, "event": "evt_1"}
        async with session.get("/events/1") as answer:
            assert await answer.json() == {"id": 1, "event": "evt_1", "state": "running", "error": None}
        async with session.get("/events/2") as answer:
            assert answer.status == 404
        async with session.post("/events", json=event(2, path="/elsewhere")) as answer:
            assert answer.status == 422
        async with session.post("/events", json=event(2)) as answer:
            assert answer.status == 503
            assert int(answer.headers["Retry-After"]) >= 1
            assert (await answer.json())["reason"] == "the pool is overloaded"
        async with session.get("/stats") as answer:
            stats = await answer.json()
        assert (stats["state"], stats["running"], stats["refused"]["timeout"]) == ("open", 1, 1)
        child.terminate()
        assert await child.ended(10)
    pool = read(tmp_path / "pool.jsonl")
    (ended,) = of(Ended, pool)
    assert (ended.state, ended.reason) == ("cancelled", "shutdown, while running")
    (report,) = of(Report, pool)
    assert (report.accepted, report.cancelled_running, report.refused) == (1, 1, 1)
    assert "Traceback" not in (tmp_path / "service.log").read_text()


async def test_a_child_that_does_not_come_up_says_why(tmp_path: Path) -> None:
    async with Child("weirpool.demo.receiver", "--nonsense", log=tmp_path / "log") as child:
        with pytest.raises(ChildError, match=r"(?s)weirpool\.demo\.receiver ended before it was ready:.*--journal"):
            await child.ready()


async def answers(tmp_path: Path, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> list[Answer]:
    """Send one event to a server that answers by a handler, and return what the client wrote down."""
    app = web.Application()
    app.router.add_post("/events", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        with Journal(tmp_path / "client.jsonl") as journal:
            client = Client(f"http://{host}:{port}", journal, retries=2)
            await client.run([Event.model_validate(event(1))], concurrency=1)
            assert client.answered == 1
            await client.wait_answered(1)
    finally:
        await runner.cleanup()
    records = read(tmp_path / "client.jsonl")
    assert records[0] == Load(1)
    return of(Answer, records)


def unavailable(retry_after: str) -> web.Response:
    return web.json_response({"reason": "overloaded"}, status=503, headers={"Retry-After": retry_after})


async def test_the_client_waits_for_as_long_as_it_is_asked_and_sends_again(tmp_path: Path) -> None:
    moments: list[float] = []

    async def second_time_lucky(_: web.Request) -> web.Response:
        moments.append(time.monotonic())
        return unavailable("1") if len(moments) == 1 else web.json_response({"id": 7}, status=202)

    assert await answers(tmp_path, second_time_lucky) == [
        Answer("evt_1", 1, 503, retry_after=1, note="overloaded"),
        Answer("evt_1", 2, 202, job=7),
    ]
    assert 1.0 <= moments[1] - moments[0] < 2.0


async def test_the_client_gives_up_after_its_retries(tmp_path: Path) -> None:
    async def never(_: web.Request) -> web.Response:
        return unavailable("0")

    written = await answers(tmp_path, never)
    assert [(answer.attempt, answer.status) for answer in written] == [(1, 503), (2, 503), (3, 503)]


async def test_a_connection_that_dies_before_the_answer_is_not_tried_again(tmp_path: Path) -> None:
    async def hang_up(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    (answer,) = await answers(tmp_path, hang_up)
    assert (answer.status, answer.sent) == (None, True)
    assert "Disconnected" in answer.note or "Reset" in answer.note


async def test_another_answer_is_an_end_too(tmp_path: Path) -> None:
    async def teapot(_: web.Request) -> web.Response:
        return web.Response(status=418)

    assert await answers(tmp_path, teapot) == [Answer("evt_1", 1, 418, note="HTTP 418 I'm a Teapot")]


def test_the_live_view_shows_every_number_at_eighty_columns() -> None:
    stats: dict[str, Any] = {
        "accepted": 1101, "queued": 102, "queue_size": 200, "running": 13, "max_workers": 25, "succeeded": 904, "failed": 55,
        "timed_out": 16, "cancelled": 7, "abandoned": 1, "refused": {"full": 300, "closed": 3},
    }  # fmt: skip
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=24)
    with LiveView(2400, console) as view:
        view.enter("under load")
        view.update(stats, 1300)
        view.finish("the account\nlost: 0", fine=True)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    for text in ("under load", "1,300 of 2,400", "102 of 200", "13 of 25", "1,101", "904", "303", "55", "16", "8", "lost: 0"):
        assert text in shown
