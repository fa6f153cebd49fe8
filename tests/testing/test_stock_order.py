"""On a deterministic loop with the policy "fifo" a program does what it does on the stock event loop, in the same order."""

from __future__ import annotations

import asyncio
import heapq
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from weirpool.testing import DeterministicLoop


class StockLoop(asyncio.SelectorEventLoop):
    """The stock event loop, but that it does not wait for the clock."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        loop: Any = self
        while loop._scheduled and loop._scheduled[0]._cancelled:
            heapq.heappop(loop._scheduled)
        if not loop._ready and loop._scheduled:
            self.now = max(self.now, loop._scheduled[0]._when)
        super()._run_once()  # type: ignore[misc]


class Program:
    """Tasks that do at random all that has an effect on the order of things; `trace` tells in which order they did it."""

    def __init__(self, scripts: list[list[tuple[str, int]]]) -> None:
        self.scripts = scripts
        self.trace: list[tuple[object, ...]] = []
        self.due: set[float] = set()

    async def __call__(self) -> None:
        self.queue: asyncio.Queue[int] = asyncio.Queue(2)
        self.lock = asyncio.Lock()
        self.event = asyncio.Event()
        self.tasks = [asyncio.create_task(self.act(number)) for number in range(len(self.scripts))]
        await asyncio.wait(self.tasks, timeout=100)
        for task in self.tasks:
            task.cancel()
        self.note(*await asyncio.gather(*self.tasks, return_exceptions=True))

    def note(self, *what: object) -> None:
        self.trace.append((asyncio.get_running_loop().time(), *map(repr, what)))

    def delay(self, eighths: int) -> float:
        """Return a delay that ends at no other one's time: the stock loop's order of these is undefined."""
        now = asyncio.get_running_loop().time()
        when = now + eighths / 8
        while when in self.due:
            when += 2**-20
        self.due.add(when)
        return when - now

    async def act(self, number: int) -> int:
        for verb, argument in self.scripts[number]:
            self.note(number, verb)
            try:
                result = await getattr(self, verb)(argument)
            except TimeoutError:
                result = "timeout"
            except asyncio.CancelledError:
                self.note(number, verb, "cancelled")
                raise
            self.note(number, verb, result)
        return number

    async def turns(self, argument: int) -> None:
        for _ in range(argument):
            await asyncio.sleep(0)

    async def sleep(self, argument: int) -> None:
        await asyncio.sleep(self.delay(argument + 1))

    async def put(self, argument: int) -> None:
        await self.queue.put(argument)

    async def get(self, argument: int) -> int:
        async with asyncio.timeout(self.delay(argument + 1)):
            return await self.queue.get()

    async def wait_for_one(self, argument: int) -> int:
        return await asyncio.wait_for(self.queue.get(), self.delay(argument + 1))

    async def locked(self, argument: int) -> None:
        async with self.lock:
            await self.turns(argument)

    async def set_or_wait(self, argument: int) -> None:
        if argument % 2:
            self.event.set()
        else:
            await self.event.wait()

    async def soon(self, argument: int) -> None:
        asyncio.get_running_loop().call_soon(self.note, "soon", argument)

    async def at_once(self, argument: int) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(self.delay(-8 * argument), self.note, "at once", argument)

    async def cancel(self, argument: int) -> None:
        self.tasks[argument % len(self.tasks)].cancel()

    async def group(self, argument: int) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(argument):
                group.create_task(self.turns(number))
        self.note("group")

    async def shielded(self, argument: int) -> None:
        await asyncio.shield(self.turns(argument))


VERBS = [name for name in vars(Program) if not name.startswith("_") and name not in {"note", "delay", "act"}]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(st.tuples(st.sampled_from(VERBS), st.integers(0, 4)), max_size=6), min_size=1, max_size=5))
def test_a_program_does_the_same_in_the_same_order_as_on_the_stock_loop(scripts: list[list[tuple[str, int]]]) -> None:
    traces = []
    for make_loop in (StockLoop, DeterministicLoop):
        program = Program(scripts)
        with asyncio.Runner(loop_factory=make_loop) as runner:
            runner.run(program())
        traces.append(program.trace)
    assert traces[0] == traces[1]
    assert traces[0]
