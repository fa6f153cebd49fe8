"""The figures of a question: printed, and written to JSON and read again. What is printed is what is written."""

from __future__ import annotations

import gc
import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

from .field import CONTESTANTS
from .rounds import Spread, paired

__all__ = ["Report", "Table", "described", "machine"]


@dataclass(slots=True)
class Table:
    """What each of several took, in each round, all in one unit.

    Args:
        title: what tells it from the other tables of the question.
        unit: of the figures.
        rounds: the figures of each, in the order of the rounds.
        over: whose figures are divided by those of each other one.
        under: by whose figures those of each other one are divided.
    """

    title: str
    unit: str
    rounds: dict[str, list[float]]
    over: str | None = None
    under: str | None = None

    def spread(self, name: str) -> Spread:
        """Return what one of them took."""
        return Spread.of(self.rounds[name])

    def ratio(self, over: str, under: str) -> Spread | None:
        """Return the paired ratios of two; None if there are none, as one of the two took nothing."""
        if not all(self.rounds[under]):
            return None
        return Spread.of(paired(self.rounds[over], self.rounds[under]))

    def ratios(self) -> dict[str, Spread]:
        """Return the ratios that are of interest, by the name of the other one."""
        fixed = self.over or self.under
        if fixed not in self.rounds:
            return {}
        pairs = {name: (self.over or name, self.under or name) for name in self.rounds if name != fixed}
        ratios = {name: self.ratio(*pair) for name, pair in pairs.items()}
        return {name: ratio for name, ratio in ratios.items() if ratio is not None}

    def lines(self) -> list[str]:
        """Return it as text."""
        ratios = self.ratios()
        about = "" if not ratios else f"{self.over} / it" if self.over else f"it / {self.under}"
        width = max(map(len, self.rounds), default=0)
        lines = [f"{self.title} ({self.unit})", f"  {'':{width}} {'median':>12} {about:>18}   quartiles".rstrip()]
        if not ratios:
            lines[1] = f"  {'':{width}} {'median':>12}"
        for name in self.rounds:
            line = f"  {name:{width}} {_figure(self.spread(name).median):>12}"
            if name in ratios:
                ratio = ratios[name]
                line += f" {ratio.median:18.3f}   {ratio.low:.3f} to {ratio.high:.3f}"
            lines.append(line)
        return lines


def _figure(value: float) -> str:
    """Write a figure with about four digits that count."""
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{max(0, 3 - len(str(int(abs(value)))) + 1)}f}" if abs(value) >= 1 else f"{value:.4g}"


@dataclass(slots=True)
class Report:
    """All that was found out about one question."""

    question: str
    about: str
    settings: dict[str, Any]
    tables: list[Table] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)

    def table(self, title: str) -> Table | None:
        """Find a table."""
        return next((table for table in self.tables if table.title == title), None)

    def text(self) -> str:
        """Return it as text."""
        lines = [f"{self.question}: {self.about}", described(self.machine)]
        lines.append("  ".join(f"{name}={value!r}" for name, value in self.settings.items()))
        lines += [f"left out: {name}: {why}" for name, why in self.left_out.items()]
        for table in self.tables:
            lines += ["", *table.lines()]
        return "\n".join(lines)

    def write(self, file: Path) -> None:
        """Write it to a file: every figure of every round, and what is printed of them."""
        plain = asdict(self)
        for table, made in zip(self.tables, plain["tables"], strict=True):
            made["medians"] = {name: table.spread(name).median for name in table.rounds}
            made["ratios"] = {name: asdict(ratio) for name, ratio in table.ratios().items()}
        file.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read one that was written."""
        plain = json.loads(file.read_text(encoding="utf-8"))
        made = ("medians", "ratios")
        tables = [Table(**{name: value for name, value in table.items() if name not in made}) for table in plain.pop("tables")]
        return cls(**plain, tables=tables)


def machine() -> dict[str, Any]:
    """Return what the figures depend on: interpreter, machine, versions."""
    libraries = [name for name, contestant in CONTESTANTS.items() if contestant.package]
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "compiler": platform.python_compiler(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "processors": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "collector": gc.isenabled(),
        "commit": _commit(),
        "versions": {name: _version(name) for name in (*libraries, "opentelemetry-api")},
    }


def described(about: dict[str, Any]) -> str:
    """Return what `machine` found, as text."""
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items() if number)
    return (
        f"{about['python']} ({about['compiler']}), {about['system']}, {about['processors']} x {about['processor']}, "
        f"load {about['load']}, garbage collector {'on' if about['collector'] else 'off'}\n"
        f"{versions}; commit {about['commit'] or 'unknown'}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or "unknown processor")


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
