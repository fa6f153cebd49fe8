"""Write the README's table and docs/comparison.md again, after a change of table.py: `python -m tests.contrast`."""

from __future__ import annotations

from tests.contrast.render import PAGE, README, page, readme

if __name__ == "__main__":
    README.write_text(readme(README.read_text()))
    PAGE.write_text(page())
