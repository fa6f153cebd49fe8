"""The account of a directory of journals, as text.

`python -m weirpool.demo.audit DIR` draws it up again from what `weirpool demo --journals DIR` has left.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .account import Account, draw_up
from .journals import CLIENT, POOL, RECEIVER, read
from .settings import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["audit", "text"]

_ENDS = {
    "succeeded": "delivered: the receiver has it and answered 2xx",
    "failed": "failed",
    "timed_out": "timed out",
    "cancelled": "cancelled",
    "abandoned": "abandoned",
}
_WIDTH = 76
_SHOWN = 20


def audit(directory: Path) -> Account:
    """Draw up the account from the three journals in a directory."""
    return draw_up(*(read(directory / name) for name in (CLIENT, POOL, RECEIVER)))


def text(account: Account, *remarks: str) -> str:
    """Return the account as a table, with remarks below; its last line says how many were lost."""
    lines = [" The account, from the journals of client, pool and receiver ".center(_WIDTH, "─")]
    lines += [f"{count:>8,}  {'  ' * depth}{what}" for count, depth, what in _rows(account)]
    lines.append("─" * _WIDTH)
    lines += remarks
    lines += _offences(account)
    lines += [f"{name}: {len(account.offenders(kind)):,}" for name, kind in (("duplicates", "duplicate"), ("lost", "lost"))]
    return "\n".join(lines)


def _rows(account: Account) -> Iterator[tuple[int, int, str]]:
    yield account.events, 0, "events"
    yield account.accepted, 1, "answered 202: accepted by the pool"
    for state, what in _ENDS.items():
        for (ended, reason), count in sorted(account.ends.items()):
            if ended == state:
                yield count, 2, what if not reason else f"{what}: {reason}"
    yield sum(account.refused.values()), 1, "not accepted, and told so"
    for note, count in account.refused.most_common():
        yield count, 2, f"last answer: {note}"
    accepted = f"; the pool had accepted {account.unknown_accepted:,} of them" if account.unknown else ""
    yield len(account.unknown), 1, f"unknown to the client: the connection died before the answer{accepted}"
    yield sum(account.retries.values()), 0, "times a 503 with Retry-After, on the way to that"
    for note, count in account.retries.most_common():
        yield count, 1, note


def _offences(account: Account) -> Iterator[str]:
    if account.offences:
        yield f"IT DOES NOT ADD UP: {len(account.offences):,} offences"
    for offence in account.offences[:_SHOWN]:
        yield f"  {offence.kind}: {offence.event}: {offence.what}"
    if rest := list(dict.fromkeys(offence.event for offence in account.offences[_SHOWN:])):
        yield f"  and more: {', '.join(rest)}"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the account of a directory; return 0 if it adds up, 1 if it does not, 2 if it can't be read."""
    parser = argparse.ArgumentParser(prog="python -m weirpool.demo.audit", description=__doc__)
    parser.add_argument("directory", type=Path, help="where `weirpool demo --journals DIR` left its journals")
    directory = parser.parse_args(argv).directory
    try:
        account = audit(directory)
    except InputError as error:
        print(f"weirpool audit: {error}", file=sys.stderr)
        return 2
    print(text(account))
    return 1 if account.offences else 0


if __name__ == "__main__":
    sys.exit(main())
