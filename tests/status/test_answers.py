"""The status page: what is answered to which request, over ASGI and in aiohttp."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from tests.support import FOREVER, Gate, echo, fail, sleep
from weirpool import JobCancelled, WorkerPool
from weirpool.integrations.status import StatusPage, _page
from weirpool.integrations.status._numbers import key_of

ACTION = {"x-weirpool": "1", "content-type": "application/json", "host": "here"}


class Response:
    """What has been sent."""

    def __init__(self, messages: list[Any]) -> None:
        start, *bodies = messages
        self.status: int = start["status"]
        self.headers = {name.decode(): value.decode() for name, value in start["headers"]}
        self.body = b"".join(message["body"] for message in bodies)
        assert not bodies[-1].get("more_body", False)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def ask(
    page: StatusPage,
    path: str = "/",
    method: str = "GET",
    headers: dict[str, str] | None = None,
    body: Any = b"",
    query: str = "",
    root: str = "",
    *,
    stripped: bool = False,
) -> Response:
    """Make a request over ASGI, as a server does, with a body in two parts, and stay connected."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    incoming = [
        {"type": "http.request", "body": content[:5], "more_body": True},
        {"type": "http.request", "body": content[5:], "more_body": False},
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        return incoming.pop(0) if incoming else await asyncio.get_running_loop().create_future()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path if stripped else root + path,
        "root_path": root,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in (headers or {}).items()],
    }
    await page(scope, receive, send)
    return Response(sent)


async def act(page: StatusPage, action: str, **body: Any) -> Response:
    """Do what a button does."""
    return await ask(page, f"/{action}", "POST", ACTION, body)


# Who asks for what ------------------------------------------------------------------------------------------------------


async def test_browsers_are_given_a_page_that_needs_nothing_from_elsewhere() -> None:
    response = await ask(StatusPage([]), headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert response.status == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    text = response.body.decode()
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in text
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert response.headers["cache-control"] == "no-store"
    assert 'data-controls="off"' in text


@pytest.mark.parametrize(
    ("accept", "query", "kind"),
    [
        ("application/json", "", "application/json"),
        ("application/json, text/html", "", "application/json"),
        ("text/html, application/json", "", "text/html; charset=utf-8"),
        ("*/*", "", "text/html; charset=utf-8"),
        ("text/html", "a=b&format=json", "application/json"),
        ("text/html;q=0.1, application/json", "", "application/json"),
        ("application/json;q=0", "", "text/html; charset=utf-8"),
        ("application/json;q=0.5, text/html;q=0.9", "", "text/html; charset=utf-8"),
    ],
)
async def test_machines_are_given_json_at_the_same_place(accept: str, query: str, kind: str) -> None:
    response = await ask(StatusPage([]), headers={"accept": accept}, query=query)
    assert response.headers["content-type"] == kind


@pytest.mark.complains
async def test_the_json_has_the_statistics_the_jobs_and_the_failures() -> None:
    async with WorkerPool(max_workers=1, name="a") as pool, WorkerPool(name="b") as other:
        with pytest.raises(ValueError, match="no"):
            await pool.run(fail, ValueError("no"))
        handle = await pool.submit(sleep, FOREVER, name="job", timeout=FOREVER)
        await asyncio.sleep(0)
        seen = (await ask(StatusPage((pool, other)), query="format=json")).json
        handle.cancel()
    first, second = seen["pools"]
    assert (first["name"], first["state"], first["accepted"], first["failed"], second["name"]) == ("a", "open", 2, 1, "b")
    assert first["run_time"]["count"] == 1
    assert first["refused"]["full"] == 0
    (job,) = first["running_jobs"]
    assert (job["name"], job["ending"], job["lending"]) == ("job", None, False)
    assert set(job) == {"id", "name", "running_for", "time_left", "lending", "ending", "stack"}
    (failure,) = first["failures"]
    assert (failure["type"], failure["count"]) == ("ValueError", 1)
    assert first["stray_jobs"] == []


async def test_who_is_ready_and_who_lives_is_said() -> None:
    pool = WorkerPool(name="a")
    page = StatusPage(pool)
    response = await ask(page, "/ready")
    assert (response.status, response.json) == (503, {"ready": False, "pools": [{"name": "a", "state": "new"}]})
    async with pool:
        response = await ask(page, "/ready/")
        assert (response.status, response.json) == (200, {"ready": True, "pools": [{"name": "a", "state": "open"}]})
        gate = Gate()
        await pool.submit(gate)
        closing = asyncio.create_task(pool.aclose())
        await asyncio.sleep(0)
        response = await ask(page, "/ready")
        assert (response.status, response.json["ready"]) == (503, False)
        assert (await ask(page, "/live")).status == 200
        gate.open()
        await closing
    assert (await ask(StatusPage([]), "/ready")).status == 503, "where there are no pools yet, nothing is ready"


async def test_pools_may_come_later() -> None:
    pools: list[WorkerPool] = []
    page = StatusPage(lambda: pools)
    assert (await ask(page, query="format=json")).json["pools"] == []
    async with WorkerPool(name="late") as pool:
        pools.append(pool)
        await asyncio.sleep(1)
        assert [pool["name"] for pool in (await ask(page, query="format=json")).json["pools"]] == ["late"]


async def test_many_who_look_at_once_are_told_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    def pools() -> tuple[()]:
        nonlocal asked
        asked += 1
        return ()

    page = StatusPage(pools, interval=60)
    bodies = {(await ask(page, query="format=json")).body for _ in range(10)}
    assert (len(bodies), asked) == (1, 1)


async def test_events_come_each_interval_and_a_stream_ends_so_that_the_server_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_page, "_STREAM", 0.3)
    response = await ask(StatusPage([], interval=0.1), "/events")
    assert response.headers["content-type"] == "text/event-stream"
    retry, *events, rest = response.body.decode().split("\n\n")
    assert (retry, rest) == ("retry: 100", "")  # milliseconds, as the interval
    assert 2 <= len(events) <= 4
    assert all(json.loads(event.removeprefix("data: "))["pools"] == [] for event in events)


async def test_a_stream_ends_when_the_browser_goes() -> None:
    sent: list[Any] = []
    messages = [{"type": "http.request", "body": b""}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    async with asyncio.timeout(5):
        await StatusPage([], interval=4)({"type": "http", "method": "GET", "path": "/events", "headers": []}, receive, send)
    assert sent[-1] == {"type": "http.response.body", "body": b""}


@pytest.mark.parametrize("path", ["/", "/events", "/live"])
async def test_head_has_no_body(path: str) -> None:
    response = await ask(StatusPage([]), path, "HEAD")
    assert (response.status, response.body) == (200, b"")


async def test_under_a_path_without_its_slash_the_page_says_where_it_is() -> None:
    response = await ask(StatusPage([]), "", root="/pools")
    assert (response.status, response.headers["location"]) == (307, "pools/")
    response = await ask(StatusPage([]), "", root="/a/p\u00f6\r\nx", query="format=json")
    assert (response.status, response.headers["location"]) == (307, "p%C3%B6%0D%0Ax/?format=json")
    assert (await ask(StatusPage([]), "/live", root="/l", stripped=True)).status == 200, "as some servers pass it on"
    assert (await ask(StatusPage([]), "/live", root="/pools")).status == 200


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/else", "GET", 404), ("/", "POST", 405), ("/pause", "GET", 405), ("/live", "DELETE", 405), ("/pause/x", "POST", 404)],
)
async def test_what_is_not_there_is_refused(path: str, method: str, status: int) -> None:
    response = await ask(StatusPage([]), path, method)
    assert response.status == status
    assert response.json["error"]
    assert ("allow" in response.headers) == (status == 405)


async def test_served_by_itself_it_answers_the_server_that_starts_and_stops_and_no_websocket() -> None:
    incoming = [{"type": "other"}, {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[Any] = []

    async def receive() -> Any:
        return incoming.pop(0)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    page = StatusPage([])
    await page({"type": "lifespan"}, receive, send)
    await page({"type": "websocket"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete", "websocket.close"]


@pytest.mark.parametrize(
    ("arguments", "options", "error", "says"),
    [
        ([3], {}, TypeError, "pools must be pools, or a function that returns them, got 3"),
        ([["a"]], {}, TypeError, "pools must be pools, or a function that returns them, got 'a'"),
        ([[]], {"controls": 1}, TypeError, "controls must be True or False, got 1"),
        ([[]], {"interval": "1"}, TypeError, "interval must be a number of seconds, got '1'"),
        ([[]], {"interval": 0}, ValueError, "interval must be from 0.05 to 60 seconds, got 0"),
        ([[]], {"interval": float("nan")}, ValueError, "interval must be from 0.05 to 60 seconds, got nan"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: Any, options: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        StatusPage(*arguments, **options)


# The buttons ------------------------------------------------------------------------------------------------------------


async def test_the_buttons_do_what_they_say() -> None:
    async with WorkerPool(min_workers=1, max_workers=4, name="a") as pool:
        page = StatusPage(pool, controls=True)
        assert b'data-controls="on"' in (await ask(page)).body
        here = {"pool": key_of(pool)}
        assert (await act(page, "pause", **here)).json == {"done": "a is paused"}
        assert pool.stats().paused
        assert (await act(page, "resume", **here)).json == {"done": "a goes on"}
        assert not pool.stats().paused
        assert (await act(page, "resize", **here, min_workers=2, max_workers=3)).json == {"done": "a has 2 to 3 workers"}
        assert (pool.stats().min_workers, pool.stats().max_workers) == (2, 3)
        handle = await pool.submit(Gate(), name="job")
        await asyncio.sleep(0)
        assert (await act(page, "cancel", **here, id=handle.id)).json == {"done": "job is being cancelled"}
        with pytest.raises(JobCancelled):
            await handle
        again = await act(page, "cancel", **here, id=handle.id)
        assert (again.status, again.json["error"]) == (409, "no such job is running any more, or it is being ended already")


async def test_a_resize_that_has_to_wait_for_jobs_is_not_waited_for() -> None:
    async with WorkerPool(max_workers=2, name="a") as pool:
        gate = Gate()
        jobs = [await pool.submit(gate) for _ in range(2)]
        await asyncio.sleep(0)
        done = await act(StatusPage(pool, controls=True), "resize", pool=key_of(pool), max_workers=1)
        assert done.json == {"done": "a has 1 to 1 workers"}
        assert (await act(StatusPage(pool, controls=True), "cancel", pool=key_of(pool), id=jobs[1].id)).status == 200
        gate.open()


async def test_without_controls_nothing_can_be_done() -> None:
    async with WorkerPool(name="a") as pool:
        response = await act(StatusPage(pool), "pause", pool=key_of(pool))
        assert (response.status, pool.stats().paused) == (403, False)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-weirpool": "1"},
        {"x-weirpool": "1", "content-type": "text/plain"},
        {"content-type": "application/json"},
        {**ACTION, "sec-fetch-site": "cross-site"},
        {**ACTION, "sec-fetch-site": "same-site", "origin": "http://here"},
        {**ACTION, "origin": "http://elsewhere"},
        {**ACTION, "origin": "null"},
        {**ACTION, "origin": "http://["},
    ],
)
async def test_what_another_site_may_have_sent_is_refused(headers: dict[str, str]) -> None:
    async with WorkerPool(name="a") as pool:
        response = await ask(StatusPage(pool, controls=True), "/pause", "POST", headers, {"pool": key_of(pool)})
        assert (response.status, pool.stats().paused) == (403, False)


@pytest.mark.parametrize(
    "more", [{"sec-fetch-site": "same-origin"}, {"origin": "http://here"}, {"origin": "https://here"}, {}]
)
async def test_what_the_page_itself_or_a_script_sends_is_done(more: dict[str, str]) -> None:
    async with WorkerPool(name="a") as pool:
        response = await ask(StatusPage(pool, controls=True), "/pause", "POST", {**ACTION, **more}, {"pool": key_of(pool)})
        assert (response.status, pool.stats().paused) == (200, True)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"\xff", 400),
        (b"[" * 9000, 400),
        (b"[]", 400),
        (b" " * 20_000, 413),
        ({}, 409),
        ({"pool": "else"}, 409),
        ({"pool": ["its key"]}, 409),
        ({"pool": "its key"}, 400),
        ({"pool": "its key", "min_workers": 9, "max_workers": 3}, 400),
        ({"pool": "its key", "max_workers": "3"}, 400),
        ({"pool": "its key", "max_workers": 0}, 400),
    ],
)
async def test_bad_input_is_refused_and_changes_nothing(body: Any, status: int) -> None:
    async with WorkerPool(min_workers=1, max_workers=4, name="a") as pool:
        if isinstance(body, dict) and body.get("pool") == "its key":
            body = body | {"pool": key_of(pool)}
        response = await ask(StatusPage(pool, controls=True), "/resize", "POST", ACTION, body)
        assert (response.status, bool(response.json["error"])) == (status, True)
        assert (pool.stats().min_workers, pool.stats().max_workers) == (1, 4)


async def test_a_button_of_one_pool_is_not_that_of_another_of_its_name() -> None:
    async with WorkerPool() as gone:
        key = key_of(gone)
    async with WorkerPool() as one, WorkerPool() as other:
        page = StatusPage(lambda: (other, one), controls=True)
        assert (await act(page, "pause", pool=key)).status == 409
        assert (await act(page, "pause", pool=key_of(one))).status == 200
        assert (one.stats().paused, other.stats().paused) == (True, False)


async def test_half_a_request_of_somebody_who_has_gone_does_nothing() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async with WorkerPool() as pool:
        body = json.dumps({"pool": key_of(pool)}).encode()
        incoming = [{"type": "http.request", "body": body, "more_body": True}, {"type": "http.disconnect"}]

        async def receive() -> Any:
            return incoming.pop(0)

        headers = [(name.encode(), value.encode()) for name, value in ACTION.items()]
        scope = {"type": "http", "method": "POST", "path": "/pause", "headers": headers}
        await StatusPage(pool, controls=True)(scope, receive, send)
        assert (sent[0]["status"], pool.stats().paused) == (400, False)


async def test_a_pool_of_another_event_loop_is_shown_without_its_jobs() -> None:
    pool = WorkerPool(name="elsewhere")
    ready, done = threading.Event(), threading.Event()

    async def elsewhere() -> None:
        async with pool:
            await pool.run(echo, 1)
            ready.set()
            await asyncio.to_thread(done.wait, 10)

    thread = threading.Thread(target=asyncio.run, args=[elsewhere()])
    thread.start()
    assert ready.wait(10)
    seen = (await ask(StatusPage(pool), query="format=json")).json["pools"][0]
    assert (seen["name"], seen["accepted"], seen["running_jobs"]) == ("elsewhere", 1, [])
    done.set()
    thread.join(10)


async def test_events_are_brief_and_the_json_is_whole() -> None:
    async def deep(depth: int) -> None:
        await (asyncio.sleep(FOREVER) if depth == 0 else deep(depth - 1))

    async with WorkerPool() as pool:
        handle = await pool.submit(deep, 20)
        with pytest.raises(ValueError, match="x"):
            await pool.run(fail, ValueError("x" * 5000))
        page = StatusPage(pool, interval=60)
        whole = (await ask(page, query="format=json")).json["pools"][0]
        brief = json.loads((await ask(page, "/events")).body.split(b"data: ")[1])["pools"][0]
        handle.cancel()
    assert len(whole["running_jobs"][0]["stack"]) > 20
    assert brief["running_jobs"][0]["stack"] == whole["running_jobs"][0]["stack"][-1:]
    assert len(whole["failures"][0]["traceback"]) > 5000
    assert len(brief["failures"][0]["traceback"]) == 2000


async def test_a_pool_that_is_closed_says_so() -> None:
    async with WorkerPool(name="a") as pool:
        pass
    response = await act(StatusPage(pool, controls=True), "resize", pool=key_of(pool), max_workers=3)
    assert response.status == 409
    assert "closed" in response.json["error"]


# aiohttp ----------------------------------------------------------------------------------------------------------------


async def test_in_aiohttp_it_answers_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_page, "_STREAM", 0.2)
    async with WorkerPool(name="a") as pool:
        page = StatusPage(pool, controls=True, interval=0.1)
        app = web.Application()
        app.router.add_route("*", "/pools/{tail:.*}", page.aiohttp)
        async with TestServer(app) as server, ClientSession(server.make_url("/pools/")) as client:
            async with client.get("ready") as response:
                assert (response.status, (await response.json())["ready"]) == (200, True)
            async with client.get("") as response:
                assert "text/html" in response.headers["content-type"]
                assert "content-security-policy" in response.headers
            async with client.get("?format=json") as response:
                assert (await response.json())["pools"][0]["name"] == "a"
            async with client.get("events") as response:
                events = (await response.text()).split("\n\n")
                assert response.headers["content-type"] == "text/event-stream"
                assert len(events) >= 3
            async with client.head("events") as response:
                assert (response.status, await response.read()) == (200, b"")
            headers = {"X-Weirpool": "1"}
            async with client.post("pause", json={"pool": key_of(pool)}, headers=headers) as response:
                assert (await response.json(), pool.stats().paused) == ({"done": "a is paused"}, True)
            async with client.post(
                "pause", data=b"x" * 20_000, headers=headers | {"Content-Type": "application/json"}
            ) as response:
                assert response.status == 413


async def test_weirpool_top_reads_what_the_page_says() -> None:
    from weirpool.top.page import ask as read

    async with WorkerPool(name="a", max_workers=1) as pool:
        with pytest.raises(ValueError, match="no"):
            await pool.run(fail, ValueError("no"))
        handle = await pool.submit(sleep, FOREVER, name="job")
        app = web.Application()
        app.router.add_route("*", "/pools/{tail:.*}", StatusPage(pool).aiohttp)
        async with TestServer(app) as server:
            seen = await asyncio.to_thread(read, str(server.make_url("/pools/")), {}, 5)
        handle.cancel()
    assert [pool.name for pool in seen.pools] == ["a"]


async def test_in_aiohttp_a_route_without_a_tail_is_refused() -> None:
    class Request:
        match_info: dict[str, str] = {}  # noqa: RUF012

    request: Any = Request()
    with pytest.raises(RuntimeError, match="tail"):
        await StatusPage([]).aiohttp(request)
