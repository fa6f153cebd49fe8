"""How it looks, in so many columns and lines. Each line is cut rather than wrapped, so that the lines can be counted."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import RenderableType

    from .page import Failure, Job, Page, Percentiles, Pool

__all__ = ["Scene", "draw", "rates"]

_FRAME = 2  # lines of a panel's border
_LISTED = 10  # jobs, where there is no end of lines
_BARS_FROM = 66  # columns; a narrower terminal has no room for bars,
_PLACES_FROM = 60  # nor for where jobs are,
_ROOMY_FROM = 110  # and a wide one has room for all percentiles in a line
_ENDS = ("succeeded", "failed", "timed_out", "cancelled", "abandoned")
_STATES = {"open": "green", "new": "cyan"}


@dataclass(frozen=True, slots=True)
class Scene:
    """What there is to draw: a headline, the last answer if there is one, rates for each of its pools, and what is wrong."""

    title: str
    page: Page | None = None
    rates: Sequence[Mapping[str, float]] = field(default=())
    error: str = ""


# Rates ------------------------------------------------------------------------------------------------------------------


def rates(before: Page | None, now: Page) -> list[dict[str, float]]:
    """Return how many jobs of each pool ended, failed and were refused a second, between two answers.

    A pool has no rates if it was not there before, or has been started anew since. Several pools of one name are told apart
    by their order.
    """
    past = {} if before is None else dict(_numbered(before.pools))
    elapsed = 0.0 if before is None else now.at - before.at
    return [_rates(past.get(key), pool, elapsed) for key, pool in _numbered(now.pools)]


def _numbered(pools: Iterable[Pool]) -> Iterable[tuple[tuple[str, int], Pool]]:
    seen: dict[str, int] = {}
    for pool in pools:
        seen[pool.name] = seen.get(pool.name, -1) + 1
        yield (pool.name, seen[pool.name]), pool


def _rates(before: Pool | None, now: Pool, elapsed: float) -> dict[str, float]:
    if before is None or elapsed <= 0:
        return {}
    past = _totals(before)
    grown = {name: count - past[name] for name, count in _totals(now).items()}
    return {} if min(grown.values()) < 0 else {name: count / elapsed for name, count in grown.items()}


def _totals(pool: Pool) -> dict[str, int]:
    return {
        "ended": sum(pool.counts[name] for name in _ENDS),
        "refused": sum(pool.refused.values()),
        **{name: pool.counts[name] for name in _ENDS},
    }


# The whole --------------------------------------------------------------------------------------------------------------


def draw(scene: Scene, width: int, height: int | None = None) -> RenderableType:
    """Draw pools: a panel for each if there is room for these, else a line for each.

    Args:
        scene: what there is to draw.
        width: how many columns there are.
        height: how many lines there are; None: as many as it takes.

    Returns:
        What rich is to print, no higher than that.
    """
    lines: list[RenderableType] = [_line((scene.title, "bold"))]
    if scene.error:
        lines.append(_line((f"error: {scene.error}", "bold red")))
    if scene.page is None:
        return Group(*lines[:height])
    pools, its_rates = scene.page.pools, scene.rates
    if not pools:
        lines.append(_line("no pools"))
        return Group(*lines[:height])
    facts = [_facts(pool, rate, width) for pool, rate in zip(pools, its_rates, strict=True)]
    details = [_details(pool) for pool in pools]
    if height is None:
        shares = [sum(min(len(part), _LISTED) for part in parts) for parts in details]
    else:
        room = height - len(lines) - sum(len(rows) + _FRAME for rows in facts)
        if room < 0:
            lines.append(_overview(pools, its_rates, width, height - len(lines)))
            return Group(*lines[:height])
        shares = _share(room, [sum(map(len, parts)) for parts in details])
    for pool, rows, parts, lot in zip(pools, facts, details, shares, strict=True):
        lines.append(_panel(pool, rows, parts, lot, width))
    return Group(*lines)


def _share(room: int, wishes: Sequence[int]) -> list[int]:
    """Share lines out evenly, none for nothing: who wishes for less than its share leaves the rest to the others."""
    shares = [0] * len(wishes)
    while room > 0 and (wishing := [index for index, wish in enumerate(wishes) if shares[index] < wish]):
        for index in wishing[:room]:
            shares[index] += 1
        room -= len(wishing[:room])
    return shares


def _line(*parts: str | tuple[str, str]) -> Text:
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def _overview(pools: Sequence[Pool], its_rates: Sequence[Mapping[str, float]], width: int, room: int) -> RenderableType:
    """Draw a line per pool, the first ones if there is no room for all."""
    if room < 2:
        return _line(f"{len(pools)} pools")
    grid = Table.grid(padding=(0, 1))
    for heading in ("pool", "state", "busy", "queue", "ended", *(("refused", "strays") if width >= _PLACES_FROM else ())):
        grid.add_column(no_wrap=True, overflow="ellipsis", justify="left" if heading in {"pool", "state"} else "right")
    cells = ["pool", "state", "busy", "queue", "ended", "refused", "strays"][: len(grid.columns)]
    grid.add_row(*(_line((cell, "dim")) for cell in cells))
    fit = len(pools) if len(pools) < room else room - 2
    for pool, rate in zip(pools[:fit], its_rates, strict=False):
        counts = pool.counts
        row = [
            _line((pool.name, "bold")),
            _line(_state(pool)),
            _line((f"{_busy(pool)}/{counts['workers']}", _level(_busy(pool), counts["workers"], "yellow"))),
            _line((f"{counts['queued']}/{counts['queue_size']}", _level(counts["queued"], counts["queue_size"], "bold red"))),
            _line(_rate(rate["ended"]) if rate else f"{_totals(pool)['ended']:,}"),
            _line(f"{_totals(pool)['refused']:,}"),
            _line((str(counts["strays"]), "bold red" if counts["strays"] else "")),
        ]
        grid.add_row(*row[: len(grid.columns)])
    return grid if fit == len(pools) else Group(grid, _line(f"and {len(pools) - fit} more pools"))


# A pool -----------------------------------------------------------------------------------------------------------------


def _panel(pool: Pool, facts: list[Text], parts: Sequence[list[_Row]], room: int, width: int) -> Panel:
    """Draw a pool: its facts, and of its strays, jobs and failures as many as there is room for."""
    shares = _share(room, [len(part) for part in parts])
    shown = [row for part, share in zip(parts, shares, strict=True) for row in part[:share]]
    places = width >= _PLACES_FROM
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(no_wrap=True, width=8)
    grid.add_column(no_wrap=True, ratio=2)
    grid.add_column(no_wrap=True, width=7, justify="right")
    grid.add_column(no_wrap=True, width=14 if places else 8)
    if places:
        grid.add_column(no_wrap=True, ratio=3)
    label, cells = "", list[str | tuple[str, str]]()
    for row in shown:
        note = row.note if places else row.note.removeprefix("ends: ").removesuffix(" left").removesuffix(" ago")
        cells = [(row.label if row.label != label else "", "dim"), row.name, row.age, (note, row.style), row.where]
        grid.add_row(*(_line(cell) for cell in cells[: len(grid.columns)]))
        label = row.label
    title = _line((pool.name, "bold"), ": ", _state(pool))
    return Panel(Group(*facts, *([grid] if shown else [])), title=title, title_align="left", width=width)


def _state(pool: Pool) -> tuple[str, str]:
    if pool.paused:
        return f"{pool.state}, paused", "yellow"
    return pool.state, _STATES.get(pool.state, "yellow")


def _busy(pool: Pool) -> int:
    return pool.counts["running"] - pool.counts["lending"]


def _level(count: int, of: int, full: str) -> str:
    """Return the style of a count: `full` if it is at its bound, yellow if near it."""
    if 0 < of <= count:
        return full
    return "yellow" if count >= 0.8 * of > 0 else ""


def _facts(pool: Pool, rate: Mapping[str, float], width: int) -> list[Text]:
    facts = [_workers(pool, width), _queue(pool, width), _ended(pool, rate), _refused(pool, rate)]
    waits, runs = _percentiles(pool.time_in_queue), _percentiles(pool.run_time)
    if width >= _ROOMY_FROM:
        return [*facts, _fact("in queue", waits.ljust(42), ("run time ", "dim"), runs)]
    return [*facts, _fact("in queue", waits), _fact("run time", runs)]


def _fact(label: str, *parts: str | tuple[str, str]) -> Text:
    return _line((f"{label:<9}", "dim"), *parts)


def _workers(pool: Pool, width: int) -> Text:
    counts, busy = pool.counts, _busy(pool)
    text = f"{busy:,} of {counts['workers']:,} busy ({counts['min_workers']:,} to {counts['max_workers']:,})"
    if 0 < counts["workers"] <= busy:
        text += ", none free"
    for name in ("lending", "retrying"):
        if counts[name]:
            text += f", {counts[name]:,} {name}"
    style = _level(busy, counts["workers"], "yellow")
    strays = (f", {counts['strays']:,} stray{'s' if counts['strays'] > 1 else ''}", "bold red") if counts["strays"] else ""
    return _fact("workers", *_bar(busy, counts["workers"], style, width), (text, style), strays)


def _queue(pool: Pool, width: int) -> Text:
    queued, size, waiting = (pool.counts[name] for name in ("queued", "queue_size", "waiting"))
    text = f"{queued:,} of {size:,}{', full' if 0 < size <= queued else ''}"
    style = _level(queued, size, "bold red")
    waits = (f", {waiting:,} waiting for room", "yellow") if waiting else ""
    return _fact("queue", *_bar(queued, size, style, width), (text, style), waits)


def _bar(count: int, of: int, style: str, width: int) -> list[str | tuple[str, str]]:
    """Draw a bar in plain characters: how full it is can be seen without colours."""
    if width < _BARS_FROM:
        return []
    length = min(width - 60, 30)
    filled = min(length, -(-count * length // of)) if of else 0
    return ["[", ("|" * filled, style or "green"), " " * (length - filled), "] "]


def _ended(pool: Pool, rate: Mapping[str, float]) -> Text:
    parts: list[str | tuple[str, str]] = [f"{_rate(rate['ended'])}; "] if rate else []
    for name in _ENDS:
        count, grows = pool.counts[name], rate.get(name, 0)
        if count or name in {"succeeded", "failed"}:
            text = f"{count:,} {name.replace('_', ' ')}"
            if name != "succeeded" and grows:
                parts += [(f"{text} ({_rate(grows)})", "red"), ", "]
            else:
                parts += [text, ", "]
    joined = f"{pool.counts['coalesced']:,} coalesced"
    return _fact("ended", *([*parts, joined] if pool.counts["coalesced"] else parts[:-1]))


def _refused(pool: Pool, rate: Mapping[str, float]) -> Text:
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in pool.refused.items() if count)
    if not reasons:
        return _fact("refused", "none")
    grows = rate.get("refused", 0)
    before = f"{_rate(grows)}; " if rate else ""
    return _fact("refused", (before + reasons, "red" if grows else ""))


def _percentiles(of: Percentiles | None) -> str:
    return "-" if of is None else f"p50 {_time(of.p50)}, p90 {_time(of.p90)}, p99 {_time(of.p99)}"


# What can be listed -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    label: str
    name: str
    age: str
    note: str
    where: str
    style: str = ""


def _details(pool: Pool) -> list[list[_Row]]:
    """Return what there is to list: strays, running jobs, failures; those first that most need to be seen."""
    return [
        [
            _Row("stray", job.name, _time(job.running_for), job.reason, _place(job.where), "bold red")
            for job in sorted(pool.strays, key=lambda job: -job.running_for)
        ],
        [
            _Row("running", job.name, _time(job.running_for), _left(job), _place(job.where), "yellow" if job.ending else "")
            for job in sorted(pool.jobs, key=lambda job: -job.running_for)
        ],
        [
            _Row(
                "failed",
                failure.type.removeprefix("builtins."),
                f"{failure.count:,} x",
                f"{_time(failure.seconds_ago)} ago",
                _last(failure),
            )
            for failure in sorted(pool.failures, key=lambda failure: -failure.count)
        ],
    ]


def _left(job: Job) -> str:
    """Say how long a job still may run; sooner, that it is being ended, or that it waits for its own pool."""
    if job.ending is not None:
        return f"ends: {job.ending}"
    if job.lending:
        return "lending"
    return "no limit" if job.time_left is None else f"{_time(job.time_left)} left"


def _last(failure: Failure) -> str:
    """Say which job failed last, and what its exception said, without the type once more."""
    said = failure.said.removeprefix(failure.type.removeprefix("builtins.")).removeprefix(": ")
    return f"{failure.job}: {said}" if said else failure.job


def _place(where: str) -> str:
    """Return a place without its directories: "file:line in function: source"."""
    parts = re.match(r"(.*?)(:\d+ in .*)", where)
    return where if parts is None else re.split(r"[/\\]", parts[1])[-1] + parts[2]


def _rate(rate: float) -> str:
    return f"{rate:,.1f}/s" if rate < 100 else f"{rate:,.0f}/s"


def _time(seconds: float) -> str:
    """Return a time in three digits or so: 12 ms, 1.50 s, 5m03s, 2h05m, 3d04h."""
    if seconds < 0.9995:
        return f"{max(seconds, 0) * 1000:.{0 if seconds >= 0.00995 else 1}f} ms"
    if seconds < 59.95:
        return f"{seconds:.{1 if seconds >= 9.995 else 2}f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d{hours:02}h"
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s"
