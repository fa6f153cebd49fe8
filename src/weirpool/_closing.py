"""The way out: close intake, let what was accepted end by itself, cancel the rest, give up on what ignores that, report.

No task does this, only timers and callbacks, and so nobody can cancel it: the end of `asyncio.run` cancels every task there
is, shielded or not, but no timer. A caller of `aclose()` merely waits for the outcome.

::

    close_intake()      begin(timeout)         escalate()           _give_up()
    OPEN -> DRAINING    starts the clock       -> CANCELLING        what runs is ABANDONED
                        |<-- timeout - grace -->|<------ grace ------>|
                        as soon as nothing is queued and nothing runs: _finish() -> CLOSED

All of that relies on weirpool being free of bugs. If it is not, there is a last resort: a timer, set before anything else is
done, that closes the pool by force if closing has come to a standstill by the time when it has to be over.
"""

from __future__ import annotations

import asyncio
import logging
import math
from contextlib import suppress
from contextvars import Context
from typing import TYPE_CHECKING

from ._lending import outlast
from ._lifecycle import OPEN, Ledger, PoolState
from ._logs import fields
from ._snapshot import account

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._admission import Admission
    from ._crew import Crew
    from ._observers import Listener
    from ._settings import Settings
    from ._snapshot import ShutdownReport

__all__ = ["Closing"]

_log = logging.getLogger("weirpool.pool")

_A_MOMENT = 0.001  # seconds
_LOOKS = 10  # more turns of the loop than it takes from the end of the last job to that of the supervisor
_BEFORE_CANCELLING = {PoolState.NEW, PoolState.DRAINING}  # a pool that is closed before it is open stays NEW


class Closing:
    """Close one pool, within one budget.

    Args:
        settings: what the pool is asked to be; `cancel_grace` is the last part of the budget, kept for jobs to react to their
            cancellation.
        crew: who runs the jobs.
        admission: the way in.
        ledger: the pool's books.
        observers: whom to tell, or None.
        loop: the pool's event loop.
    """

    def __init__(
        self,
        settings: Settings,
        crew: Crew,
        admission: Admission,
        ledger: Ledger,
        observers: Listener | None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.report: ShutdownReport | None = None
        self.on_closed: Callable[[], None] | None = None
        self._name = settings.name
        self._budget = settings.shutdown_timeout
        self._grace = settings.cancel_grace
        self._queue_size = settings.queue_size
        self._crew = crew
        self._admission = admission
        self._ledger = ledger
        self._observers = observers
        self._loop = loop
        self._waiters: set[asyncio.Future[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._give_up_at = math.inf
        self._last_resort: asyncio.TimerHandle | None = None
        self._last_resort_at = math.inf
        self.begun = False
        self._ended_before = 0
        self._drained = 0
        self._began_at = 0.0
        self._cancelled_at: float | None = None

    def move(self, to: PoolState) -> None:
        """Move the pool to another state, and say so."""
        was = self._ledger.pool
        self._ledger.move_pool(to)
        if self._observers is not None:
            self._observers.pool_moved(was, to)

    def open(self) -> None:
        """Begin to accept jobs, unless closing has begun before that."""
        if not self.begun:
            self.move(OPEN)
            with suppress(Exception):  # whatever a logging handler does, the pool is open
                _log.info(
                    "pool %r opened: %d workers, %d jobs may wait",
                    self._name,
                    self._crew.places,
                    self._queue_size,
                    extra=fields("pool.opened", self._name, workers=self._crew.places, queue_size=self._queue_size),
                )

    def fail(self) -> None:
        """Close the pool, as a worker of it has failed to start: others are left, and that has its bound as ever."""
        self.begin(self._budget)

    def close_intake(self) -> None:
        """Accept no more jobs, and turn away the submitters that wait."""
        if self._ledger.pool is OPEN:
            self._ended_before = self._ledger.ended
            self.move(PoolState.DRAINING)
        self._admission.close()

    def begin(self, timeout: float) -> None:
        """Close the pool within `timeout` seconds; if it is closing already, the tighter bound counts."""
        now = self._loop.time()
        self._set_last_resort(now + timeout)
        self.close_intake()
        self._grace = min(self._grace, timeout)
        if not self.begun:
            self._began_at = now
            self._crew.on_idle = self._finish
            self.begun = True
            if self._ledger.unfinished == 0:
                self._finish()
        if self._ledger.pool in _BEFORE_CANCELLING and self._give_up_at == math.inf:
            self._alarm(now + timeout - self._grace, self.escalate)
            if timeout > self._grace:  # there is time to run what was accepted to its end
                self._crew.resume()
        elif self._ledger.pool is not PoolState.CLOSED:
            if self._timer_at < min(now, self._give_up_at):  # halfway, and late: the loop was blocked, but before this call
                self._halfway()
            self._give_up_at = min(self._give_up_at, now + timeout)
            self._alarm(self._give_up_at, self._give_up)

    def escalate(self) -> None:
        """Cancel what is queued and what runs, now; give it the grace, and then give up on it."""
        if not self.begun:
            self.begin(self._grace)
        self._set_last_resort(self._loop.time() + self._grace)
        if self._ledger.pool not in _BEFORE_CANCELLING:
            return
        if self._ledger.unfinished:
            self.move(PoolState.CANCELLING)
        if not self._ledger.unfinished:  # or an observer has just cancelled the last of them
            self._hurry_workers()
            return
        self._drained = self._ledger.ended - self._ended_before
        self._cancelled_at = self._loop.time()
        # Armed before anything is cancelled, so that the pool will close whatever happens below; and counted from now: if
        # something has been blocking the loop, the jobs still get their grace.
        self._timer_at = math.inf
        self._give_up_at = self._cancelled_at + self._grace
        self._alarm(self._cancelled_at + self._grace / 2, self._halfway)
        self._crew.cancel_all("shutdown")
        self._crew.supervisor.hand_in()

    def _hurry_workers(self) -> None:
        """Cancel the contexts of workers, which are all that is left, and give up on them after the grace."""
        if self.report is None:
            self._crew.supervisor.hurry()
            if self._give_up_at == math.inf:
                self._timer_at = math.inf
                self._give_up_at = self._loop.time() + self._grace
                self._alarm(self._give_up_at, self._give_up)

    def supervisor_ended(self, supervisor: asyncio.Task[None]) -> None:
        """Finish closing, now that no task is left; or close, if the supervisor ended for another reason."""
        if not supervisor.cancelled() and (error := supervisor.exception()) is not None:
            self._confess("failed from within, and closes", error)
        if self.report is None:
            self.begin(0)
            self._finish()

    async def wait(self) -> ShutdownReport:
        """Wait until the pool is closed. Being cancelled meanwhile escalates, and is passed on at the end."""
        try:
            await self.closed()
        except asyncio.CancelledError:
            self.escalate()
            await outlast(self.closed, lambda: self.report is not None)
            raise
        assert self.report is not None
        return self.report

    async def closed(self) -> None:
        """Wait until the pool is closed; being cancelled meanwhile touches nothing."""
        if self.report is None:
            waiter = self._loop.create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)

    def _alarm(self, at: float, call: Callable[[], None]) -> None:
        """Call something at a time, unless something is to be called earlier."""
        if at < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = at
            self._timer = self._loop.call_at(at, call, context=Context())

    def _halfway(self) -> None:
        """Set the alarm for the second half of the grace, of which something that blocks the loop now can't rob the jobs."""
        late = max(0.0, self._loop.time() - self._timer_at)
        self._timer_at = math.inf
        self._give_up_at += late
        if not self._ledger.unfinished:  # what is left are the contexts of workers
            self._crew.supervisor.hurry()
        self._alarm(self._give_up_at, self._give_up)

    def _give_up(self) -> None:
        self._crew.supervisor.give_up_readers()
        self._crew.abandon_all()
        self._give_up_workers(_LOOKS)

    def _give_up_workers(self, looks: int) -> None:
        """Give up on the contexts of workers, too; those of abandoned jobs can't be left before: they get a few turns."""
        supervisor = self._crew.supervisor
        if not supervisor.alone:
            if looks == _LOOKS:
                supervisor.hurry()
            if looks:
                self._loop.call_soon(self._give_up_workers, looks - 1, context=Context())
            else:
                supervisor.give_up()

    def _finish(self) -> None:
        """Close, now that nothing is queued and nothing runs.

        The tasks of the last jobs may have a step to go: the supervisor's end says that they are gone. With strays it has no
        end that could be waited for.
        """
        supervisor = self._crew.supervisor
        supervisor.stop()
        hopeless = self._crew.strays and not self._ledger.unfinished and supervisor.alone
        if self.report is None and (supervisor.gone or hopeless):
            self._close()

    def _close(self) -> None:
        now = self._loop.time()
        self._crew.on_idle = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._ledger.unfinished:  # and there is nothing to wait for
            self._confess(f"ends {self._ledger.unfinished} jobs that should have ended by themselves")
            self._crew.write_off()
        if self._cancelled_at is None:
            self._drained = self._ledger.ended - self._ended_before
        self.report = self.report or account(
            self._name,
            self._ledger,
            strays=self._crew.survey(),
            drained=self._drained,
            drain_seconds=(now if self._cancelled_at is None else self._cancelled_at) - self._began_at,
            cancel_seconds=0.0 if self._cancelled_at is None else now - self._cancelled_at,
        )
        if self._ledger.pool is not PoolState.CLOSED:
            self.move(PoolState.CLOSED)
        self._crew.closed()
        if self.on_closed is not None:
            self.on_closed()
        self._wake()
        self._stop_looking()
        with suppress(Exception):  # whatever a logging handler does, the pool is closed
            _log.log(
                logging.INFO if self._cancelled_at is None else logging.WARNING,
                "%s",
                self.report,
                extra=fields(
                    "pool.closed",
                    self._name,
                    accepted=self.report.accepted,
                    succeeded=self.report.succeeded,
                    failed=self.report.failed,
                    timed_out=self.report.timed_out,
                    cancelled=self.report.cancelled,
                    abandoned=self.report.abandoned,
                    drain_seconds=self.report.drain_seconds,
                    cancel_seconds=self.report.cancel_seconds,
                ),
            )

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    # The last resort ----------------------------------------------------------------------------------------------------

    def _set_last_resort(self, at: float) -> None:
        """See to it that the pool will be closed soon after a time, if a bug keeps it from closing by then."""
        if self.report is None and at < self._last_resort_at:
            self._look_again(at, _LOOKS)

    def _stop_looking(self) -> None:
        if self._last_resort is not None:
            self._last_resort.cancel()

    def _look_again(self, at: float, looks: int) -> None:
        timer = self._loop.call_at(at, self._close_by_force, looks, context=Context())
        self._stop_looking()
        self._last_resort, self._last_resort_at = timer, at

    def _close_by_force(self, looks: int) -> None:
        """Close, if closing has come to a standstill: no alarm is to come, and the loop has turned often enough since."""
        now = self._loop.time()
        if now < self._timer_at < math.inf:
            self._look_again(self._timer_at, _LOOKS)
        elif looks:
            self._look_again(now + _A_MOMENT, looks - 1)
        else:
            self._last_resort_at = math.inf  # so that another call of `aclose()` sets it again, should this fail too
            self._confess("did not close in time, and is closed by force")
            try:
                self.close_intake()
                self._crew.supervisor.stop()
                self._close()
            finally:
                self._wake()

    def _confess(self, what: str, error: BaseException | None = None) -> None:
        with suppress(Exception):  # whatever a logging handler does, the pool has to close
            _log.critical(
                "pool %r %s; this is a bug in weirpool", self._name, what, exc_info=error, extra=fields("pool.bug", self._name)
            )
