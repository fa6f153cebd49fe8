"""Contestants that one writes by hand, out of asyncio itself; and the floor under them all."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Never

from .contestant import Contestant, Job

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

__all__ = ["BareSemaphore", "Floor", "QueueWorkers", "TaskGroupSemaphore"]

logger = logging.getLogger(__name__)


class Floor(Contestant):
    """The same job, awaited directly: no limit, no deadline, no task. A batch is one job after the other."""

    name = "floor"

    @asynccontextmanager
    async def life(self) -> AsyncIterator[None]:
        yield

    async def call(self, fn: Job, *args: Any) -> Any:
        return await fn(*args)

    async def flood(self, fn: Job, arguments: Sequence[Any]) -> list[Any]:
        return [await fn(argument) for argument in arguments]

    async def fire(self, fn: Job, arguments: Sequence[Any]) -> None:
        for argument in arguments:
            await fn(argument)


class BareSemaphore(Contestant):
    """`asyncio.Semaphore` and `asyncio.timeout` around the call, in the caller's own task.

    The least that a careful person writes: no queue bound, no isolation, no shutdown, no account. As it needs callers, it
    takes no part where there is only one.
    """

    name = "Semaphore"

    @asynccontextmanager
    async def life(self) -> AsyncIterator[None]:
        self.semaphore = asyncio.Semaphore(self.workers)
        yield

    async def call(self, fn: Job, *args: Any) -> Any:
        if self.deadline is None:
            async with self.semaphore:
                return await fn(*args)
        async with self.semaphore, asyncio.timeout(self.deadline):
            return await fn(*args)


class Terminate(Exception):
    """Ends a task group, in the way that the documentation of asyncio shows."""


async def terminate() -> Never:
    """Raise it."""
    raise Terminate


class TaskGroupSemaphore(Contestant):
    """A task of an `asyncio.TaskGroup` for each job, and an `asyncio.Semaphore` inside it. No bound on what waits."""

    name = "TaskGroup + Semaphore"

    @asynccontextmanager
    async def life(self) -> AsyncIterator[None]:
        self.semaphore = asyncio.Semaphore(self.workers)
        try:
            async with asyncio.TaskGroup() as self.group:
                yield
        except* Terminate:
            pass

    async def _limited(self, fn: Job, *args: Any) -> Any:
        if self.deadline is None:
            async with self.semaphore:
                return await fn(*args)
        async with self.semaphore, asyncio.timeout(self.deadline):
            return await fn(*args)

    async def call(self, fn: Job, *args: Any) -> Any:
        return await self.group.create_task(self._limited(fn, *args))

    async def flood(self, fn: Job, arguments: Sequence[Any]) -> list[Any]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._limited(fn, argument)) for argument in arguments]
        return [task.result() for task in tasks]

    async def fire(self, fn: Job, arguments: Sequence[Any]) -> None:
        for argument in arguments:
            self.group.create_task(self._limited(fn, argument))

    async def post(self, fn: Job, *args: Any) -> Any:
        return self.group.create_task(self._limited(fn, *args))

    async def abort(self) -> None:
        self.group.create_task(terminate())


class QueueWorkers(Contestant):
    """Resident worker tasks on an `asyncio.Queue(maxsize)`, a `Future` for each job, an `asyncio.timeout` around its run.

    Jobs that nobody will wait for get no future. A sentinel for each worker ends it. No task for each job, no context.
    """

    name = "Queue workers"

    @asynccontextmanager
    async def life(self) -> AsyncIterator[None]:
        self.queue: asyncio.Queue[tuple[Job, tuple[Any, ...], asyncio.Future[Any] | None] | None] = asyncio.Queue(self.waiting)
        self.tasks = [asyncio.create_task(self._work()) for _ in range(self.workers)]
        try:
            yield
        finally:
            for task in self.tasks:
                if not task.done():
                    await self.queue.put(None)
            await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _work(self) -> None:
        while (item := await self.queue.get()) is not None:
            fn, args, future = item
            try:
                if self.deadline is None:
                    result = await fn(*args)
                else:
                    async with asyncio.timeout(self.deadline):
                        result = await fn(*args)
            except Exception as exc:
                if future is None:
                    logger.exception("job failed")
                elif not future.done():
                    future.set_exception(exc)
            else:
                if future is not None and not future.done():
                    future.set_result(result)

    async def call(self, fn: Job, *args: Any) -> Any:
        future = asyncio.get_running_loop().create_future()
        await self.queue.put((fn, args, future))
        return await future

    async def flood(self, fn: Job, arguments: Sequence[Any]) -> list[Any]:
        loop = asyncio.get_running_loop()
        futures = []
        for argument in arguments:
            future = loop.create_future()
            await self.queue.put((fn, (argument,), future))
            futures.append(future)
        return [await future for future in futures]

    async def fire(self, fn: Job, arguments: Sequence[Any]) -> None:
        for argument in arguments:
            self.queue.put_nowait((fn, (argument,), None))

    async def post(self, fn: Job, *args: Any) -> Any:
        future = asyncio.get_running_loop().create_future()
        self.queue.put_nowait((fn, args, future))
        return future

    async def abort(self) -> None:
        while not self.queue.empty():
            item = self.queue.get_nowait()
            if item is not None and item[2] is not None:
                item[2].cancel()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
