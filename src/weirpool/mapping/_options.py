"""The options of the command: what each means, and what it may be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cyclopts import Token

__all__ = ["Options"]


def _number(least: float, most: float, unit: str, *, above: bool = False) -> Callable[[type, Any], None]:
    """Return what refuses numbers out of a range."""

    def check(_: type, value: Any) -> None:
        if value is not None and not (least <= value <= most and (value > least or not above)):
            between = f"above {least:g} and at most {most:,}" if above else f"from {least:,} to {most:,}"
            raise ValueError(f"must be a number of {unit} {between}, got {value}")

    return check


def _file(_: type, tokens: Sequence[Token]) -> Path | None:
    """Return the file that is named, or None for `-`, which is standard input or output, as in other commands."""
    name = tokens[0].value
    if name.startswith("-") and name != "-":
        raise ValueError(f"FILE is missing, or is {f'./{name}'!r} meant?")
    return None if name == "-" else Path(name)


_SECONDS = _number(0, 1_000_000_000, "seconds", above=True)
_FLAG = Parameter(negative="", show_default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Hold the options of one call of the command.

    Args:
        input: Read items from this file, and not from standard input.
        output: Write results to this file, and not to standard output.
        lines: Each line of the input is a text, and not JSON.
        unordered: Write results as they are ready, and not in the order of the input.
        numbered: Write each result as {"line": ..., "result": ...}, with the line of the input that it is of.
        workers: So many items at once.
        timeout: Each item may take so many seconds, all of its attempts together.
        rate: Start so many items in a second, at most; attempts count.
        retries: Try an item that has failed so many times again, after pauses.
        processes: Call a plain function in processes, and not in threads: for one that computes.
        journal: Keep in this file what is done, so that the same command can go on after it was ended. Needs --output.
        failures: Write items that failed to this file, each with its line, its item and its error.
        replay: The input is such a file: do its items again.
        max_failures: Stop when so many items have failed.
        total: How many items there are, with those done before; else that is guessed from the size of the file.
        shutdown_timeout: After Ctrl-C, what has begun may take so many seconds; then it is cancelled.
        quiet: Say nothing of progress.
    """

    # Else `-` would not be taken for a value.
    input: Annotated[Path | None, Parameter(alias="-i", converter=_file, allow_leading_hyphen=True)] = None
    output: Annotated[Path | None, Parameter(alias="-o", converter=_file, allow_leading_hyphen=True)] = None
    lines: Annotated[bool, _FLAG] = False
    unordered: Annotated[bool, _FLAG] = False
    numbered: Annotated[bool, _FLAG] = False
    workers: Annotated[int, Parameter(alias="-w", validator=_number(1, 1_000_000, "items"))] = 100
    timeout: Annotated[float | None, Parameter(validator=_SECONDS)] = None
    rate: Annotated[float | None, Parameter(validator=_number(1e-6, 1_000_000, "items per second"))] = None
    retries: Annotated[int, Parameter(validator=_number(0, 1000, "attempts"))] = 0
    processes: Annotated[bool, _FLAG] = False
    journal: Path | None = None
    failures: Path | None = None
    replay: Annotated[bool, _FLAG] = False
    max_failures: Annotated[int | None, Parameter(validator=_number(1, 1_000_000_000, "items"))] = None
    total: Annotated[int | None, Parameter(validator=_number(1, 1_000_000_000_000, "items"))] = None
    shutdown_timeout: Annotated[float, Parameter(validator=_SECONDS)] = 20.0
    quiet: Annotated[bool, Parameter(alias="-q", negative="", show_default=False)] = False
