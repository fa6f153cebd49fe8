"""What can be seen of pools from outside, beside `WorkerPool.stats()`: see docs/observing.md.

OpenTelemetry's metrics and traces are on by themselves where the application has configured a provider; there is nothing
here to call for that. `LoopLag` measures how late the event loop is, and names who holds it up.
"""

from __future__ import annotations

from ._lag import LoopLag

__all__ = ["LoopLag"]

LoopLag.__module__ = __name__
