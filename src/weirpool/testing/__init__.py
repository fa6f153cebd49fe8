"""For tests: of code that takes a pool, of what is left behind, and of any async program, on hundreds of schedules.

`InlinePool` runs each job at once, `Recorder` remembers what happened, `no_pool_leaks` fails where a pool is left open (as a
fixture of pytest in `weirpool.testing.pytest_plugin`): docs/testing.md. And a deterministic event loop, with an explorer that
drives it::

    from weirpool.testing import explore

    async def transfer() -> None:
        async with WorkerPool(max_workers=2) as pool:
            ...

    def test_transfer() -> None:
        explore(transfer)

runs `transfer` in the stock order, again with each of its tasks cancelled before each of its steps, and then in shuffled
orders, in virtual time. A failure comes with the line that repeats it: docs/exploring.md.
"""

from __future__ import annotations

from ._explore import Explored, ScheduleFailed, explore, fault_pairs, orders, single_faults
from ._inline import InlinePool, Submitted
from ._leaks import PoolsLeaked, no_pool_leaks
from ._loop import Deadlock, DeterministicLoop, Livelock
from ._numbers import NumberedTask
from ._policies import ADVANCE, Fifo, Jitter, Policy, Priorities, Script, Shuffle
from ._recorder import Recorder
from ._run import Complaint, Run, run
from ._schedule import Fault, Schedule
from ._shrink import shrink
from ._unseen import UnseenFailures, no_unseen_failures

__all__ = [
    "ADVANCE",
    "Complaint",
    "Deadlock",
    "DeterministicLoop",
    "Explored",
    "Fault",
    "Fifo",
    "InlinePool",
    "Jitter",
    "Livelock",
    "NumberedTask",
    "Policy",
    "PoolsLeaked",
    "Priorities",
    "Recorder",
    "Run",
    "Schedule",
    "ScheduleFailed",
    "Script",
    "Shuffle",
    "Submitted",
    "UnseenFailures",
    "explore",
    "fault_pairs",
    "no_pool_leaks",
    "no_unseen_failures",
    "orders",
    "run",
    "shrink",
    "single_faults",
]
