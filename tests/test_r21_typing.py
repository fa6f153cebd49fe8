"""R21: mypy and pyright accept right calls and refuse wrong ones, and nothing public is without a type."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import weirpool

ROOT = Path(__file__).parent.parent
API = Path(__file__).parent / "typing" / "api.py"

pytestmark = [pytest.mark.realtime, pytest.mark.timeout(300)]


def run(tool: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a type checker on the weirpool that is being tested, in the environment that it is being tested in."""
    if sys.version_info >= (3, 14):
        pytest.skip("the type checkers read the same source on every Python: they are run on 3.11 to 3.13")
    if importlib.util.find_spec(tool) is None:
        pytest.skip(f"missing: {tool}; pip install 'weirpool[test]'")
    assert weirpool.__file__ is not None
    source = str(Path(weirpool.__file__).parent.parent)
    # `basedpyright --verifytypes` looks at the first Python on the PATH, whatever --pythonpath says.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": source, "MYPYPATH": source}
    return subprocess.run(  # the tools are those of the project
        [sys.executable, "-m", tool, *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def mypy(file: Path) -> subprocess.CompletedProcess[str]:
    return run("mypy", "--strict", "--warn-unused-ignores", "--enable-error-code=ignore-without-code", file)


def pyright(file: Path) -> subprocess.CompletedProcess[str]:
    return run("basedpyright", "--pythonpath", sys.executable, file)


CHECKERS = pytest.mark.parametrize("checker", [mypy, pyright], ids=lambda checker: checker.__name__)


@CHECKERS
def test_right_calls_are_accepted_and_wrong_ones_refused(checker: Any) -> None:
    done = checker(API)
    assert done.returncode == 0, done.stdout + done.stderr


@CHECKERS
def test_the_checker_would_notice_a_right_call_that_is_refused_and_a_wrong_one_that_is_accepted(
    checker: Any, tmp_path: Path
) -> None:
    file = tmp_path / "bad.py"
    file.write_text(
        """
# pyright: reportUnnecessaryTypeIgnoreComment=true
from weirpool import WorkerPool

async def deliver(event: str) -> int:
    return 7

async def main(pool: WorkerPool) -> None:
    await pool.submit(deliver, "paid")  # type: ignore[arg-type]
    await pool.submit(deliver, 7)
"""
    )
    done = checker(file)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "bad.py:9" in done.stdout
    assert "bad.py:10" in done.stdout


def test_everything_public_has_a_type_that_all_checkers_agree_on() -> None:
    for framework in ("django", "litestar", "quart"):  # what is not installed has no types
        if importlib.util.find_spec(framework) is None:
            pytest.skip("missing: pip install 'weirpool[frameworks]'")
    done = run("basedpyright", "--verifytypes", "weirpool", "--ignoreexternal", "--outputjson")
    completeness = json.loads(done.stdout)["typeCompleteness"]
    assert completeness["pyTypedPath"]
    assert completeness["exportedSymbolCounts"]["withKnownType"] > 50
    incomplete = [
        f"{symbol['name']}: {message['message']}"
        for symbol in completeness["symbols"]
        for message in symbol["diagnostics"]
        if not symbol["isTypeKnown"] or symbol["isTypeAmbiguous"]
    ]
    assert completeness["completenessScore"] == 1, "\n".join(incomplete)
