"""Write the table as Markdown: in the README the verdicts, on docs/comparison.md the evidence."""

from __future__ import annotations

import textwrap
from pathlib import Path

from tests.contrast.table import CHECKED, LIBRARIES, RULES

__all__ = ["PAGE", "README", "file_of", "page", "readme"]

ROOT = Path(__file__).parent.parent.parent
README = ROOT / "README.md"
PAGE = ROOT / "docs" / "comparison.md"

BEGIN = "<!-- made by python -m tests.contrast -->"
END = "<!-- end of what is made -->"
DASH = "\N{EN DASH}"


def file_of(key: str) -> str:
    """Return the path of a rule's tests, from the root."""
    return f"tests/contrast/test_{list(RULES).index(key) + 1:02}_{key}.py"


def verdict(key: str, name: str) -> str:
    """Return the cell of a library in the row of a rule."""
    rule = RULES[key]
    if name in rule.lacks:
        return DASH
    if name in rule.breaks:
        return "no¹" if rule.breaks[name].by_design else "**no**"
    return "yes²" if name in rule.by_hand else "yes"


def table() -> str:
    """Return the README's table."""
    names = list(LIBRARIES)
    rows = [f"| | {' | '.join(names)} |", f"|---|{':-:|' * len(names)}"]
    for number, (key, rule) in enumerate(RULES.items(), 1):
        cells = " | ".join(verdict(key, name) for name in names)
        rows.append(f"| {number}. [{rule.text}]({file_of(key)}) | {cells} |")
    return "\n".join(rows)


def readme(text: str) -> str:
    """Return the README with the table as it should be."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    released = ", ".join(f"{library.name} {library.release}" for library in LIBRARIES.values() if library.release)
    checked = f"As of {CHECKED}: {released}, and the standard library of CPython 3.11 to 3.15."
    return f"{before}{BEGIN}\n\n{textwrap.fill(checked, 126)}\n\n{table()}\n\n{END}{after}"


def page() -> str:
    """Return the page with the evidence."""
    lines = [PREFACE.format(checked=CHECKED)]
    for library in LIBRARIES.values():
        name = f"[{library.name}]({library.url})" if library.url else library.name
        since = f" (Python {library.python[0]}.{library.python[1]} and later)" if library.python > (3, 11) else ""
        lines.append(f"| {name} | {library.release or DASH} | {library.used}{since} |")
    for number, (key, rule) in enumerate(RULES.items(), 1):
        lines += [
            "",
            f"## {number}. {rule.text}",
            "",
            f"[The test](../{file_of(key)}). Where the rule is kept: *{rule.kept}*.",
            "",
        ]
        for name, broken in rule.breaks.items():
            lines.append(f"- **{name}**: *{broken.saw}*{' by design' if broken.by_design else ''}: {broken.why}.")
        kept = [
            f"{name} (by hand)" if name in rule.by_hand else name
            for name in LIBRARIES
            if name not in rule.breaks and name not in rule.lacks
        ]
        lines.append(f"- Kept by {', '.join(kept)}.")
        for reason in dict.fromkeys(rule.lacks.values()):
            whom = ", ".join(name for name, why in rule.lacks.items() if why == reason)
            lines.append(f"- Does not apply to {whom}: {reason}.")
    return "\n".join(lines) + "\n"


PREFACE = """\
# Compared with other libraries

<!-- made by python -m tests.contrast: change tests/contrast/table.py instead -->

Each rule here is broken by at least one library that people use for what weirpool is for. That is how the rules were chosen;
they are no survey of what those libraries can do, and several can do what weirpool can't: have jobs survive the
process, or run on trio. Everything is a test, as of {checked}:

<!-- not run by a test: it installs packages; .ci/run runs its last command -->
```sh
python3 -m venv .venv && .venv/bin/pip install -q -e '.[test,contrast]' && .venv/bin/python -m pytest -q tests/contrast
```

A scenario is written once and played by each library through an adapter of a few lines
([pools.py](../tests/contrast/pools.py), [brokers.py](../tests/contrast/brokers.py)) that does what the library's documentation
says; where its close is not bounded, `asyncio.timeout` is put around that. It says what it has seen, in the words that stand
here in italics; the reasons beside them were read from its source. A library that does something else than this page says
fails its test, be it for better or for worse.

All but the threads play on the stock event loop with a virtual clock ([stage.py](../tests/contrast/stage.py)): *hangs* means
that nothing can happen any more, or not for hours, and *spins* that the loop is busy, or blocked, without the time passing.

| library | release | what of it is used |
|---|---|---|"""
