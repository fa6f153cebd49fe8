"""What is known of the closing of a pool: by when it has to do what."""

from __future__ import annotations

import math

__all__ = ["Closing"]


class Closing:
    """The times that matter, on the loop's clock."""

    def __init__(self) -> None:
        self.grace = 0.0  # the shortest that a job can get
        self.bound = math.inf  # when the pool has to be closed, if nothing blocks the loop
        self.closed_by = math.inf  # when it has to be closed, however long something has blocked the loop
        self.cancel_from = math.inf  # before that it must not cancel jobs
        self.cancel_by = math.inf  # and by then it must
        self.cancelling_at = math.inf  # when it was seen to do so

    def begin(self, now: float, budget: float) -> None:
        """Note that somebody closes the pool, within so many seconds."""
        self.grace = min(self.grace, budget)
        self.bound = min(self.bound, now + budget)
        self.cancel(now + budget - self.grace)

    def cancel(self, at: float) -> None:
        """Note that the pool has to begin to cancel at a time, and not before."""
        self.allow(at)
        self.cancel_by = min(self.cancel_by, at)
        self.closed_by = min(self.closed_by, at + self.grace)

    def allow(self, at: float) -> None:
        """Note that the pool may begin to cancel at a time."""
        self.cancel_from = min(self.cancel_from, at)
