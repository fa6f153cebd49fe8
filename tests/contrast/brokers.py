"""The adapters of taskiq and SAQ, whose workers take jobs from a broker: here from a queue in memory.

Each is connected to that in the way which the library has for a broker of one's own: a subclass of its abstract class.
"""

from __future__ import annotations

import asyncio
import itertools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from tests.contrast.pools import Pool, imported

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from tests.contrast.pools import Job

__all__ = ["Saq", "Taskiq"]


class Taskiq(Pool):
    """The `Receiver`, which is what `taskiq worker` runs in each of its processes."""

    package = "taskiq"

    @asynccontextmanager
    async def life(self) -> AsyncIterator[None]:
        receiver = imported("taskiq.receiver")
        self.broker = _taskiq_broker(self.library)
        self.numbers = itertools.count()
        finish = asyncio.Event()
        worker = receiver.Receiver(
            self.broker, max_async_tasks=self.workers, run_startup=False, wait_tasks_timeout=self.budget
        )
        listening = asyncio.create_task(worker.listen(finish))
        try:
            yield
        finally:
            finish.set()
            await listening

    async def submit(self, fn: Job, *args: Any) -> Any:
        async def job() -> Any:
            return await fn(*args)

        return await self._task(job).kiq()

    async def submit_thread(self, fn: Callable[[], None]) -> None:
        def job() -> None:
            fn()

        await self._task(job).kiq()

    def _task(self, job: Callable[[], Any]) -> Any:
        return self.broker.register_task(job, task_name=f"job-{next(self.numbers)}")


class Saq(Pool):
    """The `Worker`, which is what `saq` runs."""

    package = "saq"

    @asynccontextmanager
    async def life(self) -> AsyncIterator[None]:
        saq = self.library
        self.queue = _saq_queue(saq)
        self.functions: dict[int, Callable[[], Any]] = {}

        class Worker(saq.Worker):  # type: ignore[misc, name-defined]
            SIGNALS = ()  # which are the test runner's

        async def call(context: Any, *, number: int) -> Any:
            return await self.functions[number]()

        def call_in_thread(context: Any, *, number: int) -> Any:
            return self.functions[number]()

        worker = Worker(
            self.queue,
            [("call", call), ("call_in_thread", call_in_thread)],
            concurrency=self.workers,
            shutdown_grace_period_s=int(self.budget * 3 / 5),
            cancellation_hard_deadline_s=self.budget / 5,
        )
        running = asyncio.create_task(worker.start())
        await asyncio.sleep(0)
        try:
            yield
        finally:
            await worker.stop()
            await running

    async def submit(self, fn: Job, *args: Any) -> Any:
        return await self._enqueue("call", lambda: fn(*args))

    async def submit_thread(self, fn: Callable[[], None]) -> None:
        await self._enqueue("call_in_thread", fn)

    async def _enqueue(self, how: str, function: Callable[[], Any]) -> Any:
        number = len(self.functions)
        self.functions[number] = function
        return await self.queue.enqueue(how, number=number, timeout=0)


def _taskiq_broker(taskiq: Any) -> Any:
    messages: asyncio.Queue[bytes] = asyncio.Queue()

    class MemoryBroker(taskiq.AsyncBroker):  # type: ignore[misc]
        async def kick(self, message: Any) -> None:
            messages.put_nowait(message.message)

        async def listen(self) -> AsyncGenerator[bytes, None]:
            while True:
                yield await messages.get()

    return MemoryBroker()


def _saq_queue(saq: Any) -> Any:
    class MemoryQueue(saq.Queue):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__("memory", None, None)
            self.all: dict[str, Any] = {}
            self.ready: asyncio.Queue[str] = asyncio.Queue()

        async def _enqueue(self, job: Any) -> Any:
            self.all[job.key] = job
            self.ready.put_nowait(job.key)
            return job

        async def dequeue(self, timeout: float = 0.0, poll_interval: float = 0.0) -> Any:
            return self.all[await self.ready.get()]

        async def _update(self, job: Any, status: Any = None, **changes: Any) -> None:
            self.all[job.key] = job

        async def _finish(self, job: Any, status: Any, *, result: Any = None, error: str | None = None) -> None:
            self.all[job.key] = job

        async def _retry(self, job: Any, error: str | None) -> None:
            await self._enqueue(job)

        async def job(self, job_key: str) -> Any:
            return self.all.get(job_key)

        async def jobs(self, job_keys: Any) -> Any:
            return [self.all.get(key) for key in job_keys]

        async def iter_jobs(self, statuses: Any = (), batch_size: int = 100) -> AsyncIterator[Any]:
            for job in list(self.all.values()):
                yield job

        async def count(self, kind: str) -> int:
            return len(self.all)

        async def sweep(self, lock: int = 60, abort: float = 5.0) -> Any:
            return []

        async def abort(self, job: Any, error: str, ttl: float = 5) -> None:
            """Abort nothing: no scenario asks for it."""

        async def info(self, jobs: bool = False, offset: int = 0, limit: int = 10) -> Any:
            return {}

        async def write_worker_info(self, worker_id: str, info: Any, ttl: int) -> None:
            """Tell nobody."""

        async def disconnect(self) -> None:
            """Have nothing to disconnect from."""

    return MemoryQueue()
