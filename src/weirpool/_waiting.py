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
        on_end: called with what it has raised, or None; not if it was cancelled.
    """

    __slots__ = ("_coroutine", "_on_end", "_running")

    def __init__(self, coroutine: Coroutine[Any, Any, None], on_end: Callable[[Exception | None], None]) -> None:
        self._coroutine: Coroutine[Any, Any, None] | None = coroutine
        self._on_end = on_end
        self._running = False

    def go_on(self, _: object = None) -> None:
        """Carry it on until it waits, or has ended."""
        coroutine = self._coroutine
        if coroutine is None:  # it was cancelled when what it waits for was done already
            return
        self._running = True
        try:
            future = coroutine.send(None)
        except StopIteration:
            self._on_end(None)
        except Exception as error:
            self._on_end(error)
        else:
            if self._coroutine is None:  # it was cancelled by something that it has called
                self._end(coroutine)
            else:
                future.add_done_callback(self.go_on, context=Context())
        finally:
            self._running = False

    def cancel(self) -> bool:
        """Cancel it; say whether it has ended by that.

        If it is what calls this, it ends when it waits next; or it comes to its own end, and `on_end` is called.
        """
        coroutine, self._coroutine = self._coroutine, None
        assert coroutine is not None  # else it has ended
        if not self._running:
            self._end(coroutine)
        return not self._running

    def _end(self, coroutine: Coroutine[Any, Any, None]) -> None:
        with suppress(CancelledError):
            coroutine.throw(CancelledError())
