"""What happens in a pool, for whoever wants to hear it: derive from `Observer`, pass `WorkerPool(observers=[...])`."""

from __future__ import annotations

from ._events import JobAccepted as JobAccepted
from ._events import JobEnded as JobEnded
from ._events import JobStarted as JobStarted
from ._events import Observer as Observer
from ._events import PoolMoved as PoolMoved
from ._events import StrayEnded as StrayEnded
from ._events import SubmitRefused as SubmitRefused
from ._snapshot import Stray as Stray

__all__ = [
    "JobAccepted",
    "JobEnded",
    "JobStarted",
    "Observer",
    "PoolMoved",
    "Stray",
    "StrayEnded",
    "SubmitRefused",
]
