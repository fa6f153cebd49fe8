"""What does it cost that a pool can be seen from outside?

Measured: a round trip (200 callers, each of which runs one job after the other, 100 workers, a job that yields once, a
deadline of 30 s) of the same pool: without any telemetry; with OpenTelemetry imported and no SDK set up; with the SDK's
metrics; with its traces, each span sampled and given to a processor that drops it. And of a pool without telemetry whose
jobs do by hand what the pool would: record one value in a histogram, with two attributes; or run inside
`start_as_current_span`, with three.

Fair because all run in one process, in turn, round by round, on the same loop; only ratios within one round count.
Nothing is exported: what leaves the process is the exporter's cost, not the pool's.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

from measuring.bars import TELEMETRY
from measuring.command import Command
from measuring.report import Report, Table
from measuring.rounds import interleaved
from weirpool import WorkerPool

if TYPE_CHECKING:
    import argparse
    from collections.abc import Awaitable, Callable

    Job = Callable[[], Awaitable[None]]

CALLERS = 200
WORKERS = 100
DEADLINE = 30.0


async def job() -> None:
    """Yield to the loop once."""
    await asyncio.sleep(0)


def by_hand(meters: MeterProvider, traces: TracerProvider) -> dict[str, Job]:
    """Return jobs that do what a pool with telemetry would do for them."""
    histogram = meters.get_meter("by hand").create_histogram("job.duration", unit="s")
    tracer = traces.get_tracer("by hand")
    recorded = {"pool": "pool", "outcome": "succeeded"}
    said: dict[str, str | int] = {"pool": "pool", "function": "job", "id": 7}

    async def records() -> None:
        began = time.perf_counter()
        await asyncio.sleep(0)
        histogram.record(time.perf_counter() - began, recorded)

    async def spans() -> None:
        with tracer.start_as_current_span("job", attributes=said):
            await asyncio.sleep(0)

    return {"a record by hand": records, "a span by hand": spans}


async def timed(pool: WorkerPool, what: Job, calls: int) -> float:
    """Return the microseconds per job."""

    async def caller() -> None:
        for _ in range(calls // CALLERS):
            await pool.run(what)

    start = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(CALLERS):
            group.create_task(caller())
    return (time.perf_counter() - start) / (calls // CALLERS * CALLERS) * 1e6


async def measure(rounds: int, calls: int) -> dict[str, list[float]]:
    """Time all of them."""
    meters, traces = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False), TracerProvider(shutdown_on_exit=False)
    traces.add_span_processor(SpanProcessor())
    async with AsyncExitStack() as stack:

        async def opened(**options: object) -> WorkerPool:
            pool = WorkerPool(
                max_workers=WORKERS,
                job_timeout=DEADLINE,
                submit_timeout=None,
                **options,  # type: ignore[arg-type]
            )
            return await stack.enter_async_context(pool)

        bare = await opened(trace="off")
        pools: dict[str, tuple[WorkerPool, Job]] = {
            "no telemetry": (bare, job),
            "no SDK": (await opened(), job),
            "metrics": (await opened(meter_provider=meters, trace="off"), job),
            "traces": (await opened(tracer_provider=traces), job),
            **{name: (bare, each) for name, each in by_hand(meters, traces).items()},
        }
        runs = {name: _turn(*pair, max(calls, CALLERS)) for name, pair in pools.items()}
        return await interleaved(rounds, runs)


def _turn(pool: WorkerPool, what: Job, calls: int) -> Callable[[], Awaitable[float]]:
    return lambda: timed(pool, what, calls)


COMMAND = Command(__file__, __doc__)
COMMAND.number("rounds", 30, 5, "rounds of each")
COMMAND.number("calls", 10_000, 2_000, "calls per round")


def answer(options: argparse.Namespace) -> Report:
    """Measure."""
    report = COMMAND.report(options)
    times = asyncio.run(measure(options.rounds, options.calls))
    report.tables.append(Table(TELEMETRY, "us per job", times, under="no telemetry"))
    return report


if __name__ == "__main__":
    COMMAND.main(answer)
