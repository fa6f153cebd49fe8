"""What happens in a pool, for whoever wants to hear it: derive from `Observer`, pass `WorkerPool(observers=[...])`."""

from __future__ import annotations

from ._events import JobAccepted, JobEnded, JobStarted, Observer, PoolMoved, PoolResized, StrayEnded, SubmitRefused
from ._snapshot import Stray

__all__ = [
    "JobAccepted",
    "JobEnded",
    "JobStarted",
    "Observer",
    "PoolMoved",
    "PoolResized",
    "Stray",
    "StrayEnded",
    "SubmitRefused",
]
