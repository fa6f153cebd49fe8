"""Where a task hangs: the innermost call that is the user's, through whatever the user awaits (R8, R14)."""

from __future__ import annotations

import asyncio
import types
from typing import TYPE_CHECKING, Any

from weirpool import _stack

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator


async def hangs(awaitable: Awaitable[Any]) -> tuple[str, ...]:
    """Return where a task hangs that awaits something, below its outermost call."""

    async def outermost() -> None:
        await awaitable

    task = asyncio.create_task(outermost())
    await asyncio.sleep(0.01)
    found = _stack.where(task)
    task.cancel()
    await asyncio.wait([task])
    return found


async def sleeps() -> None:
    await asyncio.sleep(3600)


@types.coroutine
def by_generator() -> Generator[Any, Any, None]:
    yield from below()


def below() -> Generator[Any, Any, None]:
    yield from asyncio.get_running_loop().create_future()


async def deep() -> None:
    await by_generator()


async def test_it_is_the_innermost_call_that_is_not_asyncios() -> None:
    (line,) = await hangs(sleeps())
    assert line.endswith("in sleeps: await asyncio.sleep(3600)")


async def test_what_is_all_asyncios_is_shown_as_it_is() -> None:
    (line,) = await hangs(asyncio.sleep(3600))
    assert " in sleep: " in line


async def test_it_is_found_through_generators() -> None:
    outer, middle, inner = await hangs(deep())
    assert outer.endswith("in deep: await by_generator()")
    assert middle.endswith("in by_generator: yield from below()")
    assert inner.endswith("in below: yield from asyncio.get_running_loop().create_future()")


async def test_an_awaitable_that_raises_when_it_is_looked_at_ends_the_search() -> None:
    class Shy:
        def __init__(self) -> None:
            self.inner = asyncio.get_running_loop().create_future().__await__()

        def __await__(self) -> Any:
            return self

        def __iter__(self) -> Any:
            return self

        def __next__(self) -> Any:
            return next(self.inner)

        @property
        def cr_frame(self) -> Any:
            raise OSError("look away")

    async def awaits_it() -> None:
        await Shy()

    (line,) = await hangs(awaits_it())
    assert line.endswith(
        "in test_an_awaitable_that_raises_when_it_is_looked_at_ends_the_search.<locals>.awaits_it: await Shy()"
    )
