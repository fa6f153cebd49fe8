"""Which tests execute which lines, and how long each takes: measured once per test file, and again when it changes."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.mutation.forks import in_fork, run_pytest, test_files
from tests.mutation.mutants import ROOT, SOURCE

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.mutation.mutants import Mutant

_LIMIT = 900.0


class Selection:
    """Know the tests of each line.

    Args:
        store: the file where measurements are kept.
    """

    def __init__(self, store: Path) -> None:
        known: dict[str, Any] = json.loads(store.read_text()) if store.exists() else {}
        common = _digest(*sorted(SOURCE.glob("*.py")), ROOT / "tests" / "conftest.py", ROOT / "tests" / "support.py")
        self.tests: dict[str, Any] = {}
        self._importing: dict[tuple[str, int], set[str]] = {}
        for name in test_files():
            path = ROOT / name
            digest = common + _digest(path)
            entry = known.get(name)
            if entry is None or entry["digest"] != digest:
                entry = known[name] = in_fork(_LIMIT, partial(_measure, path)) | {"digest": digest}
                if entry["failed"]:
                    raise SystemExit("these tests fail without any mutant:\n" + "\n".join(entry["failed"]))
                store.write_text(json.dumps(known))
            self.tests |= entry["tests"]
            for module, lines in entry["importing"].items():
                for line in lines:
                    self._importing.setdefault((module, line), set()).update(entry["tests"])
        self._executed = Counter(
            (module, line) for test in self.tests for module, lines in self._lines(test).items() for line in lines
        )

    def of(self, mutant: Mutant, kills: Counter[str]) -> list[str]:
        """Return the tests that execute a mutant, the likeliest to notice it first.

        Those are the ones that noticed others of the same function, then the quick ones that execute lines of the module that
        few others do. What is executed on import only concerns whoever executes the function around it, or else anybody.
        """
        found = list(self.imported_by(mutant))
        for lines in (mutant.lines, mutant.scope_lines):
            found += [test for test in self.tests if any(n in lines for n in self._lines(test).get(mutant.module, ()))]
            if found:
                break
        return sorted(set(found or self.tests), key=lambda test: (-kills[test], self._cost(test, mutant.module)))

    def imported_by(self, mutant: Mutant) -> set[str]:
        """Return the tests of those files which execute a mutant, or the function that it heads, when they are imported."""
        lines = mutant.scope_lines[1:] if mutant.function is None else mutant.lines
        return set().union(*(self._importing.get((mutant.module, line), ()) for line in lines))

    def seconds(self, test: str) -> float:
        """Return how long a test takes."""
        return float(self.tests[test]["seconds"])

    def _lines(self, test: str) -> dict[str, list[int]]:
        lines: dict[str, list[int]] = self.tests[test]["lines"]
        return lines

    def _cost(self, test: str, module: str) -> float:
        rarity = sum(1 / self._executed[module, line] for line in self._lines(test).get(module, ()))
        return (0.01 + self.seconds(test)) / (0.01 + rarity)


def _digest(*paths: Path) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:16]


class _Recorder:
    """Tell coverage which test runs, and time it."""

    def __init__(self, coverage: Any) -> None:
        self.coverage = coverage
        self.seconds: dict[str, float] = {}
        self.failed: list[str] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        since = time.perf_counter()
        self.coverage.switch_context(item.nodeid)
        result = yield
        self.coverage.switch_context("")
        self.seconds[item.nodeid] = time.perf_counter() - since
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.append(report.nodeid)
        elif report.skipped:
            self.seconds.pop(report.nodeid, None)


def _measure(path: Path, _: object) -> dict[str, Any]:
    os.environ["COVERAGE_CORE"] = "ctrace"  # the one that knows contexts
    import coverage

    cov = coverage.Coverage(data_file=None, config_file=False, include=[f"{SOURCE}/_*.py"], messages=False)
    cov.start()
    recorder = _Recorder(cov)
    code = run_pytest([str(path)], recorder)
    cov.stop()
    if code not in {0, 5}:
        recorder.failed.append(f"{path}: pytest ended with {code}")
    importing: dict[str, list[int]] = {}
    tests: dict[str, Any] = {test: {"seconds": round(seconds, 3), "lines": {}} for test, seconds in recorder.seconds.items()}
    data = cov.get_data()
    for file in data.measured_files():
        for line, names in data.contexts_by_lineno(file).items():
            for name in names:
                if not name:
                    importing.setdefault(Path(file).stem, []).append(line)
                elif name in tests:
                    tests[name]["lines"].setdefault(Path(file).stem, []).append(line)
    return {"tests": tests, "importing": importing, "failed": recorder.failed}
