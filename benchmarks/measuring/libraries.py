"""Contestants from the package index, each used as its documentation says; and weirpool."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from .contestant import Contestant, Job, within

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

__all__ = ["Aiojobs", "AiolibsExecutor", "Aiometer", "Anyio", "AsyncioPool", "Weirpool"]

_LONG = 600.0  # seconds; for closing, which nothing is to cut short here


class Weirpool(Contestant):
    """`WorkerPool`, with everything on: deadline, context, handle, account."""

    name = "weirpool"
    package = "weirpool"

    @asynccontextmanager
    async def life(self) -> AsyncIterator[None]:
        async with self.library.WorkerPool(
            max_workers=self.workers,
            queue_size=self.waiting,
            job_timeout=self.deadline,
            submit_timeout=None,
            shutdown_timeout=2 * _LONG,
            cancel_grace=_LONG,
        ) as self.pool:
            yield

    async def call(self, fn: Job, *args: Any) -> Any:
        return await (await self.pool.submit(fn, *args))

    async def flood(self, fn: Job, arguments: Sequence[Any]) -> list[Any]:
        handles = [await self.pool.submit(fn, argument) for argument in arguments]
        return [await handle for handle in handles]

    async def fire(self, fn: Job, arguments: Sequence[Any]) -> None:
        for argument in arguments:
            self.pool.submit_nowait(fn, argument)

    async def post(self, fn: Job, *args: Any) -> Any:
        return self.pool.submit_nowait(fn, *args)

    async def abort(self) -> None:
        await self.pool.aclose(timeout=_LONG)  # all of it is grace, as it is no longer than that: cancels at once


class Aiojobs(Contestant):
    """`aiojobs.Scheduler`.

    Whoever waits for a job gives the deadline to `Job.wait`, which closes the job when it is over (and counts the time in the
    queue, too). For a job that nobody waits for yet, it is inside the job.
    """

    name = "aiojobs"
    package = "aiojobs"

    @asynccontextmanager
    async def life(self) -> AsyncIterator[None]:
        async with self.library.Scheduler(
            limit=self.workers, pending_limit=self.waiting, wait_timeout=_LONG, close_timeout=_LONG
        ) as self.scheduler:
            yield

    async def call(self, fn: Job, *args: Any) -> Any:
        job = await self.scheduler.spawn(fn(*args))
        return await job.wait(timeout=self.deadline)

    async def flood(self, fn: Job, arguments: Sequence[Any]) -> list[Any]:
        fn = fn if self.deadline is None else partial(within, self.deadline, fn)
        jobs = [await self.scheduler.spawn(fn(argument)) for argument in arguments]
        return [await job.wait() for job in jobs]

    async def fire(self, fn: Job, arguments: Sequence[Any]) -> None:
        fn = fn if self.deadline is None else partial(within, self.deadline, fn)
        for argument in arguments:
            await self.scheduler.spawn(fn(argument))

    async def post(self, fn: Job, *args: Any) -> Any:
        return await self.scheduler.spawn(fn(*args) if self.deadline is None else within(self.deadline, fn, *args))

    async def abort(self) -> None:
        await self.scheduler.close()


class AiolibsExecutor(Contestant):
    """`aiolibs_executor.Executor`."""

    name = "aiolibs-executor"
    package = "aiolibs_executor"

    @asynccontextmanager
    async def life(self) -> AsyncIterator[None]:
        async with self.library.Executor(self.workers, max_pending=self.waiting) as self.executor:
            yield

    async def call(self, fn: Job, *args: Any) -> Any:
        coroutine = fn(*args) if self.deadline is None else within(self.deadline, fn, *args)
        return await (await self.executor.submit(coroutine))

    async def flood(self, fn: Job, arguments: Sequence[Any]) -> list[Any]:
        fn = fn if self.deadline is None else partial(within, self.deadline, fn)
        futures = [await self.executor.submit(fn(argument)) for argument in arguments]
        return [await future for future in futures]

    async def fire(self, fn: Job, arguments: Sequence[Any]) -> None:
        fn = fn if self.deadline is None else partial(within, self.deadline, fn)
        for argument in arguments:
            self.executor.submit_nowait(fn(argument))

    async def post(self, fn: Job, *args: Any) -> Any:
        return self.executor.submit_nowait(fn(*args) if self.deadline is None else within(self.deadline, fn, *args))

    async def abort(self) -> None:
        await self.executor.shutdown(wait=False, cancel_futures=True)


class AsyncioPool(Contestant):
    """`asyncio_pool.AioPool`. It has no bound on what waits: a batch is spawned with `spawn_n`, as by its `map_n`."""

    name = "asyncio-pool"
    package = "asyncio_pool"

    @asynccontextmanager
    async def life(self) -> AsyncIterator[None]:
        async with self.library.AioPool(self.workers) as self.pool:
            yield

    async def call(self, fn: Job, *args: Any) -> Any:
        return await self.pool.exec(fn(*args) if self.deadline is None else within(self.deadline, fn, *args))

    async def flood(self, fn: Job, arguments: Sequence[Any]) -> list[Any]:
        fn = fn if self.deadline is None else partial(within, self.deadline, fn)
        futures = self.pool.map_n(fn, arguments)
        return [await future for future in futures]

    async def fire(self, fn: Job, arguments: Sequence[Any]) -> None:
        fn = fn if self.deadline is None else partial(within, self.deadline, fn)
        for argument in arguments:
            self.pool.spawn_n(fn(argument))

    async def post(self, fn: Job, *args: Any) -> Any:
        return self.pool.spawn_n(fn(*args) if self.deadline is None else within(self.deadline, fn, *args))

    async def abort(self) -> None:
        await self.pool.cancel()


class Aiometer(Contestant):
    """`aiometer`, which takes a list of arguments and has no way to submit: it takes part where there is a batch."""

    name = "aiometer"
    package = "aiometer"

    @asynccontextmanager
    async def life(self) -> AsyncIterator[None]:
        yield

    async def flood(self, fn: Job, arguments: Sequence[Any]) -> list[Any]:
        fn = fn if self.deadline is None else partial(within, self.deadline, fn)
        async with self.library.amap(fn, arguments, max_at_once=self.workers) as results:
            return [result async for result in results]

    async def fire(self, fn: Job, arguments: Sequence[Any]) -> None:
        fn = fn if self.deadline is None else partial(within, self.deadline, fn)
        await self.library.run_on_each(fn, arguments, max_at_once=self.workers)


class Anyio(Contestant):
    """`anyio.CapacityLimiter` and `fail_after`: around the call where there is a caller, else in a task of a task group."""

    name = "anyio"
    package = "anyio"

    @asynccontextmanager
    async def life(self) -> AsyncIterator[None]:
        self.limiter = anyio.CapacityLimiter(self.workers)
        async with anyio.create_task_group() as self.group:
            yield

    async def call(self, fn: Job, *args: Any) -> Any:
        if self.deadline is None:
            async with self.limiter:
                return await fn(*args)
        async with self.limiter:
            with anyio.fail_after(self.deadline):
                return await fn(*args)

    async def flood(self, fn: Job, arguments: Sequence[Any]) -> list[Any]:
        results: list[Any] = [None] * len(arguments)

        async def keep(index: int, argument: Any) -> None:
            results[index] = await self.call(fn, argument)

        async with anyio.create_task_group() as group:
            for index, argument in enumerate(arguments):
                group.start_soon(keep, index, argument)
        return results

    async def fire(self, fn: Job, arguments: Sequence[Any]) -> None:
        for argument in arguments:
            self.group.start_soon(self.call, fn, argument)

    async def post(self, fn: Job, *args: Any) -> Any:
        return self.group.start_soon(self.call, fn, *args)

    async def abort(self) -> None:
        self.group.cancel_scope.cancel()
