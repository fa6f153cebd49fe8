"""Rules for a pool under changing load: how many places it should have, and what becomes of too many jobs.

::

    WorkerPool(min_workers=2, max_workers=64, scaling=Adaptive(), overload=CoDel())

Scaling (`scaling=`): `OnDemand` adds places as jobs need them; `Step` goes up and down by steps; `QueueDelay` holds the time
in queue; `Adaptive` finds out what the downstream bears.

Overload (`overload=`): `Wait`, `Reject`, `DropOldest` and `CallerRuns`, which have names, too ("wait" and so on), say what
becomes of a submission that finds no room; `CoDel` sheds what has waited too long; `EarlyRefusal` refuses some before the
queue is full.

Trying again (`submit(..., retry=Retry())`): one job, whatever the number of attempts.

A policy of your own is anything that looks like `ScalingPolicy` or `OverloadPolicy`: a description, whose `controller()` is
made for one pool, told numbers, and answers with numbers. It needs no event loop and no pool to be tested.
"""

from __future__ import annotations

from .adaptive import Adaptive
from .overload import (
    CallerRuns,
    CoDel,
    DropOldest,
    EarlyRefusal,
    OverloadController,
    OverloadPolicy,
    Reject,
    Wait,
    named,
)
from .retry import Retry
from .scaling import Decision, Load, OnDemand, QueueDelay, ScalingController, ScalingPolicy, Step

__all__ = [
    "Adaptive",
    "CallerRuns",
    "CoDel",
    "Decision",
    "DropOldest",
    "EarlyRefusal",
    "Load",
    "OnDemand",
    "OverloadController",
    "OverloadPolicy",
    "QueueDelay",
    "Reject",
    "Retry",
    "ScalingController",
    "ScalingPolicy",
    "Step",
    "Wait",
    "named",
]

for _name in __all__:
    globals()[_name].__module__ = __name__
