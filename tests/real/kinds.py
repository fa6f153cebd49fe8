"""The kinds of event loop that people run pools on, for tests that run on each of them, in real time.

These tests bring loops of their own, since they compare them or start processes. WEIRPOOL_TEST_LOOP, if it is set, limits
them to one kind.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from tests.conftest import LOOP
from tests.real.loops import new_loop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

_NEEDS = {
    "eager": pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks need Python 3.12"),
    "uvloop": pytest.mark.skipif(importlib.util.find_spec("uvloop") is None, reason="missing: pip install uvloop"),
}


def each_kind(*kinds: str) -> pytest.MarkDecorator:
    """Run a test on each of these kinds of loop, which it gets as `kind`."""
    chosen = [kind for kind in kinds if LOOP in {"", kind}]
    return pytest.mark.parametrize("kind", [pytest.param(kind, marks=_NEEDS.get(kind, ())) for kind in chosen])


EACH_KIND = each_kind("stock", "debug", "eager", "uvloop")


def run(kind: str, main: Callable[[], Awaitable[T]]) -> T:
    """Run an async function on a loop of a kind; fail if it leaves a task behind, or the loop has something to complain of."""
    complaints: list[dict[str, Any]] = []

    async def watched() -> T:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        result = await main()
        await asyncio.sleep(0)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        gc.collect()
        assert not left
        return result

    with asyncio.Runner(loop_factory=partial(new_loop, kind)) as runner:
        result = runner.run(watched())
    assert not complaints
    return result
