"""A stage that anything may be played on: the stock event loop, which ends what would not end by itself.

Several peers hang, or spin, and a test must do neither with them. So the clock is virtual (an hour takes no time), a loop in
which nothing can happen any more says so, and so does one that is busy without the time passing. What is left at the end is
cancelled until it is gone. In all else it is the loop that `asyncio.run` makes.
"""

from __future__ import annotations

import asyncio
import gc
import selectors
import signal
import warnings
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

__all__ = ["FOREVER", "HANGS", "SPINS", "Deaf", "forgiven", "play", "program", "turns"]

HANGS = "hangs"  # nothing will ever happen again, or not for hours
SPINS = "spins"  # the processor is busy with nothing, for ever

FOREVER = 3_600.0
CURTAIN = 2 * FOREVER
MOST_TURNS = 500  # of the loop, in no time; a scenario takes a few dozen
MOST_CPU = 1.0  # seconds of a whole play, for what never gives the loop a turn; a scenario takes a few milliseconds


class Stuck(BaseException):
    """What is played will not end by itself."""


class Clock(selectors.DefaultSelector):
    """Pass the time instead of waiting for it."""

    now = 0.0
    turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if timeout == 0 or ready:
            self.turns += 1
            if self.turns > MOST_TURNS:
                raise Stuck(SPINS)
        elif timeout is None or self.now > CURTAIN:
            raise Stuck(HANGS)
        else:
            self.turns = 0
            self.now += timeout
        return ready


class Stage(asyncio.SelectorEventLoop):
    """A stock event loop on a clock of its own; closing it ends what is still there."""

    def __init__(self) -> None:
        self.over = False
        self._clock = Clock()
        super().__init__(self._clock)
        self.set_debug(False)  # as `asyncio.run` has it, also where the tests run in dev mode
        self.set_exception_handler(lambda *_: None)  # a peer's complaints are not what is tested here

    def time(self) -> float:
        return self._clock.now

    def close(self) -> None:
        if not self.is_closed():
            self._clear()
        super().close()

    def _clear(self) -> None:
        """Cancel what is there until it is gone; jobs that are deaf to that hear that the play is over."""
        self.over = True
        for _ in range(100):
            if not (tasks := asyncio.all_tasks(self)):
                break
            for task in tasks:
                task.cancel()
            self._clock.turns = 0
            self._clock.now = 0.0
            with suppress(Stuck, SystemExit, KeyboardInterrupt):
                self.run_until_complete(asyncio.wait(tasks, timeout=0.01))
        left = asyncio.all_tasks(self)
        assert not left, f"the stage could not be cleared of {left}"


class Deaf:
    """A job that swallows so many cancellations and works on, as long as the play lasts."""

    def __init__(self, cancellations: float) -> None:
        self.cancellations = cancellations

    async def __call__(self) -> None:
        loop = asyncio.get_running_loop()
        while not (isinstance(loop, Stage) and loop.over):
            try:
                await asyncio.sleep(FOREVER)
            except asyncio.CancelledError:
                if not self.cancellations:
                    raise
                self.cancellations -= 1


@contextmanager
def _bounded() -> Iterator[None]:
    """Raise `Stuck`, again and again, once the processor has been busy for too long.

    The time is that of the processor, so that a slow machine makes no difference.
    """

    def stop(*_: object) -> None:
        raise Stuck(SPINS)

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, MOST_CPU, 0.1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@contextmanager
def forgiven() -> Iterator[None]:
    """Let a peer leave behind what it likes, coroutines that were never awaited for instance, but not for the next test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            gc.collect()


def play(scenario: Callable[[], Coroutine[Any, Any, str]]) -> str:
    """Run a scenario, and return what it says; or that it hangs, or spins."""
    stage = Stage()
    try:
        with _bounded():
            return stage.run_until_complete(scenario())
    except Stuck as stuck:
        return str(stuck)
    finally:
        stage.close()


def program(main: Callable[[], Coroutine[Any, Any, Any]]) -> str:
    """Do what `asyncio.run(main())` does, its Ctrl-C and its end included, and say whether the program ends."""
    try:
        with _bounded(), asyncio.Runner(loop_factory=Stage) as runner:
            runner.run(main())
    except Stuck as stuck:
        return str(stuck)
    except (KeyboardInterrupt, SystemExit):
        pass
    return "ends"


async def turns(number: int = 10) -> None:
    """Let the loop turn a few times."""
    for _ in range(number):
        await asyncio.sleep(0)
