"""The pictures: SVG, for light and dark, whose text is escaped and whose tags match because a tree of elements is written."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, indent, tostring

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .rounds import Spread

__all__ = ["Bars", "Lines", "bars", "lines"]

STYLE = """
    text { fill: #24292f } .dim { fill: #57606a; font-size: 12px } .head { font-weight: 600 }
    .grid { stroke: #d0d7de } .one { stroke: #24292f; stroke-width: 1.5 } .spread { stroke: #24292f; stroke-width: 1.5 }
    .less { fill: #4a7fb5 } .more { fill: #c0562b } .line { fill: none; stroke-width: 1.5 } .ours { stroke-width: 4 }
    .c0 { stroke: #2f6fb0 } .c1 { stroke: #57606a } .c2 { stroke: #c0562b } .c3 { stroke: #1a7f37 } .c4 { stroke: #8250df }
    .c5 { stroke: #9a6700 } .c6 { stroke: #bf3989 } .c7 { stroke: #0e7c86 } .c8 { stroke: #6e4c2f } .c9 { stroke: #5b6b00 }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 } .dim { fill: #9da7b1 }
      .grid { stroke: #30363d } .one, .spread { stroke: #e6edf3 }
      .less { fill: #5b9bd5 } .more { fill: #f0883e }
      .c0 { stroke: #6cb6ff } .c1 { stroke: #9da7b1 } .c2 { stroke: #f0883e } .c3 { stroke: #56d364 } .c4 { stroke: #bc8cff }
      .c5 { stroke: #e3b341 } .c6 { stroke: #f778ba } .c7 { stroke: #39c5cf } .c8 { stroke: #c69c6d } .c9 { stroke: #b5cc18 }
    }
"""
WIDTH = 860
ROW = 22
COLOURS = 10
LEGEND = 226


@dataclass(frozen=True, slots=True)
class Bars:
    """A panel of ratios."""

    title: str
    ratios: Mapping[str, Spread]


@dataclass(frozen=True, slots=True)
class Lines:
    """A panel of lines, each with one value for each tick; None: it has none there."""

    title: str
    ticks: Sequence[str]
    series: Mapping[str, Sequence[float | None]]


def bars(title: str, about: str, panels: Sequence[Bars], foot: str) -> str:
    """Draw ratios on a logarithmic scale, to the left of 1 and to the right of it, with their quartiles."""
    spreads = [spread for panel in panels for spread in panel.ratios.values()]
    low = math.floor(min([-1.0, *(math.log2(spread.low) for spread in spreads)]))
    high = math.ceil(max([1.0, *(math.log2(spread.high) for spread in spreads)]))
    left, right = 206, WIDTH - 76

    def x(ratio: float) -> float:
        return left + (math.log2(ratio) - low) / (high - low) * (right - left)

    height = 108 + sum(46 + ROW * len(panel.ratios) for panel in panels)
    svg = _picture(title, about, height, foot)
    y = 74.0
    for panel in panels:
        _text(svg, 20, y, panel.title, "head")
        top, y = y + 8, y + 12
        bottom = top + ROW * len(panel.ratios) + 4
        for power in range(low, high + 1):
            _line(svg, x(2.0**power), top, x(2.0**power), bottom, "grid" if power else "one")
            _text(svg, x(2.0**power), bottom + 14, f"{2.0**power:g}", "dim", "middle")
        for name, spread in panel.ratios.items():
            start, end = sorted((x(1), x(spread.median)))
            kind = "less" if spread.median <= 1 else "more"
            SubElement(svg, "rect", {"class": kind} | _numbers(x=start, y=y + 3, width=end - start, height=ROW - 8))
            _line(svg, x(spread.low), y + ROW / 2 - 1, x(spread.high), y + ROW / 2 - 1, "spread")
            _text(svg, left - 10, y + 15, name, "", "end")
            _text(svg, right + 18, y + 15, f"{spread.median:.2f}", "")
            y += ROW
        y += 42
    return _written(svg)


def lines(title: str, about: str, panels: Sequence[Lines], unit: str, foot: str, *, order: Sequence[str] = ()) -> str:
    """Draw lines over ticks, one panel beside the other, on a common logarithmic scale, with one legend.

    The first line is the one to look at. Those in `order` have the colour of their place in it, in every picture.
    """
    names = list(dict.fromkeys(name for panel in panels for name in panel.series))
    colours = [*order, *(name for name in names if name not in order)]
    classes = {name: f"line c{colours.index(name) % COLOURS}" + " ours" * (name == names[0]) for name in names}
    values = [value for panel in panels for line in panel.series.values() for value in line if value]
    scale = _scale(min(values, default=1.0), max(values, default=10.0))
    low, high = math.log10(scale[0]), math.log10(scale[-1])
    top, bottom, left = 96, 356, 76
    step = (WIDTH - left - LEGEND) / len(panels)

    def y(value: float) -> float:
        return bottom - (math.log10(value) - low) / (high - low) * (bottom - top)

    svg = _picture(title, about, max(bottom + 84, 110 + ROW * len(names)), foot)
    _text(svg, 20, 78, unit, "dim")
    for value in scale:
        _text(svg, left - 10, y(value) + 4, f"{value:,.4g}" if value < 1000 else f"{value:,.0f}", "dim", "end")
    for number, panel in enumerate(panels):
        start, end = left + step * number, left + step * (number + 1) - 18
        inside = (end - start) / max(1, len(panel.ticks))
        places = [start + inside * (index + 0.5) for index in range(len(panel.ticks))]
        _text(svg, (start + end) / 2, bottom + 44, panel.title, "", "middle")
        for value in scale:
            _line(svg, start, y(value), end, y(value), "grid")
        for place, tick in zip(places, panel.ticks, strict=True):
            _text(svg, place, bottom + 20, tick, "dim", "middle")
        for name, line in reversed(list(panel.series.items())):  # the first lies on top
            points = [(place, y(value)) for place, value in zip(places, line, strict=True) if value]
            path = " ".join(f"{'L' if index else 'M'}{px:.1f} {py:.1f}" for index, (px, py) in enumerate(points))
            SubElement(svg, "path", {"class": classes[name], "d": path or "M0 0"})
    for index, name in enumerate(names):
        place = 100 + ROW * index
        _line(svg, WIDTH - LEGEND + 10, place - 5, WIDTH - LEGEND + 34, place - 5, classes[name])
        _text(svg, WIDTH - LEGEND + 42, place, name, "head" if not index else "")
    return _written(svg)


def _scale(low: float, high: float) -> list[float]:
    """Return round numbers (1, 2, 5, 10 ...; over many decades only 1, 10 ...) from below the low value to above the high."""
    digits = (1, 2, 5) if high / low < 300 else (1,)
    first, last = math.floor(math.log10(low)) - 3, math.ceil(math.log10(high)) + 1
    steps = [digit * 10.0**power for power in range(first, last + 1) for digit in digits]
    start = max(index for index, step in enumerate(steps) if step <= low)
    end = next(index for index, step in enumerate(steps) if step >= high and index > start)
    return steps[max(0, min(start, end - 3)) : end + 1]  # four of them at least


def _picture(title: str, about: str, height: float, foot: str) -> Element:
    svg = Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {WIDTH} {height:.0f}",
            "role": "img",
            "aria-labelledby": "t d",
            "font-family": "system-ui, sans-serif",
            "font-size": "14",
        },
    )
    SubElement(svg, "title", {"id": "t"}).text = title
    SubElement(svg, "desc", {"id": "d"}).text = about
    SubElement(svg, "style").text = STYLE
    _text(svg, 20, 26, title, "head")
    _text(svg, 20, 46, about, "dim")
    _text(svg, 20, height - 10, foot, "dim")
    return svg


def _numbers(**numbers: float) -> dict[str, str]:
    return {name: f"{number:.1f}" for name, number in numbers.items()}


def _text(svg: Element, x: float, y: float, text: str, kind: str, anchor: str = "start") -> None:
    attributes = (
        _numbers(x=x, y=y) | ({"class": kind} if kind else {}) | ({"text-anchor": anchor} if anchor != "start" else {})
    )
    SubElement(svg, "text", attributes).text = text


def _line(svg: Element, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
    SubElement(svg, "line", {"class": kind} | _numbers(x1=x1, y1=y1, x2=x2, y2=y2))


def _written(svg: Element) -> str:
    indent(svg)
    return tostring(svg, encoding="unicode") + "\n"
