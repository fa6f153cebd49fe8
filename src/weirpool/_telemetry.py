"""The seam between a pool and whoever exports its telemetry: what each offers to the other.

The core never imports the exporter. Where nobody has configured any telemetry there is none, and a job pays for asking that.
"""

from __future__ import annotations

import importlib
import logging
import sys
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ._lifecycle import PoolState
from ._logs import fields

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ._job import Job, Outcome
    from ._lifecycle import JobState, Ledger
    from ._run import Run
    from ._settings import Settings

__all__ = ["Line", "Places", "Reading", "Telemetry", "connect"]


_log = logging.getLogger("weirpool.telemetry")

_TRIES = 10


class Reading(NamedTuple):
    """A pool's own numbers, at one instant."""

    accepted: int
    ended: Mapping[JobState, int]
    refused: Mapping[str, int]
    waiting: int
    queued: int
    queue_size: int
    running: int
    lending: int
    strays: int
    workers: int
    max_workers: int
    unfinished_seconds: float
    oldest_seconds: float

    @property
    def balanced(self) -> bool:
        """Whether it is of one instant: another thread may read while the pool counts."""
        return self.accepted == sum(self.ended.values()) + self.queued + self.running + self.lending


class Telemetry(Protocol):
    """Whoever exports what happens in one pool. Nothing that it does may raise."""

    @property
    def tracing(self) -> bool:
        """Whether it wants to hear of jobs that are about to start."""
        ...

    def awaited(self, job: Job) -> None:
        """Hear that a job which has been made is awaited by `run()`; only called while it traces."""
        ...

    def starting(self, job: Job) -> None:
        """Hear that a job is about to start."""
        ...

    def ended(self, job: Job, run: Run | None, state: JobState, outcome: Outcome, now: float) -> None:
        """Hear that a job ends that has started; without its run if its task could not be made."""
        ...


class Places(Protocol):
    """Whoever has the places of a pool."""

    places: int

    def ages(self) -> list[float]:
        """Return for how long the jobs have been running that run."""
        ...


class Line(Protocol):
    """Whoever has the submitters that wait."""

    @property
    def waiting(self) -> int:
        """How many there are."""
        ...


def connect(settings: Settings, ledger: Ledger, crew: Places, admission: Line) -> Telemetry | None:
    """Return what exports a pool's telemetry; None if nobody has configured any.

    The exporter is not imported before it is wanted, as that takes as long as all of weirpool; and who has not imported
    OpenTelemetry has not configured it.
    """
    if settings.meter_provider is None and settings.tracer_provider is None and "opentelemetry" not in sys.modules:
        return None
    try:
        otel = importlib.import_module("weirpool.telemetry._otel")
        telemetry: Telemetry | None = otel.connect(
            settings.name,
            _reader(settings, ledger, crew, admission),
            meter_provider=settings.meter_provider,
            tracer_provider=settings.tracer_provider,
            trace_mode=settings.trace,
            time_in_queue=settings.time_in_queue_histogram,
        )
    except Exception:  # what is exported is no reason for a service not to start
        with suppress(Exception):  # nor is a logging handler
            _log.exception(
                "pool %r has no telemetry, as that failed", settings.name, extra=fields("telemetry.failed", settings.name)
            )
        return None
    return telemetry


def _reader(settings: Settings, ledger: Ledger, crew: Places, admission: Line) -> Callable[[], Reading]:
    """Return what reads a pool's numbers, in any thread, and does not keep the pool alive."""
    their_crew, their_admission = weakref.ref(crew), weakref.ref(admission)

    def read() -> Reading:
        crew, admission = their_crew(), their_admission()
        ages = [] if crew is None else crew.ages()
        reading = once(crew, admission, ages)
        for _ in range(_TRIES):
            if reading.balanced:
                break
            reading = once(crew, admission, ages)
        return reading

    def once(crew: Places | None, admission: Line | None, ages: list[float]) -> Reading:
        closed = ledger.pool is PoolState.CLOSED  # where pools of one name are added up, it has no room to offer
        return Reading(
            accepted=ledger.accepted,
            ended=dict(ledger.ends),
            refused=dict(ledger.refused),
            waiting=0 if admission is None else admission.waiting,
            queued=ledger.queued,
            queue_size=0 if closed else settings.queue_size,
            running=ledger.running,
            lending=ledger.lending,
            strays=ledger.strays,
            workers=0 if closed or crew is None else crew.places,
            max_workers=0 if closed else settings.max_workers,
            unfinished_seconds=sum(ages),
            oldest_seconds=max(ages, default=0.0),
        )

    return read
