"""Draw the pictures of docs/diagrams again: `python -m tests.drawings`."""

from __future__ import annotations

from tests.drawings.pictures import FOLDER, PICTURES

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, draw in PICTURES.items():
        (FOLDER / name).write_text(draw())
