"""A picture in SVG, in the colours of docs/flow.svg: for light and dark, and read aloud by its title and description."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, indent, tostring

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Picture"]

STYLE = """
    text { fill: #24292f } .dim { fill: #57606a; font-size: 13px } .no { fill: #c0562b; font-size: 13px }
    .box { fill: none; stroke: #4a7fb5; stroke-width: 2 }
    .last { fill: #4a7fb5; fill-opacity: .16; stroke: #4a7fb5; stroke-width: 2 }
    .flow { fill: none; stroke: #4a7fb5; stroke-width: 2; marker-end: url(#arrow) } .dot { fill: #4a7fb5 }
    .line { stroke: #8c959f; stroke-width: 1; stroke-dasharray: 4 4 } .axis { stroke: #8c959f; stroke-width: 1 }
    .waits { fill: none; stroke: #4a7fb5; stroke-width: 2; stroke-dasharray: 5 4 } .runs { fill: #4a7fb5 }
    .cross { fill: none; stroke: #c0562b; stroke-width: 2 }
    .cleans { fill: #d29922 } .hangs { fill: #c0562b } .phase { fill: #8c959f; fill-opacity: .12 }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 } .dim { fill: #9da7b1 } .no { fill: #f0883e } .hangs { fill: #f0883e } .cross { stroke: #f0883e }
    }
"""


class Picture:
    """A drawing of so many pixels, to which shapes are added.

    Args:
        width: in pixels.
        height: in pixels.
        title: what it shows.
        about: the same in a few sentences, for whoever can't see it.
    """

    def __init__(self, width: int, height: int, title: str, about: str) -> None:
        self.root = Element(
            "svg",
            {
                "xmlns": "http://www.w3.org/2000/svg",
                "viewBox": f"0 0 {width} {height}",
                "role": "img",
                "aria-labelledby": "t d",
                "font-family": "system-ui, sans-serif",
                "font-size": "15",
            },
        )
        SubElement(self.root, "title", id="t").text = title
        SubElement(self.root, "desc", id="d").text = about
        SubElement(self.root, "style").text = STYLE
        marker = SubElement(
            SubElement(self.root, "defs"),
            "marker",
            {
                "id": "arrow",
                "viewBox": "0 0 10 10",
                "refX": "9",
                "refY": "5",
                "markerWidth": "7",
                "markerHeight": "7",
                "orient": "auto-start-reverse",
            },
        )
        SubElement(marker, "path", {"d": "M0 0 10 5 0 10z", "class": "dot"})

    def box(self, x: float, y: float, width: float, height: float, kind: str, *, radius: float = 8) -> None:
        """Add a rectangle."""
        place = {"x": f"{x:g}", "y": f"{y:g}", "width": f"{width:g}", "height": f"{height:g}", "rx": f"{radius:g}"}
        SubElement(self.root, "rect", {**place, "class": kind})

    def path(self, d: str, kind: str = "flow") -> None:
        """Add a line of any shape."""
        SubElement(self.root, "path", {"d": d, "class": kind})

    def dot(self, x: float, y: float, radius: float = 7) -> None:
        """Add a point, where something begins."""
        SubElement(self.root, "circle", {"cx": f"{x:g}", "cy": f"{y:g}", "r": f"{radius:g}", "class": "dot"})

    def text(self, x: float, y: float, text: str, kind: str = "", anchor: str = "") -> None:
        """Add a line of text."""
        more = {"class": kind} if kind else {}
        if anchor:
            more["text-anchor"] = anchor
        SubElement(self.root, "text", {"x": f"{x:g}", "y": f"{y:g}", **more}).text = text

    def lines(self, x: float, y: float, texts: Sequence[str], kind: str = "dim", anchor: str = "") -> None:
        """Add lines of text, one below the other."""
        for number, text in enumerate(texts):
            self.text(x, y + 17 * number, text, kind, anchor)

    def __str__(self) -> str:
        indent(self.root)
        return tostring(self.root, encoding="unicode") + "\n"
