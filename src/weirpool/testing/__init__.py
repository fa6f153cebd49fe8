"""Test async programs on hundreds of schedules: a deterministic event loop, and an explorer that drives it.

::

    from weirpool.testing import explore

    async def transfer() -> None:
        async with WorkerPool(max_workers=2) as pool:
            ...

    def test_transfer() -> None:
        explore(transfer)

runs `transfer` in the stock order, again with each of its tasks cancelled before each of its steps, and then in shuffled
orders, in virtual time. A failure comes with the line that repeats it. More in docs/testing.md.
"""

from __future__ import annotations

from ._explore import Explored, ScheduleFailed, explore, fault_pairs, orders, single_faults
from ._loop import Deadlock, DeterministicLoop, Livelock
from ._numbers import NumberedTask
from ._policies import ADVANCE, Fifo, Jitter, Policy, Priorities, Script, Shuffle
from ._run import Complaint, Run, run
from ._schedule import Fault, Schedule
from ._shrink import shrink

__all__ = [
    "ADVANCE",
    "Complaint",
    "Deadlock",
    "DeterministicLoop",
    "Explored",
    "Fault",
    "Fifo",
    "Jitter",
    "Livelock",
    "NumberedTask",
    "Policy",
    "Priorities",
    "Run",
    "Schedule",
    "ScheduleFailed",
    "Script",
    "Shuffle",
    "explore",
    "fault_pairs",
    "orders",
    "run",
    "shrink",
    "single_faults",
]
