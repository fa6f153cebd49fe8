"""Waiting for something to happen, by a future of one's own, and waking whoever does."""

from __future__ import annotations

from asyncio import Future

__all__ = ["Waiters", "release"]


class Waiters:
    """Hold the futures of those who wait for the same thing: one of them that is cancelled touches no other."""

    __slots__ = ("_futures",)

    def __init__(self) -> None:
        self._futures: list[Future[None]] = []

    async def wait(self, future: Future[None] | None = None) -> None:
        """Wait until woken; by a future that the caller brings, if it has to be one of a special kind."""
        if future is None:
            future = Future()
        self._futures.append(future)
        try:
            await future
        finally:
            self._futures.remove(future)

    def wake(self) -> None:
        """Wake all who wait."""
        for future in self._futures:
            release(future)


def release(future: Future[None]) -> None:
    """Let go on who waits for a future, unless that is done: its waiter may have been cancelled, and not have woken yet."""
    if not future.done():
        future.set_result(None)
