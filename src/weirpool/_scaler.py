"""The scaler: changes how many places a crew has, between two bounds, as a policy says.

The policy decides and this does: it asks at intervals while there is something to look at, and at once when a job has to wait
if the policy wants that. A pool at rest at its lower bound has no timer.
"""

from __future__ import annotations

from contextvars import Context
from typing import TYPE_CHECKING

from ._asking import Asking
from .policies.scaling import Load

if TYPE_CHECKING:
    import asyncio

    from ._admission import Admission
    from ._crew import Crew
    from ._lifecycle import Ledger
    from ._queue import JobQueue
    from ._settings import Settings
    from ._window import Window
    from .policies.scaling import ScalingController

__all__ = ["Scaler"]


class Scaler:
    """Scale one pool.

    Args:
        settings: who decides, and the bounds.
        crew: who has the places.
        admission: who knows how many submitters wait for room.
        queue: who knows how long the next job has waited.
        ledger: the pool's books.
        window: what happens.
        loop: the pool's event loop.
    """

    def __init__(
        self,
        settings: Settings,
        crew: Crew,
        admission: Admission,
        queue: JobQueue,
        ledger: Ledger,
        window: Window,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        policy = settings.scaling
        assert policy is not None
        self._settings = settings
        self._interval = policy.interval
        self._while_idle = policy.while_idle
        self._asking: Asking[ScalingController] = Asking("scaling", settings.name, policy.controller(), loop)
        self._crew = crew
        self._admission = admission
        self._queue = queue
        self._ledger = ledger
        self._window = window
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        window.on_work = self._look_later
        if policy.on_submit:
            crew.on_crowd = self._look_now

    def bound(self) -> None:
        """Change the number of places if it is outside of the bounds, now that these have changed."""
        self._crew.resize(self._within(self._crew.places), "resize")
        self._crew.crowded()
        self._look_later()

    def _within(self, places: int) -> int:
        return min(max(places, self._settings.min_workers), self._settings.max_workers)

    def stop(self) -> None:
        """Look no more: the pool is closed."""
        self._asking.controller = self._crew.on_crowd = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_later(self) -> None:
        if (
            self._timer is None
            and self._asking.controller is not None
            and self._settings.min_workers < self._settings.max_workers
        ):
            self._timer = self._loop.call_later(self._interval, self._look, context=Context())

    def _look(self) -> None:
        self._timer = None
        load = self._load(whole=True)
        self._window.clear()
        self._decide(load)
        above = self._crew.places > self._settings.min_workers
        if self._ledger.unfinished or self._admission.waiting or (above and (self._while_idle or load.peak_busy)):
            self._look_later()

    def _look_now(self, outside: int) -> None:
        """Look whether there should be more places, if there may be and somebody waits for one."""
        crew = self._crew
        if crew.places < self._settings.max_workers and crew.limit and not crew.free:
            load = self._load(whole=False, outside=outside)
            if load.queued or load.waiting:
                self._decide(load)

    def _decide(self, load: Load) -> None:
        def wanted(controller: ScalingController) -> tuple[int, str] | None:
            decision = controller.decide(load)
            return None if decision is None else (self._within(int(decision.workers)), str(decision.reason))

        change = self._asking.ask(wanted, None)
        if change is not None:
            self._crew.resize(*change)

    def _load(self, *, whole: bool, outside: int = 0) -> Load:
        """Say how busy the pool is, and, for a look at an interval, how its jobs have fared since the last."""
        crew, ledger, window, now = self._crew, self._ledger, self._window, self._loop.time()
        head = self._queue.peek()
        # Of those that wait for others of their key none can be helped by a place. In between, one at a time is counted.
        queued = (
            ledger.queued if self._queue.lanes is None else self._queue.lanes.startable_jobs() if whole else head is not None
        )
        peak = max(window.peak, ledger.running) if whole else ledger.running
        # Where jobs start at a rate, and there are places, it is not for these that any waits.
        for_turn = crew.steering.paced is not None and peak < crew.places
        return Load(
            now=now,
            workers=crew.places,
            min_workers=self._settings.min_workers,
            max_workers=self._settings.max_workers,
            busy=ledger.running,
            queued=0 if for_turn else int(queued),
            waiting=0 if for_turn else self._admission.waiting + crew.returning + outside,
            queue_delay=0.0 if for_turn or head is None else now - head.accepted_at,
            started=window.started if whole else 0,
            least_queue_delay=window.least_delay if whole and window.started and not for_turn else 0.0,
            succeeded=window.succeeded if whole else 0,
            failed=window.failed if whole else 0,
            timed_out=window.timed_out if whole else 0,
            dropped=window.dropped if whole and not for_turn else 0,
            busy_seconds=window.take_busy_seconds() if whole else 0.0,
            peak_busy=peak,
        )
