"""What the command line decides, with the defaults, and the error for what it can't work with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["InputError", "Settings"]


class InputError(Exception):
    """Say what is wrong with what the user gave: shown without a traceback, exit status 2."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Hold the options of `weirpool demo`; the defaults overload the pool a little, for about a quarter of a minute.

    Attributes:
        events: a JSON-lines file of events; None: the sample that comes with the package.
        concurrency: how many events the client has under way at once.
        workers: the pool's `max_workers`.
        queue_size: the pool's `queue_size`.
        submit_timeout: how long a POST waits for room before it is answered 503, in seconds.
        job_timeout: how long a delivery may take, in seconds.
        shutdown_timeout: how long the pool may take to close, in seconds.
        cancel_grace: the last part of that, for cancelled deliveries to end, in seconds.
        retries: how often the client sends an event again after a 503.
        sigterm_after: the part of the events that are dealt with when the service gets SIGTERM.
        plain: print lines, even if standard output is a terminal.
        journals: a directory to keep the journals in; None: a temporary one.
    """

    events: Path | None = None
    concurrency: int = 50
    workers: int = 25
    queue_size: int = 100
    submit_timeout: float = 0.25
    job_timeout: float = 2.5
    shutdown_timeout: float = 10.0
    cancel_grace: float = 1.0
    retries: int = 5
    sigterm_after: float = 0.6
    plain: bool = False
    journals: Path | None = None
