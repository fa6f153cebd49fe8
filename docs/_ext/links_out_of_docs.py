"""Make links out of docs work on the site: it ships what they lead to, with line numbers and colours.

A page says `../src/weirpool/_pool.py`, which works wherever the repository is read. On the site that is a page of its own, as
is a folder; so the site needs no address of a repository and can be read without a network. What is documented from docstrings
gets a link to its line in the same pages.
"""

from __future__ import annotations

import html
import importlib
import inspect
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pygments
from docutils import nodes
from pygments.formatters import HtmlFormatter
from pygments.lexers import TextLexer, get_lexer_for_filename
from pygments.util import ClassNotFound
from sphinx import addnodes
from sphinx.transforms import SphinxTransform

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

DOCS = Path(__file__).parent.parent
ROOT = DOCS.parent
PAGES = {"CHANGELOG.md": "changelog"}  # files that the site has as pages
PREFIX = "source/"


class LinksOut(SphinxTransform):
    """Turn the links of a page that leave docs into references to `source/...`, before Sphinx takes them for downloads."""

    default_priority = 10

    def apply(self, **_: Any) -> None:
        """Do it."""
        for node in list(self.document.findall(addnodes.download_reference)) + list(
            self.document.findall(addnodes.pending_xref)
        ):
            path = target_of(node, Path(self.env.doc2path(self.env.docname)).parent)
            if path is None or not path.exists() or not path.is_relative_to(ROOT) or path.is_relative_to(DOCS):
                continue
            name = path.relative_to(ROOT).as_posix()
            if name in PAGES:
                what = {"refdomain": "doc", "reftype": "myst", "reftarget": PAGES[name], "reftargetid": None}
            else:
                what = {"refdomain": "", "reftype": "source", "reftarget": name}
                wanted(self.env).setdefault(self.env.docname, set()).add(name)
            new = addnodes.pending_xref(refdoc=self.env.docname, refexplicit=True, refwarn=True, **what)
            new.extend(node.children)
            node.replace_self(new)


def target_of(node: Any, folder: Path) -> Path | None:
    """Return the file or folder that a link of a page means, if MyST took it for one or does not know what it is."""
    if node.get("reftype") != "myst":
        return None
    if node.get("refdomain") == "doc":  # it takes all that ends in .md for pages, and says so with an absolute path
        return Path(node["reftarget"] + ".md")
    return Path(os.path.normpath(folder / node["reftarget"].partition("#")[0]))


def wanted(env: BuildEnvironment) -> dict[str, set[str]]:
    """Return, for each page, what it links to outside of docs; Sphinx keeps it from one build to the next."""
    if not hasattr(env, "weirpool_sources"):
        env.weirpool_sources = {}
    kept: dict[str, set[str]] = env.weirpool_sources
    return kept


def resolve(app: Sphinx, _: BuildEnvironment, node: Any, content: nodes.Node) -> nodes.Node | None:
    """Point a reference to `source/...` at its page."""
    if node.get("reftype") != "source":
        return None
    uri = app.builder.get_relative_uri(node["refdoc"], PREFIX + node["reftarget"])
    return nodes.reference("", "", content, internal=True, refuri=uri)


def files_of(name: str) -> list[str]:
    """Return a file, or what is in a folder and belongs to the repository's text."""
    if (ROOT / name).is_file():
        return [name]
    found = (path for path in sorted((ROOT / name).rglob("*")) if path.is_file() and "__pycache__" not in path.parts)
    return [path.relative_to(ROOT).as_posix() for path in found]


def collect(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Make the page of each file and folder that is linked to."""
    names = {name for names in wanted(app.env).values() for name in names}
    files = {file for name in names for file in files_of(name)}
    for name in sorted(names - files):
        items = "".join(f'<li><a href="{link(app, name, file)}">{html.escape(file)}</a></li>' for file in files_of(name))
        yield PREFIX + name, page(name, f"<ul>{items}</ul>"), "page.html"
    for name in sorted(files):
        yield PREFIX + name, page(name, highlighted(name)), "page.html"


def link(app: Sphinx, folder: str, file: str) -> str:
    """Return the address of a file's page as seen from a folder's."""
    uri: str = app.builder.get_relative_uri(PREFIX + folder, PREFIX + file)
    return html.escape(uri)


def page(name: str, body: str) -> dict[str, Any]:
    """Return what the theme's template asks for."""
    return {"title": name, "parents": [], "body": f"<h1>{html.escape(name)}</h1>{body}"}


def highlighted(name: str) -> str:
    """Return the text of a file as HTML, with an anchor for each line."""
    text = (ROOT / name).read_text()
    try:
        lexer = get_lexer_for_filename(name)
    except ClassNotFound:
        lexer = TextLexer()
    return str(pygments.highlight(text, lexer, HtmlFormatter(linenos="inline", lineanchors="L", anchorlinenos=True)))


def place_of(thing: Any, module: str) -> tuple[Path, int] | None:
    """Return the file and the line of a function or a class, or None.

    Of a class, `inspect` knows only the module, which weirpool's say is the public one: that it is in a file below.
    """
    if not inspect.isclass(thing):
        code = getattr(thing, "__code__", None)
        return (Path(code.co_filename).resolve(), code.co_firstlineno) if code else None
    start = re.compile(rf"^class {thing.__name__}\b", re.MULTILINE)
    around = Path(str(importlib.import_module(module).__file__)).resolve()
    files = [around] if around.name != "__init__.py" else sorted(around.parent.rglob("*.py"), key=lambda path: len(path.parts))
    for file in files:
        text = file.read_text()
        if found := start.search(text):
            return file, text.count("\n", 0, found.start()) + 1
    return None


def link_code(app: Sphinx) -> None:
    """Tell sphinx.ext.linkcode where the source of a documented thing is: in the same pages."""

    def where(domain: str, info: dict[str, str]) -> str | None:
        if domain != "py" or not info["module"]:
            return None
        thing: Any = importlib.import_module(info["module"])
        for part in info["fullname"].split("."):
            thing = inspect.getattr_static(thing, part, None) if inspect.isclass(thing) else getattr(thing, part, None)
        place = place_of(
            inspect.unwrap(getattr(thing, "fget", None) or getattr(thing, "__func__", None) or thing), info["module"]
        )
        if place is None or not place[0].is_relative_to(ROOT / "src"):
            return None
        name, line = place[0].relative_to(ROOT).as_posix(), place[1]
        here = app.env.docname
        wanted(app.env).setdefault(here, set()).add(name)
        return f"{app.builder.get_relative_uri(here, PREFIX + name)}#L-{line}"

    app.config.linkcode_resolve = where


def forget(_: Sphinx, env: BuildEnvironment, docname: str) -> None:
    """Forget what a page linked to, when it is read again."""
    wanted(env).pop(docname, None)


def setup(app: Sphinx) -> dict[str, bool]:
    """Be an extension of Sphinx."""
    app.add_transform(LinksOut)
    app.connect("builder-inited", link_code)
    app.connect("missing-reference", resolve)
    app.connect("html-collect-pages", collect)
    app.connect("env-purge-doc", forget)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
