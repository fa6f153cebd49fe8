"""The command line that the scripts share."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .bars import BARS, judge, verdicts
from .field import CONTESTANTS
from .report import Report, machine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Command", "count", "seconds"]


def count(text: str) -> int:
    """Read a number of things, at least one."""
    number = int(text.replace(",", "").replace("_", ""))
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def seconds(text: str) -> float:
    """Read a time, more than none."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be more than 0, got {text}")
    return number


class Command:
    """The command line of a question: its own numbers, each with a default that --quick makes smaller."""

    def __init__(self, file: str, doc: str) -> None:
        self.question = Path(file).stem
        self.about = doc.partition("\n")[0]
        self.parser = argparse.ArgumentParser(
            prog=Path(file).name, description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        self.parser.add_argument("--quick", action="store_true", help="small numbers: seconds, and rough figures")
        self.parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file, too")
        self.defaults: dict[str, tuple[Any, Any]] = {}

    def number(self, name: str, full: float, quick: float, about: str, kind: Callable[[str], float] = count) -> None:
        """Add an option."""
        self.defaults[name] = (full, quick)
        text = f"{about} ({full:,}; quick: {quick:,})"
        self.parser.add_argument(f"--{name}", type=kind, metavar="N", help=text)

    def numbers(self, name: str, full: Sequence[int], quick: Sequence[int], about: str) -> None:
        """Add an option that takes several numbers."""
        self.defaults[name] = (full, quick)
        both = ["{}".format(" ".join(f"{number:,}" for number in numbers)) for numbers in (full, quick)]
        self.parser.add_argument(
            f"--{name}", type=count, nargs="+", metavar="N", help=f"{about} ({both[0]}; quick: {both[1]})"
        )

    def peers(self) -> None:
        """Let the peers be chosen."""
        others = [name for name in CONTESTANTS if name != "weirpool"]
        about = f"whom to measure weirpool against (all that are installed): {', '.join(others)}"
        self.parser.add_argument("--peers", nargs="+", choices=others, default=others, metavar="PEER", help=about)

    def main(self, measure: Callable[[argparse.Namespace], Report], argv: Sequence[str] | None = None) -> None:
        """Read the command line, measure, and print and write what was found."""
        options = self.parser.parse_args(argv)
        if options.json is not None and not options.json.parent.is_dir():
            self.parser.error(f"argument --json: there is no directory {str(options.json.parent)!r}")
        for name, (full, quick) in self.defaults.items():
            if getattr(options, name) is None:
                setattr(options, name, quick if options.quick else full)
        logging.disable()  # pools that are closed with jobs in the queue would say so
        about = machine()
        report = measure(options)
        report.machine = about
        print(report.text())
        bars = [bar for bar in BARS if bar.question == self.question]
        if bars:
            print("", verdicts(judge(bar, report) for bar in bars), sep="\n")
        if options.json is not None:
            report.write(options.json)

    def report(self, options: argparse.Namespace) -> Report:
        """Begin a report, with the settings that the command line gave."""
        settings = {"quick": options.quick, **{name: getattr(options, name) for name in self.defaults}}
        return Report(self.question, self.about, settings)
