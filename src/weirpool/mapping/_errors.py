"""What ends the command with a message, and no traceback."""

from __future__ import annotations

__all__ = ["CommandError"]


class CommandError(Exception):
    """The command can't do what it was asked to; the message says why."""
