"""Functions that `weirpool map` is to call."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial, wraps
from pathlib import Path
from typing import Any

from anyio import from_thread

number = 3


async def double(item: Any) -> Any:
    await asyncio.sleep(0)
    return 2 * item


async def later_first(item: int) -> int:
    await asyncio.sleep((10 - item) / 100)
    return item


def plain(item: Any) -> Any:
    print("this is not a result")
    return [item]


def process_id(item: Any) -> int:
    return os.getpid()


class Shop:
    async def __call__(self, item: Any) -> Any:
        return item

    async def fetch(self, item: Any) -> Any:
        return {"item": item}


shop = Shop()
triple = partial(lambda factor, item: factor * item, 3)


async def _times(factor: int, item: int) -> int:
    return factor * item


sixfold = partial(_times, 6)


class Trap(Exception):
    def __str__(self) -> str:
        raise ValueError


async def odd_fails(item: int) -> int:
    if item % 2:
        raise ValueError(f"{item} is odd")
    return item


async def leave(item: Any) -> Any:
    if item:
        sys.exit("enough")


async def interrupt_itself(item: int) -> int:
    if item == 3:
        raise KeyboardInterrupt
    return item


def interrupt_thread(item: int) -> int:
    if item == 3:
        raise KeyboardInterrupt
    return item


async def leave_by_a_task(item: int) -> int:
    if item == 3:
        await asyncio.create_task(_leave())
    return item


async def _leave() -> None:
    sys.exit(0)


def leave_thread(item: Any) -> Any:
    if item:
        sys.exit(3)


async def spoil(item: Any) -> Any:
    if isinstance(item, dict):
        item["set"] = {1}
    else:
        item.append(2)
    raise ValueError


class Trapped(dict[str, Any]):
    def items(self) -> Any:
        raise RuntimeError


async def trapped(item: Any) -> Any:
    return Trapped(a=1)


@wraps(double)
def plain_by_wraps(item: Any) -> Any:
    return asyncio.run(double(item))


def _twice(item: Any) -> Any:
    return 2 * item


@wraps(_twice)
async def async_by_wraps(item: Any) -> Any:
    return _twice(item)


def starts(item: int) -> int:
    if item < 3:
        subprocess.run("cat; echo a child", shell=True, check=True)
        print("the function")
    return item


async def trap(item: Any) -> Any:
    raise Trap


async def no_json(item: Any) -> Any:
    return {"set": {1}, "nan": float("nan"), "surrogate": "\ud800", "deep": _deep()}[item]


def _deep() -> list[Any]:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    return deep


tried: list[int] = []


async def second_time(item: int) -> int:
    tried.append(item)
    if tried.count(item) < 2:
        raise ConnectionError
    return item


async def hang(item: Any) -> Any:
    if item:
        await asyncio.sleep(1000)
    return item


async def swallow(item: Any) -> Any:
    while True:
        try:
            await asyncio.sleep(0.5)
            return item
        except asyncio.CancelledError:
            pass


async def interrupt_at_3(item: int) -> int:
    if item == 3:
        os.kill(os.getpid(), signal.SIGINT)
    await asyncio.sleep(0.02)
    return item


async def terminate_at_3(item: int) -> int:
    if item == 3:
        os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(0.02)
    return item


async def interrupt_twice_at_3(item: int) -> int:
    if item == 3:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(0.1)
        await asyncio.sleep(1000)
    return item


async def turned(item: int) -> int:
    """Fail at 1; at 2, which comes after that, cut off all by two signals; and make something else of a cancellation."""
    if item == 1:
        raise ValueError("one")
    if item == 2:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    try:
        await asyncio.sleep(1000)
    except asyncio.CancelledError:
        raise RuntimeError("the connection is gone") from None
    return item


def turned_in_threads(item: int) -> int:
    """Do the same in a thread, which looks whether it is cancelled; none fails before."""
    if item == 2:
        for _ in range(2):
            from_thread.run_sync(signal.raise_signal, signal.SIGINT)
    while True:
        time.sleep(0.001)
        try:
            from_thread.check_cancelled()
        except asyncio.CancelledError:
            raise RuntimeError("the connection is gone") from None


async def noted(item: int) -> int:
    """Take a moment, and note that it has been called."""
    with Path("called").open("a") as called:
        called.write(f"{item}\n")
    await asyncio.sleep(random.random() / 100)
    if item % 50 == 0:
        raise ValueError("fifty")
    return item * item


def slow(item: Any) -> Any:
    time.sleep(0.2)
    return item
