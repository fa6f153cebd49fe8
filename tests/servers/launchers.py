"""The servers, each as a command line, and how a process of theirs is run to its end."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from tests.real.programs import ROOT
from tests.servers.audit import Journal, audit, read
from tests.servers.client import Answer, Client
from tests.servers.service import HANGS, LONG, QUEUE, REQUESTS, WORKERS, Options

if TYPE_CHECKING:
    from collections.abc import Sequence

SLACK = 10.0  # what a busy machine may take beside

TERM = signal.SIGTERM
Command = Callable[[str, int, int, int], list[str]]


@dataclass(frozen=True)
class Server:
    """How to start a server.

    Attributes:
        name: what it is called.
        needs: the packages that it takes.
        command: its arguments behind `python -m`, for an app, a listening socket's file descriptor, a port,
            and how long to wait for requests, in seconds.
        listens: whether it gets a socket that listens already; else a port, to which nobody else can bind.
        code: with what it ends.
        app: which of tests.servers.apps to serve with it.
        again: whether a second SIGTERM changes nothing.
        group: whether SIGTERM may go to all of its processes.
        cancels: whether it can be told to cancel requests that take too long, before it is killed.
    """

    name: str
    needs: tuple[str, ...]
    command: Command
    listens: bool = True
    code: int = 0
    app: str = "starlette"
    again: bool = True
    group: bool = True
    cancels: bool = True


def _uvicorn(app: str, fd: int, _: int, requests: int) -> list[str]:
    return ["uvicorn", "--factory", app, f"--fd={fd}", f"--timeout-graceful-shutdown={requests}", "--no-access-log"]


def _hypercorn(app: str, fd: int, _: int, requests: int) -> list[str]:
    return ["hypercorn", f"{app}()", f"--bind=fd://{fd}", f"--graceful-timeout={requests}"]


def _granian(app: str, _: int, port: int, __: int) -> list[str]:
    return ["granian", "--interface=asgi", "--factory", app, f"--port={port}", "--workers-kill-timeout=20"]


def _gunicorn(worker: str, *more: str) -> Command:
    def command(app: str, fd: int, _: int, __: int) -> list[str]:
        called = "" if app.endswith("runner") else "()"
        return ["gunicorn", f"{app}{called}", f"--worker-class={worker}", f"--bind=fd://{fd}", "--graceful-timeout=20", *more]

    return command


def _run_app(_: str, fd: int, __: int, ___: int) -> list[str]:
    return ["tests.servers.apps", str(fd)]


SERVERS = {
    server.name: server
    for server in (
        Server("uvicorn", ("uvicorn",), _uvicorn, code=-TERM),
        Server("hypercorn", ("hypercorn",), _hypercorn, group=False, cancels=sys.version_info < (3, 12)),
        Server("granian", ("granian",), _granian, listens=False, cancels=False),
        Server(
            "gunicorn+uvicorn",
            ("gunicorn", "uvicorn_worker"),
            _gunicorn("uvicorn_worker.UvicornWorker", "--config=python:tests.servers.gunicorn_conf"),
        ),
        Server("gunicorn+asgi", ("gunicorn",), _gunicorn("asgi"), cancels=False),
        Server("gunicorn+aiohttp", ("gunicorn", "aiohttp"), _gunicorn("aiohttp.GunicornWebWorker"), app="aiohttp_runner"),
        Server("aiohttp", ("aiohttp",), _run_app, app="aiohttp", again=False),
    )
}


def need(*packages: str) -> None:
    """Skip a test for want of a package."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"missing: pip install 'weirpool[servers]' ({package})")


@dataclass
class Running:
    """A server's process and its client, while the block lasts.

    Attributes:
        server: which it is.
        options: what is asked of the app.
        app: which of tests.servers.apps; by default the one that goes with the server.
        requests: how long the server is to wait for its requests, in seconds, if it can be told.
        workers: how many processes serve.
        more: what is added to the command line.
        client: who asks it.
        process: the process that a supervisor would send its signals to.
        code: how it ended.
        asked_to_end: when it got the first signal, on the clock that all processes share.
        took: seconds from then on to its end.
    """

    server: Server
    options: Options
    app: str = ""
    requests: int = 5
    workers: int = 1
    more: tuple[str, ...] = ()
    client: Client = field(init=False)
    code: int | None = None
    asked_to_end: float = 0.0
    took: float = 0.0

    async def __aenter__(self) -> Self:
        self._journals = Path(self.options.journals)
        self._log = self._journals / "log"
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if not self.server.listens:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(("127.0.0.1", 0))
            if self.server.listens:
                sock.listen(100)
            port = sock.getsockname()[1]
            self._reserved = None if self.server.listens else sock.dup()
            with self._log.open("wb") as log:
                self.process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    *self.server.command(
                        f"tests.servers.apps:{self.app or self.server.app}", sock.fileno(), port, self.requests
                    ),
                    *([f"--workers={self.workers}"] if self.workers > 1 else []),
                    *self.more,
                    cwd=ROOT,
                    env=os.environ | self.options.environment() | {REQUESTS: str(self.requests)},
                    pass_fds=[sock.fileno()],
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        self.client = await Client(f"http://127.0.0.1:{port}", spread=self.workers > 1).__aenter__()
        return self

    async def load(self, *, hanging: bool = False, waiting: bool = False) -> None:
        """Keep it busy, until each of its processes has jobs that run and jobs that wait.

        Args:
            hanging: whether the first job shall be one that swallows its cancellation.
            waiting: whether somebody shall wait for one that takes for ever.
        """
        try:
            async with asyncio.timeout(3 * SLACK):
                await self.client.reach(1, lambda account: True)
                if hanging:
                    await self.client.submit(HANGS)
                self.client.begin(*[LONG] * waiting)
                await self.client.reach(
                    self.workers, lambda account: account["running"] == WORKERS and account["queued"] >= QUEUE // 2
                )
        except TimeoutError:
            raise AssertionError(f"it has never been busy\n{self.log}") from None

    async def end(
        self, *, signals: Sequence[signal.Signals] = (TERM,), gap: float = 0.2, bound: float, group: bool = False
    ) -> None:
        """Send it the signals, and wait for its end.

        Args:
            signals: one after the other.
            gap: the time between them, in seconds.
            bound: how long it may take in all, in seconds.
            group: whether to send them to all of its processes, as systemd does unless it is told otherwise.
        """
        self.asked_to_end = time.monotonic()
        try:
            async with asyncio.timeout(bound + SLACK):
                for number, sig in enumerate(signals):
                    await asyncio.sleep(gap if number else 0)
                    (os.killpg if group else os.kill)(self.process.pid, sig)
                self.code = await self.process.wait()
                self.took = time.monotonic() - self.asked_to_end
                await self.client.end()
        except TimeoutError:
            raise AssertionError(f"it has not ended within {bound} s\n{self.log}") from None

    @property
    def left(self) -> list[int]:
        """The processes that have served, and are still there."""
        return [
            pid for pid in map(int, (path.stem for path in self._journals.glob("*.jsonl"))) if Path(f"/proc/{pid}").exists()
        ]

    @property
    def log(self) -> str:
        """What the server has said."""
        return self._log.read_text()[-6000:]

    @property
    def answers(self) -> list[Answer]:
        """What the client has been told."""
        return self.client.answers

    @property
    def journals(self) -> list[Journal]:
        """What the processes have written down."""
        return [read(path) for path in sorted(self._journals.glob("*.jsonl"))]

    @property
    def report(self) -> dict[str, Any]:
        """What the pool said in the end, where there is one."""
        (journal,) = self.journals
        (report,) = journal.reports
        return report

    def offences(self) -> list[str]:
        """Name everything that does not add up."""
        return list(audit(self.answers, self.journals))

    def ended_after(self) -> int:
        """Say how many jobs have ended after the first signal."""
        return sum(at > self.asked_to_end for journal in self.journals for at in journal.times)

    def cut(self) -> list[Answer]:
        """Return those that were waiting for a job when the first signal came, and never got an answer."""
        before = {n for journal in self.journals for n, at in journal.accepted.values() if at < self.asked_to_end}
        return [
            answer for answer in self.answers if answer.what == "wait" and answer.status is None and answer.number in before
        ]

    async def __aexit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # the workers too
        await self.process.wait()
        await self.client.__aexit__()
        if self._reserved is not None:
            self._reserved.close()
