"""Standalone workers: what a process needs that is nothing but a worker. See docs/workers.md.

`run(main)` is to a worker what `asyncio.run(main())` is to a program, and `await serve(pool)` is where its `main` stays until
it is told to end. Nothing else in weirpool touches signals.
"""

from __future__ import annotations

from ._run import run
from ._serve import serve

__all__ = ["run", "serve"]

for _function in (run, serve):
    _function.__module__ = "weirpool"
