"""Run whole programs in processes of their own, on a loop of each kind, with every warning an error."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]

PRELUDE = """\
import asyncio, logging, os, signal, sys, threading, time
from tests.real.loops import new_loop
from weirpool import JobCancelled, JobTimeout, PoolState, WorkerPool, current_job, remaining

signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored by what is started in the background
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(levelname)s %(name)s %(message)s")

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # in one piece, whatever other threads say

async def tidy(seconds=0.05):
    "Work for ever, and need a moment to clean up."
    try:
        await asyncio.sleep(3600)
    finally:
        await asyncio.sleep(seconds)
        say("tidied", current_job().name)

"""


class Ended(NamedTuple):
    """How a process ended."""

    code: int
    out: str
    err: str

    @property
    def quiet(self) -> bool:
        """Whether asyncio and the interpreter had nothing to complain of."""
        return not re.search(r"never awaited|never retrieved|was destroyed|never closed|Warning|ignored", self.err)


def program(kind: str, script: str, within: float = 30.0) -> Ended:
    """Run a script to its end."""
    mode = ["-X", "dev"] if kind == "debug" else []
    done = subprocess.run(
        [sys.executable, *mode, "-W", "error", "-c", f"KIND = {kind!r}\n" + PRELUDE + textwrap.dedent(script)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=within,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)
