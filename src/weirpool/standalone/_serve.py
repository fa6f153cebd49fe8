"""`serve`: stay until a signal comes, and then close pools."""

from __future__ import annotations

import asyncio
import inspect
import logging
import signal
from typing import TYPE_CHECKING

from weirpool import PoolState, WorkerPool, current_job

from .. import _checks
from .._logs import fields
from ._signals import Signals, listening
from ._systemd import notify

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from weirpool import PoolStats, ShutdownReport

__all__ = ["serve"]

_log = logging.getLogger("weirpool.worker")


async def serve(
    pool: WorkerPool, /, *pools: WorkerPool, delay: float = 0.0, on_stop: Callable[[], object] | None = None
) -> tuple[ShutdownReport, ...]:
    """Stay until SIGTERM or Ctrl-C, and then close the pools.

    ::

        async with WorkerPool(max_workers=32) as pool:
            consumer = asyncio.create_task(consume(pool))
            await serve(pool)

    The first signal drains: intake is closed, and what was accepted is run to its end, within each pool's `shutdown_timeout`.
    The second cancels what is queued and what runs. The third ends the process, even while a job blocks the event loop, with
    128 + the number of the signal as its exit code. It returns earlier if somebody else closes all of the pools. Cancelling it
    leaves the pools as they are, or, once they are being closed, cancels their jobs.

    If NOTIFY_SOCKET is set, systemd is told READY=1 now, and STOPPING=1 at the first signal.

    It is for the `main` of a worker process, under `weirpool.run` or any runner, and only in the main thread. The signals'
    handlers are its own meanwhile, and then those again that were there before. A signal that was ignored stays so.

    Args:
        pool: an open pool.
        pools: more of them; all are closed at the same time.
        delay: how long intake stays open after the first signal, in seconds, for those who look at whether the worker is
            ready: so they hear of it before anything is refused. The second signal ends this, too.
        on_stop: a plain function, called without arguments at the first signal, before the delay: to say that the worker is
            not ready any more, or to stop asking for work. If it raises that is logged, and nothing else changes.

    Returns:
        The pools' accounts, in their order.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: `delay` is out of its range.
        RuntimeError: a pool is not open, or belongs to another event loop; or this is called from another thread than the main
            one, or from a job.
    """
    every = (pool, *pools)
    _check(every, on_stop)
    delay = _checks.seconds("delay", delay, zero="none")
    with listening(asyncio.get_running_loop()) as signals, signals.serving():
        notify("READY=1", f"STATUS=serving {_names(every)}")
        async with asyncio.TaskGroup() as group:
            closed = group.create_task(_closed(every))
            await _either(signals.at(1), closed)
            if not closed.done():
                _announce(every, signals.last, delay, on_stop)
                if delay:
                    await _either(signals.at(2), closed, delay)
                if not closed.done():
                    await _close(every, signals, closed, group)
    return tuple(each.report for each in every if each.report is not None)


def _check(pools: tuple[WorkerPool, ...], on_stop: object) -> None:
    for each in pools:
        if not isinstance(each, WorkerPool):
            raise TypeError(f"pool must be a WorkerPool, got {_checks.shown(each)}")
    if on_stop is not None and (not callable(on_stop) or inspect.iscoroutinefunction(on_stop)):
        raise TypeError(
            f"on_stop must be a plain function or None, it is called and never awaited; got {_checks.shown(on_stop)}"
        )
    if (job := current_job()) is not None:
        raise RuntimeError(f"serve() was called from job {job.name!r}, which it would wait for: call it in main()")
    for each in pools:
        if each.state is PoolState.NEW:
            raise RuntimeError(f"serve() needs a pool that is open, and {each!r} is not: async with WorkerPool(...) as pool")
        try:
            each.running(0)
        except RuntimeError:
            raise RuntimeError(f"serve() must be called on the event loop on which {each!r} was entered") from None


def _announce(pools: Sequence[WorkerPool], number: int, delay: float, on_stop: Callable[[], object] | None) -> None:
    """Tell everybody that the end begins."""
    _log.info(
        "%s: draining %s%s; the next signal cancels the jobs, the one after that ends the process",
        signal.Signals(number).name,
        _names(pools),
        f" in {delay:g} s" if delay else "",
        extra=fields("worker.draining", "", signal=number, delay=delay),
    )
    notify("STOPPING=1", f"STATUS=draining: {_left(pools)}")
    if on_stop is not None:
        try:
            on_stop()
        except Exception:
            _log.exception("on_stop failed; the pools are drained all the same", extra=fields("worker.failed", ""))


async def _close(pools: Sequence[WorkerPool], signals: Signals, closed: asyncio.Task[None], group: asyncio.TaskGroup) -> None:
    """Close the pools, all at once; at the second signal, cancel their jobs."""
    lost = -_cut_short(pools)
    for each in pools:
        each.close_intake()
    begun = asyncio.get_running_loop().create_future()
    number = 0

    async def close(pool: WorkerPool) -> None:
        nonlocal number
        number += 1
        if number == len(pools):
            begun.set_result(None)
        await pool.aclose()

    closing = [group.create_task(close(each)) for each in pools]
    await begun  # a task that is cancelled before its first step takes none
    await _either(signals.at(2), closed)
    if not closed.done():
        _log.warning(
            "%s: cancelling what is left, %s; the next signal ends the process",
            signal.Signals(signals.last).name,
            _left(pools),
            extra=fields("worker.cancelling", "", signal=signals.last),
        )
        notify(f"STATUS=cancelling: {_left(pools)}")
        for task in closing:
            task.cancel()  # which cancels the pool's jobs
        await asyncio.wait({closed})
    signals.lost += lost + _cut_short(pools)


async def _closed(pools: Sequence[WorkerPool]) -> None:
    for each in pools:
        await each.wait_closed()


async def _either(one: asyncio.Future[None], other: asyncio.Future[None], timeout: float | None = None) -> None:
    await asyncio.wait({one, other}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)


def _cut_short(pools: Sequence[WorkerPool]) -> int:
    """Return how many jobs have been cancelled or abandoned."""
    return sum(stats.cancelled + stats.abandoned for stats in _stats(pools))


def _left(pools: Sequence[WorkerPool]) -> str:
    running, queued = (sum(counts) for counts in zip(*((s.running, s.queued) for s in _stats(pools)), strict=True))
    return f"{running} running, {queued} queued"


def _names(pools: Sequence[WorkerPool]) -> str:
    return ", ".join(f"pool {pool.name!r}" for pool in pools)


def _stats(pools: Sequence[WorkerPool]) -> list[PoolStats]:
    return [pool.stats() for pool in pools]
