"""The dashboard and the alert rules in docs: they ask for metrics that there are, by the names that a Prometheus has."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import echo
from weirpool import WorkerPool

from .support import Meters

DOCS = Path(__file__).parent.parent.parent / "docs"
PANELS = json.loads((DOCS / "observing" / "grafana.json").read_text())["panels"]
RULES = [
    rule for group in yaml.safe_load((DOCS / "observing" / "alerts.yaml").read_text())["groups"] for rule in group["rules"]
]


def prometheus(name: str, unit: str, kind: str) -> set[str]:
    """Return what a metric is called in a Prometheus that got it through OTLP, with its default translation."""
    base = name.replace(".", "_") + ("_seconds" if unit == "s" else "")
    if kind == "Histogram":
        return {f"{base}_bucket", f"{base}_sum", f"{base}_count"}
    return {f"{base}_total"} if kind == "Counter" else {base}


async def exported() -> tuple[set[str], set[str]]:
    """Return the names of all metrics, and of their attributes, as a Prometheus has them."""
    meters = Meters()
    async with WorkerPool(name="a", meter_provider=meters.provider, time_in_queue_histogram=True) as pool:
        await pool.run(echo, 1)
        names: set[str] = set()
        labels = {"le", "error_type"}
        for name, metric in meters.metrics().items():
            data: Any = metric.data
            kind = type(data).__name__
            if kind == "Sum":
                kind = "Counter" if data.is_monotonic else "UpDownCounter"
            names |= prometheus(name, metric.unit or "", kind)
            labels |= {key.replace(".", "_") for point in data.data_points for key in point.attributes}
    return names, labels


QUERIES = [
    *(pytest.param(target["expr"], id=f"panel: {panel['title']}") for panel in PANELS for target in panel.get("targets", ())),
    *(pytest.param(rule["expr"], id=f"alert: {rule['alert']}") for rule in RULES),
]


@pytest.mark.parametrize("query", QUERIES)
async def test_a_query_asks_for_what_is_exported(query: str) -> None:
    names, labels = await exported()
    asked = set(re.findall(r"\bweirpool_[a-z_]+(?=[\[{ )]|$)", query)) - labels
    assert asked, query
    assert asked <= names
    by = {label.strip() for inside in re.findall(r"\b(?:by|on|ignoring) \(([^)]*)\)", query) for label in inside.split(",")}
    by |= set(re.findall(r"([a-z_]+)(?:=~|!=|=)\"", query))
    assert by <= labels


def test_each_metric_of_the_page_is_there_and_each_that_is_there_is_on_the_page() -> None:
    from weirpool.telemetry._otel import OBSERVED

    page = (DOCS / "observing.md").read_text()
    table = page[page.index("## Metrics") : page.index("## Traces")]
    named = set(re.findall(r"`(weirpool\.[a-z_.]+)`", "\n".join(re.findall(r"^\| `weirpool.*?\|", table, re.MULTILINE))))
    assert named == {"weirpool.job.duration", "weirpool.job.time_in_queue", *(observed.name for observed in OBSERVED)}


def test_each_event_of_the_page_is_in_the_source_and_the_other_way_round() -> None:
    page = (DOCS / "observing.md").read_text()
    table = page[page.index("## Logs") : page.index("## Metrics")]
    source = "\n".join(path.read_text() for path in (DOCS.parent / "src" / "weirpool").rglob("*.py"))
    events = {f"weirpool.{event}" for event in re.findall(r"fields\(\s*\"([a-z_.]+)\"", source)}
    loggers = set(re.findall(r"getLogger\(\"(weirpool\.[a-z]+)\"\)", source)) - {"weirpool.demo"}
    named = set(re.findall(r"`(weirpool\.[a-z]+\.[a-z]+)`", table))
    assert named == events
    assert not {logger for logger in loggers if f"`{logger}`" not in table}
