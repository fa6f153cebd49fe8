"""What a pool is asked to be: the arguments of `WorkerPool`, checked."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from . import _checks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from aiolimiter import AsyncLimiter
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from ._events import Observer
    from .policies import OverloadPolicy, ScalingPolicy

__all__ = ["JOB_TIMEOUT", "Default", "Settings", "TraceMode"]

TraceMode = Literal["auto", "parent", "link", "off"]

_MOST_WORKERS = 1_000_000


class Default(enum.Enum):
    """What a job's `timeout` is when it is not given: None is taken, it means "no timeout"."""

    JOB_TIMEOUT = "the pool's job_timeout"

    def __repr__(self) -> str:
        return self.value


JOB_TIMEOUT: Final = Default.JOB_TIMEOUT


@dataclass(slots=True)
class Settings:
    """Hold the settings of one pool; `min_workers` and `max_workers` may change while it is open. See `WorkerPool`."""

    max_workers: int
    min_workers: int
    scaling: ScalingPolicy | None
    queue_size: int
    overload: OverloadPolicy | None
    job_timeout: float | None
    submit_timeout: float | None
    shutdown_timeout: float
    cancel_grace: float
    key_limit: int
    rate: float | AsyncLimiter | None
    key_rate: float | None
    aging: float
    max_lending: int
    max_strays: int
    worker_context: Callable[[], AbstractAsyncContextManager[Any]] | None
    name: str
    observers: tuple[Observer, ...]
    meter_provider: MeterProvider | None
    tracer_provider: TracerProvider | None
    trace: TraceMode
    time_in_queue_histogram: bool

    @classmethod
    def checked(
        cls,
        *,
        max_workers: int,
        min_workers: int | None,
        scaling: Any,
        queue_size: int,
        overload: Any,
        job_timeout: float | None,
        submit_timeout: float | None,
        shutdown_timeout: float,
        cancel_grace: float,
        key_limit: int,
        rate: float | AsyncLimiter | None,
        key_rate: float | None,
        aging: float,
        max_lending: int,
        max_strays: int | None,
        worker_context: Callable[[], AbstractAsyncContextManager[Any]] | None,
        name: str,
        observers: Sequence[Observer],
        meter_provider: MeterProvider | None,
        tracer_provider: TracerProvider | None,
        trace: TraceMode,
        time_in_queue_histogram: bool,
    ) -> Settings:
        """Check what was given, and fill in what was not.

        Raises:
            TypeError: an argument is of the wrong kind.
            ValueError: an argument is out of its range.
        """
        max_workers = workers("max_workers", max_workers)
        min_workers = max_workers if min_workers is None else workers("min_workers", min_workers)
        ordered(min_workers, max_workers)
        if scaling is not None:
            scaling = _checks.policy("scaling", scaling, "ScalingPolicy", ("interval", "on_submit", "while_idle"))
            _checks.seconds("scaling.interval", scaling.interval)
        elif min_workers < max_workers:
            from .policies import OnDemand  # noqa: PLC0415  # few pools scale, and none of the others need load it

            scaling = OnDemand()
        queue_size = _checks.whole("queue_size", queue_size, "jobs that wait", 0, 1_000_000_000)
        overload = None if type(overload) is str and overload == "wait" else _overload(overload)
        if job_timeout is not None:
            job_timeout = _checks.seconds("job_timeout", job_timeout, none="no limit")
        if submit_timeout is not None:
            submit_timeout = _checks.seconds("submit_timeout", submit_timeout, zero="do not wait", none="as long as it takes")
        shutdown_timeout = _checks.seconds("shutdown_timeout", shutdown_timeout, zero="cancel at once, wait for nothing")
        cancel_grace = _checks.seconds("cancel_grace", cancel_grace, zero="abandon at once")
        if cancel_grace > shutdown_timeout:
            raise ValueError(
                f"cancel_grace must be at most shutdown_timeout ({shutdown_timeout!r} s), of which it is the last part, "
                f"got {cancel_grace!r}"
            )
        if max_strays is not None:
            max_strays = _checks.whole("max_strays", max_strays, "abandoned jobs that still run", 0, _MOST_WORKERS)
        return cls(
            max_workers=max_workers,
            min_workers=min_workers,
            scaling=scaling,
            queue_size=queue_size,
            overload=overload,
            job_timeout=job_timeout,
            submit_timeout=submit_timeout,
            shutdown_timeout=shutdown_timeout,
            cancel_grace=cancel_grace,
            key_limit=_checks.whole("key_limit", key_limit, "jobs of one key that run at once", 1, _MOST_WORKERS),
            rate=None if rate is None else _rate(rate),
            key_rate=None if key_rate is None else _key_rate(key_rate),
            aging=_checks.seconds("aging", aging),
            max_lending=_checks.whole("max_lending", max_lending, "jobs that lend their places", 0, _MOST_WORKERS),
            max_strays=max_workers if max_strays is None else max_strays,
            worker_context=None if worker_context is None else _checks.context_factory("worker_context", worker_context),
            name=_checks.label("name", name),
            observers=() if type(observers) is tuple and not observers else _observers(observers),
            meter_provider=_checks.provider("meter_provider", meter_provider, "get_meter"),
            tracer_provider=_checks.provider("tracer_provider", tracer_provider, "get_tracer"),
            trace=_checks.one_of("trace", trace, get_args(TraceMode)),
            time_in_queue_histogram=_checks.flag("time_in_queue_histogram", time_in_queue_histogram),
        )


def workers(name: Literal["min_workers", "max_workers"], value: int) -> int:
    """Return a number of workers, if it can be one."""
    unit = "jobs that run at once" if name == "max_workers" else "places that there are at least"
    return _checks.whole(name, value, unit, 1, _MOST_WORKERS)


def ordered(min_workers: int, max_workers: int) -> None:
    """Refuse bounds that are the wrong way round."""
    if min_workers > max_workers:
        raise ValueError(f"min_workers must be at most max_workers ({max_workers}), got {min_workers}")


def _overload(value: Any) -> OverloadPolicy:
    from .policies.overload import NAMED, named  # noqa: PLC0415  # as few pools need more than to wait

    if type(value) is str:
        return named(value)
    policy: OverloadPolicy = _checks.policy("overload", value, "OverloadPolicy", ("when_full",))
    if policy.when_full not in tuple(NAMED):  # which may be anything, and not even have a hash
        allowed = ", ".join(map(repr, NAMED))
        raise ValueError(f"overload.when_full must be one of {allowed}, got {_checks.shown(policy.when_full)}")
    return policy


def _rate(value: Any) -> float | AsyncLimiter:
    """Return what is meant by `rate`, if it can be one."""
    limiter_class = _limiter_class("rate")
    if not isinstance(value, limiter_class):
        return _checks.rate("rate", value, "an aiolimiter.AsyncLimiter")
    if type(value) is not limiter_class:  # it might wait, or raise, where this one doesn't
        got = _checks.shown(value)
        raise TypeError(f"rate must be an aiolimiter.AsyncLimiter itself, and of no class made from it, got {got}")
    _checks.seconds("rate.time_period", value.time_period)
    if not 1 <= value.max_rate < math.inf:
        raise ValueError(f"rate must be a limiter that allows one job at least at once, got max_rate={value.max_rate!r}")
    return value


def _key_rate(value: Any) -> float:
    """Return the rate of each key."""
    _limiter_class("key_rate")
    return _checks.rate("key_rate", value)


def _limiter_class(name: str) -> type[AsyncLimiter]:
    try:
        from aiolimiter import AsyncLimiter  # noqa: PLC0415  # an extra, which few need
    except ModuleNotFoundError:
        raise ModuleNotFoundError(f"{name} needs aiolimiter: pip install 'weirpool[rate]'", name="aiolimiter") from None
    return AsyncLimiter


# Few pools have observers, and to load the records that these are told is a quarter of what importing weirpool takes.


def _observers(observers: Sequence[Observer]) -> tuple[Observer, ...]:
    from ._events import Observer  # noqa: PLC0415

    return _checks.observers("observers", observers, Observer)
