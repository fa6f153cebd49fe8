"""The event loops to run on, and how one goes on after a job has stopped it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["LOOPS", "StopByJob", "drive", "until"]

T = TypeVar("T")
LOOPS = ("stock", "eager", "uvloop")


class StopByJob:
    """Mark a KeyboardInterrupt or SystemExit that a job raised on purpose; both stop the loop, as asyncio has it.

    While one is on its way out of the loop, the pool passes no other on, which would cut short what follows the first.

    Attributes:
        raised: how many jobs have raised one.
        due: how many of these had to stop the loop.
        under_way: whether one has been raised, and has not come out of the loop yet.
    """

    raised: ClassVar[int] = 0
    due: ClassVar[int] = 0
    under_way: ClassVar[bool] = False

    @classmethod
    def about_to(cls) -> None:
        """Note that a job is about to raise one."""
        StopByJob.raised += 1
        StopByJob.due += not StopByJob.under_way
        StopByJob.under_way = True


def _loop(kind: str) -> asyncio.AbstractEventLoop:
    if kind == "uvloop":
        import uvloop  # noqa: PLC0415

        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        return loop
    loop = asyncio.new_event_loop()
    if kind == "eager":  # Python 3.12 and later
        loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]
    return loop


def drive(main: Coroutine[Any, Any, T], kind: str) -> tuple[T, int]:
    """Run a coroutine to its end, however often a job stops the loop; return its result, and how often that was."""
    loop, stops = _loop(kind), 0
    try:
        task = loop.create_task(main)
        while not task.done():
            try:
                loop.run_until_complete(task)
            except BaseException as error:
                if not isinstance(error, StopByJob):
                    raise
                stops += 1
                StopByJob.under_way = False
        return task.result(), stops
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


async def until(so: Callable[[], bool], patience: float = 10.0) -> bool:
    """Wait until something is so that nobody tells of; say whether it came to that."""
    clock = asyncio.get_running_loop().time
    give_up = clock() + patience
    while not so() and clock() < give_up:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    return so()
