"""Is anything lost, done twice, or left behind, in millions of jobs, thousands of pools, and by signals at any moment?

Six parts, each in a process of its own:

  jobs     ten million jobs of every outcome (fine, failing in every ugly way, hanging, raising CancelledError, swallowing
           cancellation once or for ever, stopping the loop), while handles, submitters and callers of run() are cancelled at
           random, and pools are closed under load in every way and replaced. What submitters and jobs saw is tallied beside
           the pool and compared with its books all along and with its reports.
  pools    a hundred thousand pools, opened, used a little and closed in one of nine ways: nothing of them may stay.
  elastic  a million submissions, cancellations, resizes, pauses and resumes, of jobs with priorities, keys and nests,
           in fixed and scaling pools, in virtual time: whatever starts has a place, and all along the books balance.
  full     open-loop load at 80 % of capacity: how long jobs wait. Then ten minutes of a pool that is full and does nothing,
           while submitters are refused, run out of patience and are cancelled, each within one turn of the loop.
  stall    a loop that is blocked for 5 s in the midst of closing: closed within bound + stall, and what cleans up still can.
  signals  SIGTERM and SIGKILL for the demo's service at random moments under load: the journals say exactly what is known.

Memory, descriptors, tasks and threads must be flat. The random numbers come from --seed; but clocks and processes are real,
so a seed gives the same jobs and disturbances, not the same interleaving. Exit status: 0 if all bars hold, else 1.

    python benchmarks/soak.py [--quick] [--loop stock|eager|uvloop] [--json FILE] [jobs] [pools] [elastic] [full] ...
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soaking.bars import Result, patient, table
from soaking.loops import LOOPS

if TYPE_CHECKING:
    from collections.abc import Callable


def _jobs(options: argparse.Namespace) -> Result:
    from soaking import load  # noqa: PLC0415

    jobs = options.jobs or (100_000 if options.quick else 10_000_000)
    return load.soak(jobs, min(100_000, max(1, jobs // 20)), options.seed, options.loop)


def _pools(options: argparse.Namespace) -> Result:
    from soaking import pools  # noqa: PLC0415

    return pools.soak(options.pools or (8_000 if options.quick else 100_000), options.seed, options.loop)


def _elastic(options: argparse.Namespace) -> Result:
    from soaking import elastic  # noqa: PLC0415

    return elastic.soak(options.operations or (20_000 if options.quick else 1_000_000), options.seed)


def _full(options: argparse.Namespace) -> Result:
    from soaking import full  # noqa: PLC0415

    return full.soak(options.full or (2.0 if options.quick else 600.0), options.seed, options.loop)


def _stall(options: argparse.Namespace) -> Result:
    from soaking import stall  # noqa: PLC0415

    seconds = options.stall or (1.0 if options.quick else 5.0)
    return stall.soak(1 if options.quick else 5, seconds, options.seed, options.loop)


def _signals(options: argparse.Namespace) -> Result:
    from soaking import signals  # noqa: PLC0415

    return signals.soak(options.rounds or (3 if options.quick else 60), 0.6 if options.quick else 3.0, options.seed)


# Each is loaded in its own process only: "signals" needs the extra `demo`, and "pools" little memory to start from.
PARTS: dict[str, Callable[[argparse.Namespace], Result]] = {
    "jobs": _jobs,
    "pools": _pools,
    "elastic": _elastic,
    "full": _full,
    "stall": _stall,
    "signals": _signals,
}


def run(part: str, options: argparse.Namespace) -> dict[str, Any]:
    """Run one part in a process of its own; return its result."""
    given = {name: value for name, value in vars(options).items() if name not in ("parts", "quick", "json") and value}
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "result.json"
        command = [sys.executable, __file__, part, "--inside", str(file), *["--quick"] * options.quick]
        status = subprocess.call([*command, *(f"--{name}={value}" for name, value in given.items())])
        if file.exists():
            result: dict[str, Any] = json.loads(file.read_text())
            return result
    ended = {"what": "came to its end", "measured": f"exit status {status}", "wanted": "0", "held": False}
    return {"part": part, "figures": {}, "bars": [ended]}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"which of {', '.join(PARTS)} (all)")
    parser.add_argument("--quick", action="store_true", help="a few seconds of each, for every push")
    parser.add_argument("--jobs", type=int, help="how many jobs (10,000,000; quick: 100,000)")
    parser.add_argument("--pools", type=int, help="how many pools (100,000; quick: 8,000)")
    parser.add_argument("--operations", type=int, help="how often a pool is steered (1,000,000; quick: 20,000)")
    parser.add_argument("--full", type=float, help="for how long a pool is kept full, in seconds (600; quick: 2)")
    parser.add_argument("--stall", type=float, help="for how long the loop is blocked, in seconds (5; quick: 1)")
    parser.add_argument("--rounds", type=int, help="how many services are ended by signals (60; quick: 3)")
    parser.add_argument("--loop", choices=LOOPS, default="stock", help="which event loop (stock)")
    parser.add_argument("--seed", type=int, help="of all random numbers (random)")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    if options.seed is None:
        options.seed = random.randrange(1 << 31)
    return options


def main() -> int:
    """Run the parts, and print the verdicts."""
    options = _options()
    if options.inside is not None:
        patient(90 if options.quick else 300)
        result = PARTS[options.parts[0]](options)
        options.inside.write_text(json.dumps(result.plain()))
        return 0
    began = time.perf_counter()
    print(f"Python {platform.python_version()}, {options.loop} loop, --seed={options.seed}", flush=True)
    results = []
    for part in options.parts or PARTS:
        print(f"{part}:", flush=True)
        results.append(run(part, options))
    print(f"\n{table(results)} in {time.perf_counter() - began:,.0f} s")
    if options.json:
        figures = {"python": platform.python_version(), "loop": options.loop, "seed": options.seed, "parts": results}
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0 if all(bar["held"] for result in results for bar in result["bars"]) else 1


if __name__ == "__main__":
    sys.exit(main())
