"""The checks that need no other Python: `python -m tests.check`, in minutes, before a commit; `bash .ci/run` has all.

    python -m tests.check             lint, types, floors, spelling, and the tests but those that take long
    python -m tests.check --no-tests  without the tests, as .ci/run calls it

All are run, also after one has failed; what has failed is said once more in the end.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
CHECKS = [
    "ruff check .",
    "ruff format --check .",
    "mypy",
    "basedpyright",
    "basedpyright --verifytypes weirpool --ignoreexternal",
    "lint-imports",
    "codespell src tests docs benchmarks README.md CHANGELOG.md",
]
LONG = [
    "proof",
    "contrast",
    "servers",
    "demo",
    "real",
    "mapping",
    "docs_site",
    "test_soak.py",
    "test_tutorial.py",
    "test_benchmarks.py",
    "test_mutation.py",
]
TESTS = "python -m pytest -q -x " + " ".join(f"--ignore=tests/{name}" for name in LONG)


def run(commands: list[str]) -> list[str]:
    """Run commands, with the tools of this Python, and return those that have failed."""
    failed = []
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    for command in commands:
        since = time.monotonic()
        environment = {**os.environ, "PATH": path}
        ran = subprocess.run(command.split(), cwd=ROOT, env=environment, check=False, text=True, capture_output=True)
        print(f"{'ok' if ran.returncode == 0 else 'FAILED':6} {time.monotonic() - since:5.1f} s  {command}", flush=True)
        if ran.returncode:
            print(ran.stdout + ran.stderr)
            failed.append(command)
    return failed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.check", description=__doc__.partition("\n")[0])
    parser.add_argument("--no-tests", action="store_true", help="without the tests, as .ci/run calls it")
    failures = run(CHECKS if parser.parse_args().no_tests else [*CHECKS, TESTS])
    for failure in failures:
        print(f"FAILED: {failure}")
    sys.exit(bool(failures))
