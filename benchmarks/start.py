"""How long does it take to import weirpool, and to open a large pool?

Measured: (1) the time of `import weirpool` and of each peer, next to `foundation`, which is `import asyncio, contextvars,
dataclasses, anyio`: what weirpool is built on. (2) the time to enter a pool of 10,000 workers, and (3) to leave it again.

Fair because each import is the first thing that a new interpreter does, timed in there, so that starting the interpreter does
not count; all take turns, round by round. Compiled bytecode is there already, as it is after an installation. Entering is
measured in one process, in turn; what a library puts off until the first job is not in it.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from typing import TYPE_CHECKING

from measuring.command import Command
from measuring.field import Field
from measuring.report import Report, Table
from measuring.rounds import interleaved

if TYPE_CHECKING:
    import argparse

    from measuring.contestant import Contestant

FOUNDATION = "asyncio, contextvars, dataclasses, anyio"
TIMED = "from time import perf_counter as now; start = now(); import {}; print(now() - start)"


async def imported(what: str, compiled: str) -> float:
    """Return the milliseconds that a new interpreter takes to import something.

    Args:
        what: its name.
        compiled: the folder where the bytecode is, if this is not the first time.
    """
    command = [sys.executable, "-W", "ignore", "-c", TIMED.format(what)]
    # An environment may forbid to write bytecode, and then what is not installed but in a checkout is compiled each time.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env["PYTHONPYCACHEPREFIX"] = compiled
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, env=env)
    output, _ = await process.communicate()
    return float(output) * 1e3


async def entered(kind: type[Contestant], workers: int, left: list[float]) -> float:
    """Return the milliseconds that it takes to enter a pool, and note those that it takes to leave it."""
    contestant = kind(workers=workers)
    start = time.perf_counter()
    await contestant.__aenter__()
    taken = time.perf_counter() - start
    await asyncio.sleep(0)
    start = time.perf_counter()
    await contestant.__aexit__(None, None, None)
    left.append((time.perf_counter() - start) * 1e3)
    return taken * 1e3


COMMAND = Command(__file__, __doc__)
COMMAND.number("rounds", 21, 5, "rounds of each")
COMMAND.number("workers", 10_000, 10_000, "the workers of the pool that is entered")
COMMAND.peers()


def answer(options: argparse.Namespace) -> Report:
    """Measure imports, and entering and leaving."""
    report = COMMAND.report(options)
    field = Field.of("post", "flood", peers=[name for name in options.peers if name != "floor"])
    report.left_out = field.left_out
    imports = {"foundation": FOUNDATION}
    imports |= {name: kind.package for name, kind in field.contestants.items() if kind.package is not None}
    with tempfile.TemporaryDirectory() as compiled:  # by the round that does not count
        each = {name: partial(imported, what, compiled) for name, what in imports.items()}
        times = asyncio.run(interleaved(options.rounds, each))
    report.tables.append(Table("import", "ms", times, under="foundation"))

    pools = {name: kind for name, kind in field.contestants.items() if kind.can("post")}
    left: dict[str, list[float]] = {name: [] for name in pools}
    runs = {name: partial(entered, kind, options.workers, left[name]) for name, kind in pools.items()}
    times = asyncio.run(interleaved(options.rounds, runs))
    report.tables.append(Table(f"enter a pool of {options.workers:,} workers", "ms", times))
    report.tables.append(Table("leave it", "ms", {name: taken[-options.rounds :] for name, taken in left.items()}))
    return report


if __name__ == "__main__":
    COMMAND.main(answer)
