"""A pool on an event loop in a thread of its own, for tests that are other threads themselves."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from weirpool import WorkerPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 20.0


class Home:
    """The thread in which a pool lives.

    Attributes:
        pool: the pool, which is open.
        loop: its event loop.
    """

    pool: WorkerPool
    loop: asyncio.AbstractEventLoop

    def __init__(self, **settings: Any) -> None:
        self._settings = settings
        self._open = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._live, name="home")
        self._thread.start()
        assert self._open.wait(PATIENCE)

    def _live(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:
            self._error = error
            self._open.set()

    async def _main(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with WorkerPool(**self._settings) as self.pool:
            self._open.set()
            await self._stop.wait()

    def call(self, fn: Callable[[], Any]) -> Any:
        """Call something on the loop, and return what it does."""

        async def called() -> Any:
            return fn()

        return asyncio.run_coroutine_threadsafe(called(), self.loop).result(PATIENCE)

    def close(self) -> None:
        """Close the pool and end the thread."""
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error


@contextmanager
def at_home(**settings: Any) -> Iterator[Home]:
    """Give a pool in a thread of its own; close it afterwards."""
    home = Home(**settings)
    try:
        yield home
    finally:
        home.close()
