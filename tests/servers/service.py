"""What all apps here do: a pool whose every event goes to a journal, and jobs that say so when they are done.

A journal is a file of JSON lines, one file for each process, each line written before anything else happens: what a process
knew that has been killed is still there. The options come in the environment, since a server's command line has no room for
them.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weirpool import WorkerPool
from weirpool.events import JobAccepted, JobEnded, Observer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from weirpool.integrations import Budget

WORKERS, QUEUE = 4, 24
# The numbers of a job that swallows every cancellation, and of one that takes an hour: neither fails.
HANGS, LONG = 1_000_000, 1_000_001
VARIABLE = "WEIRPOOL_TEST_SERVICE"
REQUESTS = "WEIRPOOL_TEST_REQUESTS"  # the variable that says how long a server shall wait for its requests, in seconds


@dataclass(frozen=True)
class Options:
    """What a test asks of a service.

    Attributes:
        journals: the directory for them.
        seconds: how long each job takes.
        shutdown: the pool's `shutdown_timeout`.
        grace: the pool's `cancel_grace`.
        request_timeout: what `install` is told, in seconds.
        budget: what else takes time; None: it is not said.
        forget: a planted defect: this job does not do what it says that it has done.
    """

    journals: str
    seconds: float = 0.08
    shutdown: float = 3.0
    grace: float = 0.5
    request_timeout: float | None = None
    budget: Budget | None = None
    forget: int = -1

    def environment(self) -> dict[str, str]:
        """Return the variables that hand them to the service."""
        return {VARIABLE: json.dumps(dataclasses.asdict(self))}


def fails(number: int) -> bool:
    """Say whether the job of this number raises."""
    return number % 10 == 3


class Service(Observer):
    """Run jobs and write down what becomes of them."""

    def __init__(self) -> None:
        self._options = Options(**json.loads(os.environ[VARIABLE]))
        self.budget = self._options.budget
        self.request_timeout = self._options.request_timeout
        self._pool: WorkerPool | None = None
        self._journal = -1

    def pool(self) -> WorkerPool:
        """Make the pool of this process, not opened yet."""
        path = Path(self._options.journals) / f"{os.getpid()}.jsonl"
        self._journal = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        self._pool = WorkerPool(
            max_workers=WORKERS,
            queue_size=QUEUE,
            submit_timeout=0.05,
            shutdown_timeout=self._options.shutdown,
            cancel_grace=self._options.grace,
            observers=[self],
        )
        return self._pool

    def job(self, number: int) -> Callable[[int], Awaitable[int]]:
        """Return what is to be done for a number."""
        return hang if number == HANGS else self.work

    async def work(self, number: int) -> int:
        """Take some time, and leave a trace, or raise."""
        await asyncio.sleep(3600 if number == LONG else self._options.seconds)
        if fails(number):
            raise ValueError(number)
        if number != self._options.forget:
            self._write(done=number)
        return number

    def account(self) -> dict[str, Any]:
        """Tell how the pool is doing."""
        assert self._pool is not None
        stats = self._pool.stats()
        return {"pid": os.getpid(), "queued": stats.queued, "running": stats.running}

    def leave(self) -> None:
        """Write down the pool's report; if a stray would keep the process alive, end it, as docs/shutdown.md says."""
        assert self._pool is not None
        report = self._pool.report
        self._write(report=report and dataclasses.asdict(report))
        if report is not None and report.strays:
            os._exit(70)

    def job_accepted(self, event: JobAccepted) -> None:
        self._write(accepted=event.id, number=int(event.name), at=time.monotonic())

    def job_ended(self, event: JobEnded) -> None:
        self._write(ended=event.id, state=event.state.value, started=event.ran_for is not None, at=time.monotonic())

    def _write(self, **fields: Any) -> None:
        os.write(self._journal, (json.dumps(fields) + "\n").encode())


async def hang(_: int) -> int:
    """Swallow every cancellation."""
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            continue
