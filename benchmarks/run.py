"""Run all benchmarks, one after the other, and say which bars held.

Each question has a script of its own, whose docstring says what is measured and why it is fair; each runs in a process of its
own. --json keeps the figures, --plots draws them, --from reads what was kept instead of measuring. --quick takes less than two
minutes, and gives rough figures. Nothing else should run meanwhile: all figures suffer, though the ratios less.

Exit status: 1 if a script did not come to its end, else 0, whichever bars held; `guard.py` is what fails.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measuring.bars import BARS, judged, verdicts
from measuring.pictures import pictures
from measuring.report import Report

HERE = Path(__file__).parent
QUESTIONS = (
    "round_trip",
    "telemetry",
    "budget",
    "flood",
    "map",
    "map_command",
    "batch",
    "fire_and_forget",
    "real_io",
    "latency",
    "depth",
    "width",
    "idle",
    "memory",
    "closing",
    "blocking",
    "overload",
    "from_thread",
    "start",
)


def measured(question: str, directory: Path, *, quick: bool) -> bool:
    """Run a script; return whether it came to its end."""
    file = directory / f"{question}.json"
    command = [sys.executable, str(HERE / f"{question}.py"), "--json", str(file), *["--quick"] * quick]
    status = subprocess.call(command)
    print(flush=True)
    return status == 0


def kept(directory: Path) -> dict[str, Report]:
    """Read the figures that are in a directory."""
    files = {question: directory / f"{question}.json" for question in QUESTIONS}
    return {question: Report.read(file) for question, file in files.items() if file.exists()}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="run.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("questions", nargs="*", metavar="question", help=f"which of {', '.join(QUESTIONS)} (all)")
    parser.add_argument("--quick", action="store_true", help="small numbers: less than two minutes, and rough figures")
    parser.add_argument(
        "--json", type=Path, metavar="DIR", help="keep the figures in this directory, a file for each question"
    )
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw them into this directory")
    parser.add_argument("--from", dest="source", type=Path, metavar="DIR", help="measure nothing, take what --json kept there")
    options = parser.parse_args()
    for question in options.questions:
        if question not in QUESTIONS:
            parser.error(f"there is no question {question!r}: choose from {', '.join(QUESTIONS)}")
    if options.source is not None and (options.json is not None or options.quick or options.questions):
        parser.error("--from measures nothing: it can't be combined with --json, --quick or questions")
    if options.source is not None and not kept(options.source):
        parser.error(f"argument --from: there are no figures in {str(options.source)!r}")
    for directory in (options.json, options.plots):
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
    return options


def main() -> None:
    """Measure, or read what was measured; print the verdicts, and draw."""
    options = _options()
    start = time.monotonic()
    failed: list[str] = []
    with tempfile.TemporaryDirectory() as temporary:
        directory = options.source or options.json or Path(temporary)
        if options.source is None:
            for question in options.questions or QUESTIONS:
                (directory / f"{question}.json").unlink(missing_ok=True)  # what an earlier run left
                if not measured(question, directory, quick=options.quick):
                    failed.append(question)
        reports = kept(directory)
    asked = [bar for bar in BARS if not options.questions or bar.question in options.questions]
    print(verdicts(judged(asked, reports)))
    if options.plots is not None:
        for name, svg in pictures(reports).items():
            (options.plots / name).write_text(svg, encoding="utf-8")
    if options.source is None:
        print(f"\n{len(options.questions or QUESTIONS)} questions in {time.monotonic() - start:.0f} s")
    if failed:
        sys.exit(f"did not come to their end: {', '.join(failed)}")


if __name__ == "__main__":
    main()
