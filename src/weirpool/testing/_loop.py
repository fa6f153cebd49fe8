"""An event loop that does the same each time: virtual time, one callback per turn, and a policy that says which.

It has no selector, no threads and no real clock, so nothing outside the program can change the order of what happens in it.
What is left to chance in asyncio is decided here by a policy, and what depends on memory addresses there (the order in which
a set of tasks is gone through) depends here on the order of creation.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import random
import weakref
from typing import TYPE_CHECKING, Any, TypeVarTuple

from ._policies import ADVANCE, Fifo, Policy

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Coroutine, Generator
    from contextvars import Context

__all__ = ["Deadlock", "DeterministicLoop", "Livelock"]


Ts = TypeVarTuple("Ts")


class Deadlock(Exception):
    """Nothing is ready and no timer is set, and yet the program has not ended: it would wait for ever."""


class Livelock(Exception):
    """The program has taken more steps than it was allowed: it seems to go round in circles."""


class NumberedTask(asyncio.Task[Any]):
    """A task whose hash is its number, so that sets of tasks have the same order in every process."""

    def __init__(self, coro: Coroutine[Any, Any, Any], *, loop: DeterministicLoop, **options: Any) -> None:
        self.number = loop.number(self)
        super().__init__(coro, loop=loop, **options)

    def __hash__(self) -> int:
        return self.number


class _NumberedFuture(asyncio.Future[Any]):
    def __init__(self, *, loop: DeterministicLoop) -> None:
        self._number = next(loop.numbers)
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._number


class DeterministicLoop(asyncio.BaseEventLoop):
    """Run callbacks one at a time, in the order that a policy chooses, in virtual time.

    The clock moves only when nothing is ready, and then at once to the next timer. `run_in_executor` calls the function on the
    spot, a random (seeded) moment later. There is no I/O.

    Args:
        policy: what runs next; by default first come, first served.
        max_steps: how many callbacks may run before this counts as a livelock.

    Raises:
        Deadlock: nothing is left that could run, and what was to be run has not ended.
        Livelock: `max_steps` have been taken.
    """

    if TYPE_CHECKING:  # what BaseEventLoop has, and does not tell; tests/testing/test_loop.py sees that it is still there
        _ready: deque[asyncio.Handle]
        _stopping: bool

    def __init__(self, policy: Policy | None = None, *, max_steps: int = 100_000) -> None:
        super().__init__()
        self.numbers = itertools.count(1)
        self.steps = 0
        self.deviations: dict[int, int] = {}
        """The choices that were not the first, by number of decision: what a `Script` needs to do the same."""
        self.complaints: list[str] = []
        """What the loop's exception handler was told."""
        self.before_step: Callable[[], None] | None = None
        """Called before each step, when `steps` is its number already: the place to inject a fault."""
        self.after_step: Callable[[], None] | None = None
        """Called after each step: the place to check what must hold at every instant. What it raises ends the run."""
        self.actions: dict[str, Callable[[], object]] = {}
        """What can happen to this program, by name, for faults that name it."""
        self._policy = policy if policy is not None else Fifo()
        self._max_steps = max_steps
        self._decisions = 0
        self._now = 0.0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._timer_numbers = itertools.count()
        self._tasks: weakref.WeakValueDictionary[int, NumberedTask] = weakref.WeakValueDictionary()
        self._dice = random.Random(0)
        self.set_exception_handler(lambda _, context: self.complaints.append(_complaint(context)))

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

    def number(self, task: NumberedTask) -> int:
        """Give a new task its number."""
        number = next(self.numbers)
        self._tasks[number] = task
        return number

    def tasks(self) -> dict[int, NumberedTask]:
        """Return the tasks that have not ended, by number."""
        return {number: task for number, task in sorted(self._tasks.items()) if not task.done()}

    def block(self, seconds: float) -> None:
        """Let time pass as if the caller had blocked the loop: what is due meanwhile comes late."""
        self._now += seconds

    @property
    def idle(self) -> bool:
        """Whether nothing is ready: all wait for one another, or for a timer."""
        return all(handle.cancelled() for handle in self._ready)

    def timers(self) -> list[asyncio.TimerHandle]:
        """Return the timers that are set."""
        return [timer for _, _, timer in self._timers if not timer.cancelled()]

    # What asyncio asks of a loop ----------------------------------------------------------------------------------------

    def time(self) -> float:
        """Return the virtual time, in seconds since the loop was made."""
        return self._now

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call something at a time; what is due at the same time is called in the order of these calls."""
        if math.isnan(when):
            raise ValueError("when must be a number, got nan")
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._timer_numbers), timer))
        return timer

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        """Make a task with a number, unless the program has set a task factory of its own.

        Not by a factory of ours: programs may do things otherwise if there is one.
        """
        if self.get_task_factory() is not None:
            return super().create_task(coro, **options)
        self._check_closed()  # type: ignore[attr-defined]
        return NumberedTask(coro, loop=self, **options)

    def create_future(self) -> asyncio.Future[Any]:
        """Return a future whose hash is its number."""
        return _NumberedFuture(loop=self)

    def run_in_executor(self, executor: object, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]  # noqa: ARG002
        """Call a function in this thread, a moment later, and return a future of its result."""
        future = self.create_future()

        def call() -> None:
            if future.done():
                return
            try:
                future.set_result(func(*args))
            except Exception as error:
                future.set_exception(RuntimeError(repr(error)) if isinstance(error, StopIteration) else error)

        self.call_later(self._dice.random() / 100, call)
        return future

    def close(self) -> None:
        """Close the loop and forget what it was to call."""
        super().close()
        self._timers.clear()

    def _write_to_self(self) -> None:
        """Wake nobody: `call_soon_threadsafe` from this thread needs no waking, and there are no others."""

    def _run_once(self) -> None:
        ready = self._ready
        self._drop_cancelled()
        self._fire()
        if not ready:
            if self._stopping:
                return
            if not self._timers:
                raise Deadlock(f"nothing can happen any more, and these wait:\n{self.stacks()}")
            self._advance()
        choice = self._policy.choose(ready, bool(self._timers))
        if choice:
            self.deviations[self._decisions] = choice
        self._decisions += 1
        if choice == ADVANCE:
            self._advance()
            return
        handle = ready[choice]
        del ready[choice]
        self.steps += 1
        if self.steps > self._max_steps:
            raise Livelock(f"no end after {self._max_steps} steps; these have not ended:\n{self.stacks()}")
        if self.before_step is not None:
            self.before_step()
        if not handle.cancelled():
            handle._run()  # noqa: SLF001
        if self.after_step is not None:
            self.after_step()

    def _drop_cancelled(self) -> None:
        ready, timers = self._ready, self._timers
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle.cancelled():
                ready.append(handle)
        while timers and timers[0][2].cancelled():
            heapq.heappop(timers)

    def _advance(self) -> None:
        """Let time pass until the next timer is due."""
        self._now = max(self._now, self._timers[0][0])
        self._fire()

    def _fire(self) -> None:
        """Make ready what is due."""
        timers = self._timers
        while timers and timers[0][0] <= self._now:
            self._ready.append(heapq.heappop(timers)[2])

    def stacks(self) -> str:
        """Return where each task that has not ended is waiting."""
        return "\n".join(
            f"  {task.get_name()}: {' > '.join(_frames(task)) or 'not started'}" for task in self.tasks().values()
        )


def _frames(task: asyncio.Task[Any]) -> Generator[str, None, None]:
    """Name the lines at which a suspended task stands, the outermost first."""
    coroutine: Any = task.get_coro()
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is not None:
            yield f"{frame.f_code.co_qualname} (line {frame.f_lineno})"
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)


def _complaint(context: dict[str, Any]) -> str:
    error = context.get("exception")
    return context["message"] if error is None else f"{context['message']}: {error!r}"
