"""The service: a FastAPI application under uvicorn that takes events and delivers them through a pool.

`POST /events` answers 202 with the id of the job that will deliver the event, or 503 with Retry-After when the pool is
overloaded or closing. `GET /events/{id}` says what became of that job, `GET /stats` how the pool is doing.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import math
from collections.abc import AsyncIterator  # noqa: TC003  (FastAPI reads annotations at run time)
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse

from weirpool import JobHandle, PoolClosed, PoolOverloaded, PoolStats, ShutdownReport, WorkerPool

from .child import die_with_parent, listen, say
from .delivery import JobJournal, deliver
from .events import Event  # noqa: TC001
from .journals import Journal, Report

if TYPE_CHECKING:
    from socket import socket
    from types import FrameType

__all__ = ["application"]

_TELL_EVERY = 0.2  # seconds
_HTTP_GRACE = 1  # seconds for requests under way at SIGTERM: with the intake closed, none has anything left to wait for


def application(pool: WorkerPool, receiver: str, journal: Journal, closing_takes: int) -> FastAPI:
    """Return the service; its pool is open while its lifespan lasts.

    Args:
        pool: who delivers; not entered yet.
        receiver: the base URL of whom to deliver to.
        journal: where to put the pool's report in the end.
        closing_takes: after how many seconds to try again who comes while the pool closes.
    """
    # For as long as the process lives, which is short: a service that stays up would forget those that ended long ago.
    jobs: dict[int, JobHandle[int]] = {}

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        unlimited = aiohttp.TCPConnector(limit=0)  # the pool is the limit, of connections and of time
        async with aiohttp.ClientSession(connector=unlimited, timeout=aiohttp.ClientTimeout(total=None)) as session:
            async with pool:
                app.state.session = session
                telling = asyncio.create_task(_tell(pool))
                yield
            telling.cancel()
            say(stats=plain(pool.stats()))
            for handle in jobs.values():
                handle.exception()  # it is in the journal: the pool need not log a failure that nobody has looked at
            assert pool.report is not None
            journal.write(_report(pool.report))

    app = FastAPI(title="weirpool demo", lifespan=lifespan)

    @app.post("/events", status_code=202)
    async def accept(event: Event, response: Response) -> dict[str, Any]:
        handle = await pool.submit(deliver, app.state.session, receiver, event, name=event.id)
        jobs[handle.id] = handle
        response.headers["Location"] = f"/events/{handle.id}"
        return {"id": handle.id, "event": event.id}

    @app.get("/events/{id}")
    async def fate(id: int) -> dict[str, Any]:  # noqa: A002  (what the path calls it)
        if id not in jobs:
            raise HTTPException(404, f"no event was accepted as job {id}")
        handle = jobs[id]
        error = handle.exception() if handle.done() else None
        return {"id": id, "event": handle.name, "state": handle.state.value, "error": error and str(error)}

    @app.get("/stats")
    async def stats() -> dict[str, Any]:
        return plain(pool.stats())

    @app.exception_handler(PoolOverloaded)
    async def overloaded(_: Request, error: PoolOverloaded) -> JSONResponse:
        return _unavailable("the pool is overloaded", error, error.retry_after)

    @app.exception_handler(PoolClosed)
    async def closed(_: Request, error: PoolClosed) -> JSONResponse:
        return _unavailable("the service is closing", error, closing_takes)

    return app


def _unavailable(reason: str, error: Exception, retry_after: int) -> JSONResponse:
    content = {"reason": reason, "detail": str(error)}
    return JSONResponse(content, status_code=503, headers={"Retry-After": str(retry_after)})


def _report(report: ShutdownReport) -> Report:
    """Return the pool's account as a line of its journal."""
    numbers = {name: getattr(report, name) for name in Report.__dataclass_fields__}
    return Report(**numbers | {"refused": sum(report.refused.values())})


async def _tell(pool: WorkerPool) -> None:
    """Tell the parent how the pool is doing, while it closes too, when nobody can ask over HTTP any more."""
    while True:
        say(stats=plain(pool.stats()))
        await asyncio.sleep(_TELL_EVERY)


def plain(stats: PoolStats) -> dict[str, Any]:
    """Return the pool's statistics as what JSON has."""
    values = {field.name: getattr(stats, field.name) for field in dataclasses.fields(stats)}
    times = {name: values[name] and dataclasses.asdict(values[name]) for name in ("time_in_queue", "run_time")}
    return values | times | {"state": stats.state.value, "refused": dict(stats.refused)}


class Server(uvicorn.Server):
    """Tell the parent when it serves, and close the pool's intake at SIGTERM, while uvicorn still answers with a 503."""

    def __init__(self, pool: WorkerPool, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._pool = pool
        self._loop = asyncio.get_running_loop()

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Start, and tell the parent where."""
        await super().startup(sockets)
        assert sockets is not None
        say(ready=f"http://127.0.0.1:{sockets[0].getsockname()[1]}")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Hear of a signal, between any two instructions: what touches the pool has to wait for the loop's next turn."""
        self._loop.call_soon_threadsafe(self._pool.close_intake)
        super().handle_exit(sig, frame)


async def serve(arguments: argparse.Namespace) -> None:
    """Serve until SIGTERM, then close within the pool's bound."""
    with Journal(arguments.journal) as journal, listen() as sock:
        pool = WorkerPool(
            max_workers=arguments.workers,
            queue_size=arguments.queue_size,
            submit_timeout=arguments.submit_timeout,
            job_timeout=arguments.job_timeout,
            shutdown_timeout=arguments.shutdown_timeout,
            cancel_grace=arguments.cancel_grace,
            name="deliveries",
            observers=[JobJournal(journal)],
        )
        app = application(pool, arguments.receiver, journal, math.ceil(arguments.shutdown_timeout))
        config = uvicorn.Config(app, access_log=False, timeout_graceful_shutdown=_HTTP_GRACE)
        await Server(pool, config).serve([sock])


def main() -> None:
    """Run the service's process."""
    parser = argparse.ArgumentParser(prog="python -m weirpool.demo.service", description=__doc__)
    parser.add_argument("--receiver", required=True, help="the base URL of whom to deliver to")
    parser.add_argument("--journal", type=Path, required=True, help="the file to write down what becomes of the jobs")
    for name in ("workers", "queue-size"):
        parser.add_argument(f"--{name}", type=int, required=True, help="see weirpool demo --help")
    for name in ("submit-timeout", "job-timeout", "shutdown-timeout", "cancel-grace"):
        parser.add_argument(f"--{name}", type=float, required=True, help="see weirpool demo --help")
    arguments = parser.parse_args()
    die_with_parent()
    asyncio.run(serve(arguments))


if __name__ == "__main__":
    main()
