"""OpenTelemetry: metrics and traces of pools, on by themselves once the application has set a provider, else nothing at all.

Of the metrics only the histograms are recorded as jobs end: each record costs some 5 µs with the SDK. All others are observed:
when the SDK collects, it reads the pools' own integers, through one callback per instrument and meter provider, which has weak
references to the pools. (An instrument per pool would export only the first of them, and keep each alive for ever.)

Names follow the rules of semantic conventions, 1.44 (https://opentelemetry.io/docs/specs/semconv/general/naming/). Those of
attributes are written out, as the package that has them pins one exact version of the API.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary, WeakSet, finalize

from opentelemetry import context as context_api
from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.metrics import Observation
from opentelemetry.trace import Link, Status, StatusCode

from .._errors import is_a, members_of, traceback_of
from .._exits import raise_in_loop
from .._failure import Failure
from .._lifecycle import ABANDONED, CANCELLED, SUCCEEDED, TIMED_OUT, JobState
from .._logs import fields
from .._show import full_type_name, function_name, innermost
from .._telemetry import Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.metrics import CallbackOptions, Histogram, Meter, MeterProvider
    from opentelemetry.trace import Span, Tracer, TracerProvider
    from opentelemetry.util.types import AttributeValue

    from .._job import Job, Outcome
    from .._run import Run
    from .._settings import TraceMode

__all__ = ["connect"]

_log = logging.getLogger("weirpool.telemetry")

_SCHEMA = "https://opentelemetry.io/schemas/1.44.0"

# What http.server.request.duration has, and what is advised for things that may last: connections, and jobs.
_SHORT = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
_LONG = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300)

_POOL = "weirpool.pool.name"
_OUTCOME = "weirpool.job.outcome"
_RESULT = "weirpool.submission.result"
_STATE = "weirpool.worker.state"
_ERROR = "error.type"

# Who has not been refused for want of room was "closed" out, or "cancelled".
_OVERLOADED = ("full", "timeout", "early", "strays", "nesting")


class Observed(NamedTuple):
    """A metric that is read when the SDK collects.

    Attributes:
        name: its name.
        kind: the method of a meter that makes its instrument.
        unit: its unit.
        description: what it says.
        values: of a pool's numbers, each with the attributes that it has beside the pool's name.
    """

    name: str
    kind: str
    unit: str
    description: str
    values: Callable[[Reading], dict[tuple[str, str] | None, float]]


_COUNTER, _UP_DOWN, _GAUGE = "create_observable_counter", "create_observable_up_down_counter", "create_observable_gauge"

OBSERVED = (
    Observed(
        "weirpool.submissions",
        _COUNTER,
        "{job}",
        "Submissions, by what became of them.",
        lambda read: {
            (_RESULT, "accepted"): read.accepted,
            (_RESULT, "overloaded"): sum(read.refused[reason] for reason in _OVERLOADED),
            (_RESULT, "closed"): read.refused["closed"],
            (_RESULT, "cancelled"): read.refused["cancelled"],
        },
    ),
    Observed(
        "weirpool.job.completed",
        _COUNTER,
        "{job}",
        "Accepted jobs that have come to their end, by what that was.",
        lambda read: {(_OUTCOME, state.value): count for state, count in read.ended.items()},
    ),
    Observed(
        "weirpool.job.abandoned",
        _COUNTER,
        "{job}",
        "Jobs that ignored their cancellation and were given up.",
        lambda read: {None: read.ended[ABANDONED]},
    ),
    Observed(
        "weirpool.job.stray",
        _UP_DOWN,
        "{job}",
        "Abandoned jobs that still have not ended.",
        lambda read: {None: read.strays},
    ),
    Observed(
        "weirpool.job.active",
        _UP_DOWN,
        "{job}",
        "Jobs that run, those included that lend their places while they wait for their own pool.",
        lambda read: {None: read.running + read.lending},
    ),
    Observed(
        "weirpool.job.unfinished.duration",
        _GAUGE,
        "s",
        "For how long the jobs that run have been running, summed up: it grows without end where jobs hang.",
        lambda read: {None: read.unfinished_seconds},
    ),
    Observed(
        "weirpool.job.unfinished.oldest",
        _GAUGE,
        "s",
        "For how long the job has been running that has been running longest.",
        lambda read: {None: read.oldest_seconds},
    ),
    Observed(
        "weirpool.queue.size",
        _UP_DOWN,
        "{job}",
        "Accepted jobs that wait for a place.",
        lambda read: {None: read.queued},
    ),
    Observed(
        "weirpool.queue.limit",
        _UP_DOWN,
        "{job}",
        "How many accepted jobs may wait.",
        lambda read: {None: read.queue_size},
    ),
    Observed(
        "weirpool.submission.waiting",
        _UP_DOWN,
        "{submission}",
        "Submissions that wait for room: their jobs are not accepted yet.",
        lambda read: {None: read.waiting},
    ),
    Observed(
        "weirpool.worker.count",
        _UP_DOWN,
        "{worker}",
        "Places, by whether a job holds them.",
        lambda read: {(_STATE, "busy"): read.running, (_STATE, "idle"): max(0, read.workers - read.running)},
    ),
    Observed(
        "weirpool.worker.limit",
        _UP_DOWN,
        "{worker}",
        "How many places there may be, at most.",
        lambda read: {None: read.max_workers},
    ),
)


class Instruments:
    """What is shared by all pools that report to one meter provider."""

    __slots__ = ("_gone", "_lock", "_pools", "_readings", "duration", "time_in_queue")

    def __init__(self, provider: MeterProvider) -> None:
        meter = provider.get_meter("weirpool", version("weirpool"), _SCHEMA)
        self._pools: WeakSet[Pool] = WeakSet()
        self._gone: dict[str, Reading] = {}
        self._lock = threading.RLock()  # as a pool may end, by the garbage collector, while its thread has it
        self._readings = _Readings()
        self.duration: Histogram = _histogram(meter, "weirpool.job.duration", "How long jobs have run.", _LONG)
        self.time_in_queue: Histogram = _histogram(
            meter, "weirpool.job.time_in_queue", "How long jobs have waited from being accepted to their first step.", _SHORT
        )
        for observed in OBSERVED:
            create = getattr(meter, observed.kind)
            create(
                observed.name,
                callbacks=[partial(self._observe, observed)],
                unit=observed.unit,
                description=observed.description,
            )

    def add(self, pool: Pool) -> None:
        """Observe a pool, as long as it lives."""
        with self._lock:
            self._pools.add(pool)
        finalize(pool, self._end, pool.name, pool.read).atexit = False

    def _end(self, name: str, read: Callable[[], Reading]) -> None:
        """Keep what a pool has counted as long as there is another of its name: their sum must not fall."""
        with self._lock:
            gone = dict(self._gone)  # not changed in place: the collector may come while this thread is reading it
            before = gone.pop(name, None)
            if any(pool.name == name for pool in self._pools):
                gone[name] = _added([read()] if before is None else [before, read()])
            self._gone = gone

    def _observe(self, observed: Observed, _: CallbackOptions) -> Iterator[Observation]:
        """Read one metric of all pools that there are; called by whichever thread collects.

        Pools of one name are one to whoever looks at the metrics, so their numbers are added up.
        """
        sums: dict[tuple[str, tuple[str, str] | None], float] = {}
        for name, reading in self._read(observed.name):
            for attribute, value in observed.values(reading).items():
                which = name, attribute
                sums[which] = sums.get(which, 0) + value
        for (name, attribute), value in sums.items():
            yield Observation(value, {_POOL: name} if attribute is None else {_POOL: name, attribute[0]: attribute[1]})

    def _read(self, metric: str) -> list[tuple[str, Reading]]:
        """Return what the pools read, at one instant for all metrics of a collection.

        A collection asks for each metric once, in one thread: the first that is asked for again is the first of the next.
        """
        last, now = self._readings, time.monotonic()
        if metric in last.asked or now > last.at + _COLLECTION:
            with self._lock:
                pools, gone = tuple(self._pools), self._gone
            last.asked, last.at = set(), now
            last.pools = [*((pool.name, pool.read()) for pool in pools), *gone.items()]
        last.asked.add(metric)
        return last.pools


class _Readings(threading.local):
    """What was read for the collection that this thread is making.

    Attributes:
        at: when that was.
        asked: the metrics that have been asked for.
        pools: the readings, each with the name of its pool.
    """

    def __init__(self) -> None:
        self.at = -math.inf
        self.asked: set[str] = set()
        self.pools: list[tuple[str, Reading]] = []


_COLLECTION = 1.0  # seconds; what is older is of a collection that was broken off


def _added(readings: list[Reading]) -> Reading:
    """Return what pools that are gone have counted, as the reading of one that does nothing."""
    return Reading(
        accepted=sum(reading.accepted for reading in readings),
        ended={state: sum(reading.ended[state] for reading in readings) for state in readings[0].ended},
        refused={reason: sum(reading.refused[reason] for reading in readings) for reason in readings[0].refused},
        **dict.fromkeys(_NOTHING, 0),
    )


_NOTHING = tuple(name for name in Reading._fields if name not in {"accepted", "ended", "refused"})


def _histogram(meter: Meter, name: str, description: str, boundaries: tuple[float, ...]) -> Histogram:
    return meter.create_histogram(
        name, unit="s", description=description, explicit_bucket_boundaries_advisory=[float(limit) for limit in boundaries]
    )


_instruments: WeakKeyDictionary[MeterProvider, Instruments] = WeakKeyDictionary()


def _instruments_of(provider: MeterProvider) -> Instruments:
    instruments = _instruments.get(provider)
    if instruments is None:
        instruments = _instruments[provider] = Instruments(provider)
    return instruments


class Pool:
    """Export what happens in one pool.

    An exporter that raises must not harm a job: that is logged, once, and then there are no more spans and histograms.
    """

    __slots__ = (
        "__weakref__",
        "_attributes",
        "_awaited",
        "_duration",
        "_mode",
        "_spans",
        "_time_in_queue",
        "_tracer",
        "name",
        "read",
        "tracing",
    )

    def __init__(
        self,
        name: str,
        read: Callable[[], Reading],
        instruments: Instruments | None,
        tracer: Tracer | None,
        mode: TraceMode,
        time_in_queue: bool,
    ) -> None:
        self.name = name
        self.read = read
        self.tracing = tracer is not None
        self._tracer = tracer
        self._mode = mode
        self._spans: dict[Job, Span] = {}
        self._awaited: WeakSet[Job] = WeakSet()
        self._duration = None if instruments is None else instruments.duration
        self._time_in_queue = None if instruments is None or not time_in_queue else instruments.time_in_queue
        # The sets of attributes that nearly all records have, made once.
        self._attributes: dict[tuple[JobState, str | None], dict[str, AttributeValue]] = {
            (state, None): self._of(state, None) for state in JobState
        }
        if instruments is not None:
            instruments.add(self)

    def _of(self, state: JobState, error: str | None) -> dict[str, AttributeValue]:
        attributes: dict[str, AttributeValue] = {_POOL: self.name, _OUTCOME: state.value}
        if error is not None:
            attributes[_ERROR] = error
        return attributes

    # Traces ---------------------------------------------------------------------------------------------------------------

    def awaited(self, job: Job) -> None:
        """Note that `run()` awaits a job."""
        self._awaited.add(job)

    def starting(self, job: Job) -> None:
        """Begin a job's span, and make it the current one in the job's context."""
        try:
            job.context.run(self._begin, job)
        except BaseException as error:
            self._fail(error)

    def _begin(self, job: Job) -> None:
        tracer = self._tracer
        assert tracer is not None
        if job in self._spans:
            return  # its task had to be made anew
        above = context_api.get_current()
        waited_for = job in self._awaited or (job.waiters is not None and job.waiters != [])
        self._awaited.discard(job)
        parent = self._mode == "parent" or (self._mode == "auto" and waited_for)
        links: list[Link] = []
        if not parent:
            submitter = trace.get_current_span(above).get_span_context()
            if submitter.is_valid:
                links.append(Link(submitter))
        said, module = function_name(job.fn), _module(job.fn)
        span = tracer.start_span(
            said,
            context=above if parent else Context(),
            links=links,
            attributes={
                _POOL: self.name,
                "weirpool.job.id": job.number,
                "code.function.name": f"{module}.{said}" if module else said,
            },
            record_exception=False,
            set_status_on_exception=False,
        )
        context_api.attach(trace.set_span_in_context(span, above))
        self._spans[job] = span

    # The end of a job -------------------------------------------------------------------------------------------------------

    def ended(self, job: Job, run: Run | None, state: JobState, outcome: Outcome, now: float) -> None:
        """Record how a job has ended."""
        try:
            self._end(job, run, state, outcome, now)
        except BaseException as error:
            self._fail(error)

    def _end(self, job: Job, run: Run | None, state: JobState, outcome: Outcome, now: float) -> None:
        error = None if state is SUCCEEDED or state is CANCELLED else _error_type(state, outcome)
        if run is not None and run.started_at is job.accepted_at:
            run = None  # its function was never called
        waited = None if run is None else run.started_at - job.accepted_at
        attributes = self._attributes.get((state, error))
        if attributes is None:
            attributes = self._of(state, error)
            if len(self._attributes) < _MANY:
                self._attributes[state, error] = attributes
        span = self._spans.pop(job, None) if self._spans else None
        # Where there is a span, the record is made inside it, so that exemplars lead to its trace.
        token = None if span is None else context_api.attach(trace.set_span_in_context(span, Context()))
        try:
            if run is not None and self._duration is not None:
                self._duration.record(now - run.started_at, attributes)
            if waited is not None and self._time_in_queue is not None:
                self._time_in_queue.record(waited, {_POOL: self.name})
        finally:
            if token is not None:
                context_api.detach(token)
        if span is not None:
            if waited is not None:
                span.set_attribute("weirpool.job.time_in_queue", waited)
            span.set_attribute(_OUTCOME, state.value)
            if error is not None:
                span.set_attribute(_ERROR, error)
                span.set_status(Status(StatusCode.ERROR))
            span.end()

    def _fail(self, error: BaseException) -> None:
        spans = tuple(self._spans.values())
        self.tracing = False
        self._tracer = self._duration = self._time_in_queue = None
        self._spans.clear()
        for span in spans:
            with suppress(Exception):  # that of the exporter that has failed just now
                span.end()
        with suppress(Exception):  # whatever a logging handler does, the pool has to go on
            _log.error(
                "the spans and histograms of pool %r failed, and are off from now on",
                self.name,
                exc_info=(type(error), error, traceback_of(error)),
                extra=fields("telemetry.failed", self.name),
            )
        if is_a(error, KeyboardInterrupt, SystemExit):
            raise_in_loop(asyncio.get_running_loop(), error)


_MANY = 1000


def _error_type(state: JobState, outcome: Outcome) -> str:
    """Return the `error.type` of a job that has failed: its exception's class; "timeout", "abandoned" are the pool's own."""
    if state is TIMED_OUT:
        return "timeout"
    if state is ABANDONED:
        return "abandoned"
    # All of it past what a user's class may answer for itself.
    error: Any = outcome.error if type(outcome) is Failure else outcome
    for _ in range(_DEEPEST):
        if not is_a(error, BaseExceptionGroup) or len(members := members_of(error)) != 1:
            break
        error = members[0]
    return full_type_name(error)


_DEEPEST = 10


def _module(fn: Any) -> str:
    """Return the name of the module that a function is from; of a callable that raises when it is asked, none."""
    try:
        module = innermost(fn).__module__
    except BaseException:
        return ""
    return module if type(module) is str else ""


def _configured(provider: MeterProvider | TracerProvider) -> bool:
    """Say whether a provider is more than a stand-in: those are the API's own."""
    return not type(provider).__module__.startswith(("opentelemetry.metrics", "opentelemetry.trace"))


def connect(
    pool: str,
    read: Callable[[], Reading],
    *,
    meter_provider: MeterProvider | None,
    tracer_provider: TracerProvider | None,
    trace_mode: TraceMode,
    time_in_queue: bool,
) -> Pool | None:
    """Return what exports a pool's telemetry; None if there is no provider for it."""
    meters = meter_provider or metrics.get_meter_provider()
    tracers = tracer_provider or trace.get_tracer_provider()
    instruments = _instruments_of(meters) if _configured(meters) else None
    tracer = None
    if trace_mode != "off" and _configured(tracers):
        tracer = tracers.get_tracer("weirpool", version("weirpool"), _SCHEMA)
    if instruments is None and tracer is None:
        return None
    return Pool(pool, read, instruments, tracer, trace_mode, time_in_queue)
