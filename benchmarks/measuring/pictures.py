"""Which figures go into which picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .bars import FLOOD, FORGET, ROUND_TRIP
from .field import CONTESTANTS
from .plot import Bars, Lines, bars, lines

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .report import Report

__all__ = ["pictures"]

RATIOS = {
    "round_trip": (ROUND_TRIP, "Round trip: 200 callers submit and await, 100 workers, a deadline on each job"),
    "flood": (FLOOD, "Flood: one producer submits all jobs, then awaits them"),
    "fire_and_forget": (FORGET, "Fire and forget: handles dropped"),
}


def pictures(reports: Mapping[str, Report]) -> dict[str, str]:
    """Draw what there are reports for; return the pictures by the names of their files."""
    drawn = {"ratios.svg": _ratios(reports)}
    if "latency" in reports:
        drawn["latency.svg"] = _latency(reports["latency"])
    if "depth" in reports:
        about = "Time to start, run and settle a job from the queue of one worker, by how many jobs wait."
        drawn["depth.svg"] = _growth(reports["depth"], "A job from a deep queue", about, "jobs that wait")
    if "width" in reports:
        about = "20,000 callers submit and await, by how many workers there are."
        drawn["width.svg"] = _growth(reports["width"], "A job in a wide pool", about, "workers")
    if "overload" in reports:
        drawn["overload.svg"] = _overload(reports["overload"])
    return {name: svg for name, svg in drawn.items() if svg is not None}


def _foot(report: Report) -> str:
    machine = report.machine
    processor = f"{machine['processors']} x {machine['processor']}"
    quick = ", rough: a quick run" if report.settings.get("quick") else ""
    return f"{machine['python']}, {machine['system']}, {processor}, weirpool {machine['commit'] or ''}{quick}"


def _ratios(reports: Mapping[str, Report]) -> str | None:
    panels, used = [], []
    for question, (title, words) in RATIOS.items():
        table = reports[question].table(title) if question in reports else None
        if table is not None and table.ratios():
            panels.append(Bars(words, table.ratios()))
            used.append(reports[question])
    if not panels:
        return None
    about = "Left of 1, weirpool takes less time. Medians of paired ratios, and their quartiles."
    return bars("Time per job: weirpool / the other", about, panels, _foot(used[0]))


def _latency(report: Report) -> str:
    titles = [table.title.split(" at ") for table in report.tables]
    loads = list(dict.fromkeys(load for _, load in titles))
    percentiles = list(dict.fromkeys(percentile for percentile, _ in titles))
    panels = []
    for load in loads:
        tables = [table for table, (_, its) in zip(report.tables, titles, strict=True) if its == load]
        series = {name: [table.spread(name).median for table in tables] for name in tables[0].rounds}
        panels.append(Lines(load, percentiles, series))
    about = "From the moment for which a job's arrival was meant to its start; 20 workers, jobs of 5 ms, random arrivals."
    return lines("How long a job waits for its start", about, panels, "µs", _foot(report), order=list(CONTESTANTS))


def _overload(report: Report) -> str:
    over_time = [table for table in report.tables if table.title.startswith("goodput at ")]
    ticks = [table.title.removeprefix("goodput at ").removesuffix(" s") for table in over_time]
    series = {name: [table.spread(name).median for table in over_time] for name in over_time[0].rounds}
    about = "Jobs that come back within a second, over time: 100 arrive per second, and 1,000 from second 30 to 60."
    panel = Lines("seconds", ticks, series)
    return lines("Under a load of ten times the usual", about, [panel], "jobs per second", _foot(report))


def _growth(report: Report, title: str, about: str, what: str) -> str | None:
    ticks = list(dict.fromkeys(tick for table in report.tables for tick in table.rounds))
    series = {
        table.title: [table.spread(tick).median if tick in table.rounds else None for tick in ticks] for table in report.tables
    }
    if not series:
        return None
    return lines(title, about, [Lines(what, ticks, series)], "µs per job", _foot(report), order=list(CONTESTANTS))
