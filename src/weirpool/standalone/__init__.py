"""Standalone workers: what a process needs that is nothing but a worker. See docs/workers.md.

`run(main)` is to a worker what `asyncio.run(main())` is to a program, and `await serve(pool)` is where its `main` stays until
it is told to end. `listening` is for commands of weirpool's own that have something left to do when `serve` has returned.
Nothing else in weirpool touches signals.
"""

from __future__ import annotations

from ._run import run
from ._serve import serve
from ._signals import listening

__all__ = ["listening", "run", "serve"]

for _function in (run, serve):
    _function.__module__ = "weirpool"
