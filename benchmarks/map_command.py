"""What does an item cost that goes through `weirpool map`, and does its memory stay flat?

Measured: (1) a file of JSON lines, each read, decoded, given to an async function that yields to the loop once, and what it
returns encoded and written to a file: by the command, in the order of the input and not, with and without a journal; against
a bare loop that does the same, one item after the other, without a pool, deadline, retry, journal or progress. Processes are
timed from their start to their end; what each takes for an empty file is taken off. (2) How much memory the command had in
use at most for all items, beyond what it had for a tenth of them.

Fair because all run in turn, round by round (A B C A B C ...), and only ratios within one round count. What the pool itself
costs is in map.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from measuring.command import Command
from measuring.report import Report, Table

if TYPE_CHECKING:
    import argparse

FUNCTION = """
import asyncio

async def job(item):
    await asyncio.sleep(0)
    return item
"""
BARE = """
import asyncio, json, sys
from job import job

async def main():
    with open(sys.argv[1], "rb") as source, open(sys.argv[2], "w") as output:
        for line in source:
            output.write(json.dumps(await job(json.loads(line))) + "\\n")

asyncio.run(main())
"""
COMMAND_LINE = "import sys; from weirpool.cli import main; sys.exit(main())"
CONTESTANTS = {
    "weirpool map": [],
    "weirpool map --unordered": ["--unordered"],
    "weirpool map --journal": ["--journal", "journal"],
    "a bare loop": None,
}


def ran(name: str, source: str, items: int) -> tuple[float, float]:
    """Return the seconds that one took for a file, and the megabytes that it had in use at most."""
    options = CONTESTANTS[name]
    if options is None:
        command = ["bare.py", source, "output"]
    else:
        command = ["-c", COMMAND_LINE, "map", "job:job", "--quiet", "--input", source, "--output", "output", *options]
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, *command])
    _, status, used = os.wait4(process.pid, 0)
    taken = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    with Path("output").open("rb") as output:
        lines = sum(1 for _ in output)
    Path("output").unlink()
    Path("journal").unlink(missing_ok=True)
    if process.returncode or lines != items:
        raise AssertionError(f"{name}: exit status {process.returncode}, {lines:,} results of {items:,} items")
    return taken, used.ru_maxrss / 1024


def write(name: str, items: int) -> None:
    """Write a file of items."""
    with Path(name).open("w", encoding="utf-8") as file:
        file.writelines(f'{{"id": {number}, "url": "https://example.org/{number}"}}\n' for number in range(items))


COMMAND = Command(__file__, __doc__)
COMMAND.number("rounds", 5, 1, "rounds of each")
COMMAND.number("items", 100_000, 10_000, "items per round")
COMMAND.number("many", 1_000_000, 50_000, "items of the file whose memory is measured")


def answer(options: argparse.Namespace) -> Report:
    """Measure the time per item, then the memory."""
    report = COMMAND.report(options)
    times: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        try:
            Path("job.py").write_text(FUNCTION, encoding="utf-8")
            Path("bare.py").write_text(BARE, encoding="utf-8")
            for name, items in (("none", 0), ("some", options.items), ("tenth", options.many // 10), ("many", options.many)):
                write(name, items)
            for _ in range(options.rounds):
                for name, its in times.items():
                    its.append((ran(name, "some", options.items)[0] - ran(name, "none", 0)[0]) / options.items * 1e6)
            grown = []
            for _ in range(options.rounds):
                least = ran("weirpool map --journal", "tenth", options.many // 10)[1]
                grown.append(max(0.0, ran("weirpool map --journal", "many", options.many)[1] - least))
        finally:
            os.chdir(before)
    report.tables.append(Table("a file of lines", "us per item", times, over="weirpool map"))
    report.tables.append(Table("growth from a tenth of the items to all", "MB", {"weirpool map --journal": grown}))
    return report


if __name__ == "__main__":
    COMMAND.main(answer)
