"""A service under one of four servers, kept busy by itself, which says in the end what became of its jobs.

    python -m tests.real.service '{"server": "uvicorn", "kind": "stock", "seed": 1, "mix": "endless", "fd": 7}'

It says "ready" when jobs run and wait, and one line of JSON when its pool has closed: the pool's report, and what an observer
and the jobs themselves have counted.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import random
import signal
import socket
import sys
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from tests.real.loops import new_loop
from weirpool import JobTimeout, PoolClosed, PoolOverloaded, WorkerPool
from weirpool.events import JobAccepted, JobEnded, Observer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web

    from weirpool import JobHandle

MIXES = {
    "quick": ["returns"] * 8 + ["raises", "times out"],
    "endless": ["returns"] * 12 + ["raises", "times out", "is endless", "is tidy"],
    "deaf": ["returns"] * 12 + ["raises", "times out", "is endless", "is deaf"],
}
# The pool's budget, and what the servers allow for requests before the pool's turn comes. In seconds.
SHUTDOWN, GRACE, REQUESTS = 0.8, 0.4, 1


def say(line: str) -> None:
    """Tell the test something."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Service(Observer):
    """Run jobs of its own and for whoever asks."""

    def __init__(self, seed: int, mix: str) -> None:
        self.seed = seed
        self._dice = random.Random(seed)
        self._mix = MIXES[mix]
        self._accepted: list[int] = []
        self._ended: list[tuple[int, str]] = []
        self._seen: Counter[str] = Counter()
        self._handles: list[JobHandle[None]] = []
        self.pool = WorkerPool(
            max_workers=4,
            queue_size=20,
            submit_timeout=0.1,
            shutdown_timeout=SHUTDOWN,
            cancel_grace=GRACE,
            observers=[self],
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep the pool open and busy, and account for it in the end, however that comes."""
        try:
            async with self.pool:
                self._feeders = [asyncio.create_task(self._feed()) for _ in range(3)]
                self._telling = asyncio.create_task(self._tell())
                yield
        finally:
            self._account()

    async def answer(self) -> int:
        """Run a job for a request, and return the status of the answer."""
        # A deadline, which counts the time in the queue: hypercorn waits for its requests, whatever its graceful_timeout.
        deadline = asyncio.get_running_loop().time() + REQUESTS / 2
        try:
            await self.pool.run(self._job, self._dice.choice(MIXES["quick"]), deadline=deadline)
        except (PoolClosed, PoolOverloaded):
            return 503
        except JobTimeout:
            return 504
        except ValueError:
            return 500
        self._seen["answered"] += 1
        return 200

    async def _feed(self) -> None:
        while True:
            fate = self._dice.choice(self._mix)
            try:
                handle = await self.pool.submit(self._job, fate, timeout=0.05 if fate == "times out" else None, name=fate)
            except PoolOverloaded:
                continue
            except PoolClosed:
                return
            self._handles.append(handle)

    async def _tell(self) -> None:
        while self.pool.stats().queued < 10:
            await asyncio.sleep(0.005)
        say("ready")

    async def _job(self, fate: str) -> None:
        self._seen["begun"] += 1
        if fate == "returns":
            await asyncio.sleep(self._dice.uniform(0.005, 0.05))
            self._seen["returned"] += 1
        elif fate == "raises":
            await asyncio.sleep(self._dice.uniform(0, 0.02))
            self._seen["raised"] += 1
            raise ValueError(fate)
        elif fate == "is tidy":
            try:
                await asyncio.sleep(3600)
            finally:
                await asyncio.sleep(GRACE / 4)
                self._seen["tidied"] += 1
        else:
            while True:
                try:
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    if fate != "is deaf":
                        raise

    def job_accepted(self, event: JobAccepted) -> None:
        self._accepted.append(event.id)

    def job_ended(self, event: JobEnded) -> None:
        self._ended.append((event.id, event.state.value))

    def _account(self) -> None:
        report = self.pool.report
        account = {
            "report": report and dataclasses.asdict(report),
            "accepted": self._accepted,
            "ended": self._ended,
            "seen": self._seen,
        }
        say(json.dumps(account))
        for handle in self._handles:
            if handle.done():
                handle.exception()  # it is in the account, and need not be logged
        if report is not None and report.strays:
            os._exit(70)  # as docs/shutdown.md advises: asyncio.run would wait for them for ever


# The four servers -------------------------------------------------------------------------------------------------------


def under_asyncio_run(service: Service, kind: str, _: int) -> None:
    """Serve nobody, until SIGTERM; a second one, or Ctrl-C, cancels."""

    async def main() -> None:
        loop, task, stop = asyncio.get_running_loop(), asyncio.current_task(), asyncio.Event()
        assert task is not None
        loop.add_signal_handler(signal.SIGTERM, lambda: task.cancel() if stop.is_set() else stop.set())
        async with service.running():
            await stop.wait()

    with asyncio.Runner(loop_factory=lambda: new_loop(kind)) as runner:
        try:
            runner.run(main())
        except asyncio.CancelledError:
            sys.exit(128 + signal.SIGTERM)


def asgi(service: Service) -> Any:
    """Return the service as an ASGI application."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            async with service.running():
                await send({"type": "lifespan.startup.complete"})
                await receive()
            await send({"type": "lifespan.shutdown.complete"})
        else:
            status = await service.answer()
            await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body"})

    return app


def under_uvicorn(service: Service, kind: str, fd: int) -> None:
    import uvicorn

    config = uvicorn.Config(asgi(service), fd=fd, lifespan="on", log_level="error", timeout_graceful_shutdown=REQUESTS)
    with asyncio.Runner(loop_factory=lambda: new_loop(kind)) as runner:
        runner.run(uvicorn.Server(config).serve())


def under_hypercorn(service: Service, kind: str, fd: int) -> None:
    """With an odd seed, hypercorn gives the lifespan less time than the pool wants, and then cancels it."""
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"fd://{fd}"]
    config.graceful_timeout = REQUESTS
    if service.seed % 2:
        config.shutdown_timeout = SHUTDOWN / 8
    with asyncio.Runner(loop_factory=lambda: new_loop(kind)) as runner:
        runner.run(serve(asgi(service), config))


def under_aiohttp(service: Service, kind: str, fd: int) -> None:
    from aiohttp import web

    async def pool_context(_: web.Application) -> AsyncIterator[None]:
        async with service.running():
            yield

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=await service.answer())

    app = web.Application()
    app.cleanup_ctx.append(pool_context)
    app.add_routes([web.get("/", answer)])
    web.run_app(app, sock=socket.socket(fileno=fd), print=None, shutdown_timeout=REQUESTS, loop=new_loop(kind))


SERVERS = {
    "asyncio.run": under_asyncio_run,
    "uvicorn": under_uvicorn,
    "aiohttp": under_aiohttp,
    "hypercorn": under_hypercorn,
}


def main() -> None:
    """Run the service as the argument says."""
    options = json.loads(sys.argv[1])
    signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored by what is started in the background
    SERVERS[options["server"]](Service(options["seed"], options["mix"]), options["kind"], options["fd"])


if __name__ == "__main__":
    main()
