"""The soak (benchmarks/soak.py), in little: all its bars hold; and it can fail, for bugs that are planted into weirpool."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import LOOP

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"

pytestmark = [
    pytest.mark.realtime,
    pytest.mark.timeout(150),
    pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="measures by way of /proc"),
]


def run(*arguments: str) -> tuple[int, str]:
    """Run Python, and return its exit status and output; none of its processes outlives this."""
    # Not measured for coverage, which takes memory and time of its own.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    with subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        env=env,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=120)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, output


@pytest.mark.parametrize("part", ["jobs", "pools", "elastic", "full", "stall", "signals"])
def test_a_short_soak_loses_nothing_does_nothing_twice_and_leaves_nothing(part: str) -> None:
    if part == "signals":
        for package in ("aiohttp", "fastapi", "uvicorn"):
            pytest.importorskip(package, reason=f"missing: pip install {package}")
    status, output = run(str(BENCHMARKS / "soak.py"), "--quick", "--jobs=40000", f"--loop={LOOP or 'stock'}", part)
    assert status == 0, output
    assert output.splitlines()[-1].split(" in ")[0].endswith(" bars, 0 failed")


# Bugs for it to find: in which part, what it must find, and what is planted.
PLANTED = {
    "jobs are kept": (
        "jobs",
        "blocks of memory that stay",
        """
from weirpool._job import Job
end, kept = Job.end, []
Job.end = lambda job, *how: (kept.append(job), end(job, *how))
""",
    ),
    "results are mixed up": (
        "jobs",
        "wrong result",
        """
from weirpool._job import Job
end, last = Job.end, 0
def mixed_up(job, state, outcome, ledger):
    global last
    last, mine = outcome, last if isinstance(outcome, int) and job.id % 100 == 0 else outcome
    end(job, state, mine, ledger)
Job.end = mixed_up
""",
    ),
    "a job is counted twice": (
        "jobs",
        "the pool's books do not balance",
        """
from weirpool._lifecycle import FAILED, Ledger
end = Ledger.end
def counted_twice(ledger, job, to, outcome):
    end(ledger, job, to, outcome)
    ledger.ends[FAILED] += to is FAILED and job.id % 100 == 0
Ledger.end = counted_twice
""",
    ),
    "a failure that nobody looks at is not logged": (
        "jobs",
        "unseen failures logged",
        """
from weirpool._failure import Failure
del Failure.__del__
""",
    ),
    "a cancelled job is cancelled again": (
        "jobs",
        "cancelled twice",
        """
from weirpool._crew import Crew
from weirpool._lifecycle import RUNNING
cancel = Crew.cancel
def again(crew, job, reason):
    cancel(crew, job, reason)
    if job.state is RUNNING:
        crew.loop.call_soon(lambda: job.run and job.run.task.cancel())
Crew.cancel = again
""",
    ),
    "closed pools are kept": (
        "pools",
        "pools are left",
        """
from weirpool._closing import Closing
close, kept = Closing._close, []
Closing._close = lambda closing: (kept.append(closing), close(closing))
""",
    ),
}


@pytest.mark.skipif(bool(LOOP), reason="the same on every loop")
@pytest.mark.parametrize("bug", PLANTED)
def test_the_soak_can_fail(bug: str) -> None:
    part, found, code = PLANTED[bug]
    soak = {"jobs": "load.soak(10_000, 500, 1, 'stock')", "pools": "pools.soak(500, 1, 'stock')"}[part]
    status, output = run(
        "-c",
        f"import sys; sys.path.insert(0, {str(BENCHMARKS)!r})\n{code}\n"
        f"from soaking import bars, load, pools\nresult = {soak}\n"
        "print(*[f'{bar.what}: {bar.measured}' for bar in result.bars if not bar.held], sep='\\n')",
    )
    assert status == 0, output
    failed = [line for line in output.splitlines() if line and not line.startswith("  ")]
    assert any(found in line for line in failed), output
