"""Waiting for something to happen, by a future of one's own, and waking whoever does."""

from __future__ import annotations

from asyncio import CancelledError, Future
from contextlib import suppress
from contextvars import Context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["Errand", "Waiters", "release"]


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


class Errand:
    """Carry on a coroutine that waits for futures and nothing else, without a task.

    So there is nothing that others could cancel or that an account of tasks would show, and no task factory is asked.

    Args:
        coroutine: what to carry on.
        on_end: called with what it has raised, or None, unless it was cancelled.
    """

    __slots__ = ("_coroutine", "_on_end")

    def __init__(self, coroutine: Coroutine[Any, None, None], on_end: Callable[[Exception | None], None]) -> None:
        self._coroutine: Coroutine[Any, None, None] | None = coroutine
        self._on_end = on_end

    def go_on(self, _: object = None) -> None:
        """Carry it on until it waits, or has ended."""
        if self._coroutine is None:  # it was cancelled when what it waits for was done already
            return
        ended_with: Exception | None = None
        try:
            future = self._coroutine.send(None)
        except StopIteration:
            pass
        except Exception as error:
            ended_with = error
        else:
            future.add_done_callback(self.go_on, context=Context())
            return
        self._coroutine = None
        self._on_end(ended_with)

    def cancel(self) -> None:
        """Cancel it; it ends by that, before this returns."""
        coroutine, self._coroutine = self._coroutine, None
        assert coroutine is not None  # else it has ended
        with suppress(CancelledError):
            coroutine.throw(CancelledError())
