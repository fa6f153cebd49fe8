"""Providers that keep what they are given, and ways to look at that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opentelemetry.sdk.metrics.export import Metric
    from opentelemetry.sdk.trace import ReadableSpan

__all__ = ["Meters", "Traces"]


class Meters:
    """A meter provider, and what it exports."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider(metric_readers=[self.reader], shutdown_on_exit=False)

    def metrics(self) -> dict[str, Metric]:
        """Collect, and return what came, by name."""
        data = self.reader.get_metrics_data()
        if data is None:
            return {}
        return {
            metric.name: metric
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def scopes(self) -> Iterator[Any]:
        """Collect, and return the scopes of what came."""
        data = self.reader.get_metrics_data()
        assert data is not None
        for resource in data.resource_metrics:
            for scope in resource.scope_metrics:
                yield scope.scope

    def points(self, name: str) -> list[tuple[dict[str, Any], Any]]:
        """Collect, and return one metric's points: attributes, and the value, or the count of a histogram."""
        metric = self.metrics().get(name)
        points: list[Any] = [] if metric is None else list(metric.data.data_points)
        return [(dict(point.attributes), point.value if hasattr(point, "value") else point.count) for point in points]

    def value(self, name: str, pool: str, **attributes: str) -> Any:
        """Return the one value of a metric with just these attributes, whose names have "_" for "."."""
        wanted = {"weirpool.pool.name": pool, **{key.replace("_", ".", 2): value for key, value in attributes.items()}}
        (value,) = [value for having, value in self.points(name) if having == wanted]
        return value


class Traces:
    """A tracer provider, and what it exports."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("test")

    def spans(self) -> list[ReadableSpan]:
        """Return what has ended."""
        return list(self.exporter.get_finished_spans())

    def span(self, name: str) -> ReadableSpan:
        """Return the one span whose name ends so."""
        (span,) = [span for span in self.spans() if span.name.rpartition(".")[2] == name]
        return span


def attributes(span: ReadableSpan) -> Mapping[str, Any]:
    """Return a span's attributes."""
    return dict(span.attributes or {})
