"""What the tests themselves rely on: a test that fails ends, and says why, whatever its jobs do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

FAILS_TOO_EARLY = """
import asyncio
from tests.support import Stubborn
from weirpool import WorkerPool


async def test_that_fails_before_it_lets_the_job_go() -> None:
    stubborn = Stubborn()
    async with WorkerPool(shutdown_timeout=0.1, cancel_grace=0.05) as pool:
        await pool.submit(stubborn)
        await stubborn.started.wait()
        assert 1 + 1 == 3
    await stubborn.release()


async def test_that_forgets_to() -> None:
    async with WorkerPool(shutdown_timeout=0.1, cancel_grace=0.05) as pool:
        await pool.submit(Stubborn())
        await asyncio.sleep(0.01)


async def test_that_is_fine() -> None:
    stubborn = Stubborn()
    async with WorkerPool(shutdown_timeout=0.1, cancel_grace=0.05) as pool:
        await pool.submit(stubborn)
        await stubborn.started.wait()
    await stubborn.release()
"""


@pytest.mark.realtime
def test_a_test_that_fails_while_a_stubborn_job_runs_ends(tmp_path: Path) -> None:
    """A loop that is closed at the end of its test waits for ever for a task that swallows its cancellation."""
    path = tmp_path / "test_fails.py"
    path.write_text(f"import pytest\npytestmark = pytest.mark.complains\n{FAILS_TOO_EARLY}")
    command = ["-p", "tests.conftest", "-p", "no:cacheprovider", "-c", ROOT / "pyproject.toml", "--rootdir", tmp_path, path]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *map(str, command)], cwd=ROOT, capture_output=True, text=True, timeout=45, check=False
    )
    assert run.returncode == 1, run.stdout + run.stderr
    assert "assert (1 + 1) == 3" in run.stdout
    assert "1 failed, 2 passed, 2 errors" in run.stdout, "each that left its job behind is told so"
    assert "test_that_is_fine" not in run.stdout
