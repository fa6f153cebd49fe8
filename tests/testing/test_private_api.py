"""What the loop and its policies use of asyncio without its being promised is there, on this version of Python, too."""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from typing import Any

from weirpool.testing import DeterministicLoop, Fifo


def test_a_base_event_loop_has_the_attributes_that_are_used() -> None:
    loop: Any = asyncio.BaseEventLoop()
    try:
        assert type(loop._ready) is deque
        assert loop._stopping is False
        assert loop._thread_id is None
        assert type(loop._asyncgens) is weakref.WeakSet
        for method in ("_check_closed", "_check_thread", "_check_callback", "_run_once"):
            assert callable(getattr(loop, method))
    finally:
        loop.close()


def test_run_forever_is_a_series_of_rounds_until_stopped() -> None:
    class Counted(DeterministicLoop):
        rounds = 0

        def _run_once(self) -> None:
            self.rounds += 1
            super()._run_once()

    loop = Counted()
    loop.call_soon(loop.call_soon, loop.stop)
    loop.run_forever()
    loop.close()
    assert loop.rounds == 2


def test_what_is_ready_are_handles_with_a_callback_and_a_flag() -> None:
    def callback() -> None: ...

    loop: Any = DeterministicLoop()
    try:
        handle = loop.call_soon(callback)
        assert list(loop._ready) == [handle]
        assert handle._callback is callback
        assert handle._cancelled is False
        handle.cancel()
        assert handle._cancelled is True
    finally:
        loop.close()


def test_a_handle_tells_the_task_that_it_starts_steps_or_wakes() -> None:
    seen = []

    class Spy(Fifo):
        def choose(self, ready: Any, timers: bool, /) -> int:
            seen.append(getattr(ready[0]._callback, "__self__", None))
            return super().choose(ready, timers)

    async def main() -> None:
        await asyncio.sleep(0)  # it is stepped
        future = asyncio.get_running_loop().create_future()
        future.set_result(None)
        await asyncio.wait([asyncio.ensure_future(future)])
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_result, None)
        await future  # it is woken

    loop = DeterministicLoop(Spy())
    task = loop.create_task(main())
    loop.run_until_complete(task)
    loop.close()
    assert seen[:2] == [task, task]
    assert seen[-2] is task


def test_a_task_that_will_never_end_can_be_told_to_say_nothing() -> None:
    async def never() -> None: ...

    loop = DeterministicLoop()
    task: Any = loop.create_task(never())
    assert task._log_destroy_pending is True
    task._log_destroy_pending = False
    task.get_coro().close()
    loop.close()
    del task
    assert loop.complaints == []


def test_a_coroutine_tells_where_it_stands() -> None:
    async def inner() -> None:
        await asyncio.sleep(1)

    async def outer() -> None:
        await inner()

    loop = DeterministicLoop()
    task: Any = loop.create_task(outer())
    loop.call_soon(loop.stop)
    loop.run_forever()
    try:
        coroutine = task.get_coro()
        assert coroutine.cr_frame.f_code is outer.__code__
        assert coroutine.cr_await.cr_frame.f_code is inner.__code__
        assert coroutine.cr_await.cr_await.cr_code is asyncio.sleep.__code__
    finally:
        loop.run_until_complete(task)
        loop.close()
