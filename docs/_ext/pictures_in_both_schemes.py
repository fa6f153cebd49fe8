"""Show an SVG in the scheme that the reader has chosen on the site.

The pictures adapt by `@media (prefers-color-scheme: dark)`, which is all that a repository's viewer needs. But the site has a
button of its own, and a picture in an `<img>` hears only of the system's setting. So the site has two copies of each, with
that question answered in either way, and Furo's classes show one of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.writers.html5 import HTML5Translator

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DARK = "(prefers-color-scheme: dark)"


def adapts(path: Path) -> bool:
    """Return whether this is a picture with two sets of colours."""
    return path.suffix == ".svg" and DARK in path.read_text()


def visit(self: HTML5Translator, node: nodes.image) -> None:
    """Write the picture: twice, if it adapts; as ever otherwise."""
    builder: Any = self.builder
    kept = builder.images.get(node["uri"])
    if kept is None or not adapts(Path(builder.srcdir, node["uri"])):
        HTML5Translator.visit_image(self, node)
        return
    self.body.append('<span class="picture">')
    for scheme, name in (("light", kept), ("dark", dark_name(kept))):
        source = f"{builder.imgpath}/{name}"
        self.body.append(self.emptytag(node, "img", src=source, alt=node.get("alt", ""), CLASS=f"only-{scheme}"))
    self.body.append("</span>")


def dark_name(name: str) -> str:
    """Return the name of the dark copy."""
    return f"{Path(name).stem}-dark.svg"


def depart(self: HTML5Translator, node: nodes.image) -> None:
    """End it."""
    HTML5Translator.depart_image(self, node)


def write_both(app: Sphinx, failed: Exception | None) -> None:
    """Answer the question in the copies that Sphinx has made."""
    if failed or app.builder.format != "html":
        return
    for name in app.builder.images.values():
        path = Path(app.outdir, app.builder.imagedir, name)
        if not adapts(path):
            continue
        text = path.read_text()
        path.with_name(dark_name(name)).write_text(text.replace(DARK, "all"))
        path.write_text(text.replace(DARK, "not all"))


def setup(app: Sphinx) -> dict[str, bool]:
    """Be an extension of Sphinx."""
    app.add_node(nodes.image, override=True, html=(visit, depart))
    app.connect("build-finished", write_both)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
