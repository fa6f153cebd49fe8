"""Virtual time for benchmarks: hours in seconds, and the same figures each time."""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from weirpool.testing import DeterministicLoop

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["run"]

T = TypeVar("T")


def run(program: Coroutine[Any, Any, T]) -> T:
    """Run a program in virtual time, in the order of the stock loop."""
    with asyncio.Runner(loop_factory=partial(DeterministicLoop, max_steps=sys.maxsize)) as runner:
        return runner.run(program)
