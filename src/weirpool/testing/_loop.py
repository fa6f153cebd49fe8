"""An event loop that does the same each time: virtual time, one callback after the other, and a policy that says which.

It has no selector, no threads and no real clock, so nothing outside the program can change the order of what happens in it.
What is left to chance in asyncio is decided here by a policy, and what depends on memory addresses there (the order in which
a set of tasks is gone through) depends here on the order of creation.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import threading
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final, TypeVarTuple

from ._checks import shown, whole
from ._numbers import NumberingLoop
from ._policies import ADVANCE, Fifo, Policy
from ._without_io import WithoutIO

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

__all__ = ["MAX_STEPS", "Deadlock", "DeterministicLoop", "Livelock"]

MAX_STEPS: Final = 100_000

Ts = TypeVarTuple("Ts")


class Deadlock(Exception):
    """Nothing is ready and no timer is set, and yet the program has not ended: it would wait for ever."""


class Livelock(Exception):
    """The program has taken more steps than it was allowed: it seems to go round in circles."""


class DeterministicLoop(WithoutIO, NumberingLoop):
    """Run callbacks one at a time, in the order that a policy chooses, in virtual time.

    The clock moves only when nothing is ready, and then at once to the next timer. `run_in_executor` calls the function in
    this thread, some turns later. There is no I/O.

    Args:
        policy: what runs next; by default first come, first served.
        max_steps: how many callbacks may run before this counts as a livelock.

    Raises:
        Deadlock: nothing is left that could run, and what was to be run has not ended.
        Livelock: `max_steps` have been taken.
    """

    if TYPE_CHECKING:  # what BaseEventLoop has and does not tell: tests/testing/test_private_api.py
        _ready: deque[asyncio.Handle]
        _stopping: bool
        _thread_id: int | None
        _check_thread: Callable[[], None]
        _check_callback: Callable[[object, str], None]

    _closed = True  # until __init__() has run: what is refused there has nothing to close

    def __init__(self, policy: Policy | None = None, *, max_steps: int = MAX_STEPS) -> None:
        whole("max_steps", max_steps, 1)
        super().__init__()
        self.max_steps = max_steps
        self.steps: int = 0
        self.deviations: dict[int, int] = {}
        """The choices that were not the first, by number of decision: what a `Script` needs to do the same."""
        self.complaints: list[str] = []
        """What the loop's exception handler was told, unless the program has set one of its own."""
        self.before_step: Callable[[], object] | None = None
        """Called before each step, when `steps` is its number already."""
        self.after_step: Callable[[], object] | None = None
        """Called after each step: the place to check what must hold at every instant. What it raises ends the run."""
        self.actions: dict[str, Callable[[], object]] = {}
        """What can happen to this program, by name, for faults that name it; not by "cancel" or "cancel-all"."""
        self.intervene: Callable[[], None] | None = None
        """Called before `before_step`: how `run` injects faults, whatever the program does with `before_step`."""
        self._policy = policy if policy is not None else Fifo()
        self._decisions = 0
        self._now = 0.0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._timer_numbers = itertools.count()

    @classmethod
    def running(cls) -> DeterministicLoop:
        """Return the loop that runs the caller.

        Raises:
            RuntimeError: that is none, or not a deterministic one.
        """
        loop = asyncio.get_running_loop()
        if not isinstance(loop, cls):
            raise RuntimeError(f"this must be run on a {cls.__name__}, not on a {type(loop).__name__}")  # noqa: TRY004
        return loop

    def timers(self) -> list[asyncio.TimerHandle]:
        """Return the timers that are set, but for those that never fire (at `math.inf`)."""
        return [timer for _, _, timer in self._timers if not timer.cancelled()]

    @property
    def idle(self) -> bool:
        """Whether nothing is ready: all wait for one another, or for a timer."""
        return all(handle.cancelled() for handle in self._ready)

    def block(self, seconds: float) -> None:
        """Let time pass as if the caller had blocked the loop: what is due meanwhile comes late."""
        if not 0 <= seconds < math.inf:
            raise ValueError(f"seconds must be a finite number of at least 0, got {shown(seconds)}")
        self._now += seconds

    # What asyncio asks of a loop ----------------------------------------------------------------------------------------

    def time(self) -> float:
        """Return the virtual time, in seconds since the loop was made."""
        return self._now

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call something at a time; what is due at the same time is called in the order of these calls."""
        self._check_closed()
        if self.get_debug():
            self._check_thread()
            self._check_callback(callback, "call_at")
        if math.isnan(when):
            raise ValueError("when must be a number, got nan")
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        if when < math.inf:
            heapq.heappush(self._timers, (when, next(self._timer_numbers), timer))
        return timer

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Call something soon; from this thread only, since another one's calls would come at another step each time.

        Raises:
            RuntimeError: this is another thread.
        """
        if self._thread_id not in {None, threading.get_ident()}:
            raise RuntimeError(
                f"another thread ({threading.current_thread().name}) called call_soon_threadsafe(), but threads can't wake "
                f"a {type(self).__name__}: when they do so could not be repeated. loop.run_in_executor() does without threads"
            )
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(self, executor: object, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]  # noqa: ARG002
        """Call a function soon, in this thread but as if in another (no running loop, no context); return a future."""
        future = self.create_future()

        def call() -> None:
            if future.done():
                return
            asyncio._set_running_loop(None)  # noqa: SLF001
            try:
                future.set_result(func(*args))
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:
                future.set_exception(RuntimeError(shown(error)) if isinstance(error, StopIteration) else error)
            finally:
                asyncio._set_running_loop(self)  # noqa: SLF001

        self.call_soon(call, context=Context())
        return future

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Take down what went wrong, where the stock loop logs it."""
        error = context.get("exception")
        self.complaints.append(context["message"] if error is None else f"{context['message']}: {shown(error)}")

    def close(self) -> None:
        """Close the loop, and forget what was to be done on it."""
        super().close()
        self._timers.clear()

    def _run_once(self) -> None:
        """Run what is ready. As in the stock loop, timers that become due meanwhile join in the next round."""
        ready, timers, choose = self._ready, self._timers, self._policy.choose
        self._fire()
        if not ready:
            if self._stopping:
                return
            if not timers:
                raise Deadlock(
                    f"nothing can happen any more (there are no threads and no I/O here), and these wait:\n{self.stacks()}"
                )
            self._advance()
        for _ in range(len(ready)):
            choice = choose(ready, bool(timers))
            if choice:
                self.deviations[self._decisions] = choice
            self._decisions += 1
            if choice == ADVANCE:
                self._advance()
                continue
            handle = ready[choice]
            del ready[choice]
            if not handle._cancelled:  # noqa: SLF001
                self._step(handle)

    def _step(self, handle: asyncio.Handle) -> None:
        self.steps += 1
        try:
            self._before()
        except BaseException:
            self._ready.append(handle)  # it has not run
            raise
        if not handle._cancelled:  # noqa: SLF001
            handle._run()  # noqa: SLF001
        if self.after_step is not None:
            self.after_step()

    def _before(self) -> None:
        if self.steps > self.max_steps:
            raise Livelock(f"no end after {self.max_steps} steps; these have not ended:\n{self.stacks()}")
        if self.intervene is not None:
            self.intervene()
        if self.before_step is not None:
            self.before_step()

    def _advance(self) -> None:
        """Let time pass until the next timer is due."""
        self._fire()
        if self._timers:
            self._now = self._timers[0][0]
            self._fire()

    def _fire(self) -> None:
        """Make ready what is due."""
        timers, now = self._timers, self._now
        while timers and (timers[0][0] <= now or timers[0][2]._cancelled):  # noqa: SLF001
            timer = heapq.heappop(timers)[2]
            if not timer._cancelled:  # noqa: SLF001
                self._ready.append(timer)
