"""One small adapter for each library: open a pool of so many workers, submit, cancel, close it within a budget.

Each does what the library's documentation says, and nothing more. Where a library has no close that is bounded,
`asyncio.timeout` is put around the one that it has, since that is what one would write.
"""

from __future__ import annotations

import asyncio
import importlib
import warnings
from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar, Self

import anyio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    Job = Callable[..., Coroutine[Any, Any, Any]]

__all__ = ["Aiojobs", "AiolibsExecutor", "Anyio", "AsyncioPool", "Job", "Pool", "Stdlib", "Weirpool", "imported"]


def imported(package: str) -> Any:
    """Import a library, as it may not be installed; what warns while its modules load is not tested here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(package)


class Pool(ABC):
    """So many jobs at once, so many that wait, and so many seconds to close in.

    Entering it opens a pool of the library's, leaving it closes that.
    """

    package: ClassVar[str]
    only_a_block: ClassVar[bool] = False  # the library has no way to open one without `async with`

    def __init__(self, *, workers: int = 1, waiting: int = 10, budget: float = 5.0) -> None:
        self.library = imported(self.package)
        self.workers = workers
        self.waiting = waiting
        self.budget = budget
        self._life = self.life()

    async def __aenter__(self) -> Self:
        await self._life.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> bool | None:
        return await self._life.__aexit__(*error)  # type: ignore[arg-type]

    @abstractmethod
    def life(self) -> AbstractAsyncContextManager[None]:
        """Open the pool; afterwards close it, within the budget if the library can."""

    @abstractmethod
    async def submit(self, fn: Job, *args: Any) -> Any:
        """Submit a job, and return what the library returns."""

    async def submit_when_there_is_room(self, fn: Job, *args: Any) -> Any:
        """Submit a job, and wait for room if there is none."""
        return await self.submit(fn, *args)

    async def submit_thread(self, fn: Callable[[], None]) -> None:
        """Submit a function that blocks."""
        await self.submit(asyncio.to_thread, fn)

    async def result(self, handle: Any) -> Any:
        """Wait for a job's result."""
        return await handle

    async def cancel(self, handle: Any) -> None:
        """Cancel a job."""
        handle.cancel()


class Weirpool(Pool):
    package = "weirpool"

    @asynccontextmanager
    async def life(self) -> AsyncIterator[None]:
        async with self.library.WorkerPool(
            max_workers=self.workers,
            queue_size=self.waiting,
            submit_timeout=None,
            shutdown_timeout=self.budget,
            cancel_grace=self.budget / 5,
        ) as self.pool:
            yield

    async def submit(self, fn: Job, *args: Any) -> Any:
        return await self.pool.submit(fn, *args)


class Aiojobs(Pool):
    package = "aiojobs"

    @asynccontextmanager
    async def life(self) -> AsyncIterator[None]:
        async with self.library.Scheduler(
            limit=self.workers,
            pending_limit=self.waiting,
            wait_timeout=self.budget * 4 / 5,
            close_timeout=self.budget / 5,
        ) as self.scheduler:
            yield

    async def submit(self, fn: Job, *args: Any) -> Any:
        coroutine = fn(*args)
        try:
            return await self.scheduler.spawn(coroutine)
        except RuntimeError:  # closed
            coroutine.close()
            raise

    async def result(self, handle: Any) -> Any:
        return await handle.wait()

    async def cancel(self, handle: Any) -> None:
        await handle.close()


class AiolibsExecutor(Pool):
    package = "aiolibs_executor"

    @asynccontextmanager
    async def life(self) -> AsyncIterator[None]:
        self.executor = self.library.Executor(self.workers, max_pending=self.waiting)
        try:
            yield
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.budget):
                    await self.executor.shutdown()

    async def submit(self, fn: Job, *args: Any) -> Any:
        coroutine = fn(*args)
        try:
            return await self.executor.submit(coroutine)
        except Exception:  # closed
            coroutine.close()
            raise


class AsyncioPool(Pool):
    package = "asyncio_pool"

    @asynccontextmanager
    async def life(self) -> AsyncIterator[None]:
        self.pool = self.library.AioPool(self.workers)
        try:
            yield
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.budget):
                    try:
                        async with asyncio.timeout(self.budget * 4 / 5):
                            await self.pool.join()
                    except TimeoutError:
                        await self.pool.cancel()

    async def submit(self, fn: Job, *args: Any) -> Any:
        return self.pool.spawn_n(fn(*args))

    async def submit_when_there_is_room(self, fn: Job, *args: Any) -> Any:
        return await self.pool.spawn(fn(*args))

    async def cancel(self, handle: Any) -> None:
        await self.pool.cancel(handle)  # its documentation: cancelling the future won't do


class Anyio(Pool):
    """A task group, a `CapacityLimiter` and a cancel scope, as one puts them together."""

    package = "anyio"
    only_a_block = True

    @asynccontextmanager
    async def life(self) -> AsyncIterator[None]:
        self.limiter = anyio.CapacityLimiter(self.workers)
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as self.group:
                try:
                    yield
                finally:
                    scope.deadline = anyio.current_time() + self.budget

    async def submit(self, fn: Job, *args: Any) -> Any:
        return self.group.start_soon(self._limited, fn, *args)

    async def submit_thread(self, fn: Callable[[], None]) -> None:
        await self.submit(anyio.to_thread.run_sync, fn)

    async def _limited(self, fn: Job, *args: Any) -> Any:
        async with self.limiter:
            return await fn(*args)


class Stdlib(Pool):
    """`asyncio.TaskGroup`, `Semaphore` and `timeout`, as one puts them together."""

    package = "asyncio"
    only_a_block = True

    @asynccontextmanager
    async def life(self) -> AsyncIterator[None]:
        self.semaphore = asyncio.Semaphore(self.workers)
        with suppress(TimeoutError):
            async with asyncio.timeout(None) as bound, asyncio.TaskGroup() as self.group:
                try:
                    yield
                finally:
                    bound.reschedule(asyncio.get_running_loop().time() + self.budget)

    async def submit(self, fn: Job, *args: Any) -> Any:
        return self.group.create_task(self._limited(fn, *args))

    async def _limited(self, fn: Job, *args: Any) -> Any:
        async with self.semaphore:
            return await fn(*args)
