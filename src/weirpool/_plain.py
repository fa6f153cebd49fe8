"""A text from elsewhere as one that a terminal only shows: it may hold what clears it, colours it or moves its cursor."""

from __future__ import annotations

__all__ = ["plain"]


def plain(text: str) -> str:
    r"""Return a text on one line and without control characters, which are spelt out, as "\x1b"."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
