"""Make of weirpool's docstrings what reStructuredText and autodoc would not by themselves.

What stands in single backticks is linked to its place in the reference, where it has one. Docstrings say `WorkerPool.submit`,
and `timeout_graceful_shutdown` just the same: a name that is none of weirpool's is code.
"""

from __future__ import annotations

import enum
import inspect
import re
from typing import TYPE_CHECKING, Any

from sphinx.domains.python import PyObject, PyXRefRole

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
PRIVATE = re.compile(r"weirpool(\.\w+)*\._\w+\.(\w+)")
FAMILIES = (
    "weirpool",
    "weirpool.WorkerPool",
    "weirpool.integrations",
    "weirpool.policies",
    "weirpool.testing",
    "weirpool.events",
)
# What these are made of is weirpool's affair: nobody else makes one.
MADE_BY_WEIRPOOL = {
    "Batch",
    "FromThread",
    "Group",
    "JobHandle",
    "MapResults",
    "OpenPools",
    "PoolExecutor",
    "Results",
    "Submitted",
    "Worker",
}


class NameRole(PyXRefRole):
    """The default role: a reference to a Python object, if there is one."""

    def result_nodes(self, document: nodes.document, env: BuildEnvironment, node: Any, is_ref: bool) -> Any:
        """Say that nothing is wrong where there is none."""
        node["refdomain"], node["reftype"], node["or_code"] = "py", "obj", True
        return super().result_nodes(document, env, node, is_ref)


def resolve(app: Sphinx, env: BuildEnvironment, node: Any, content: nodes.Node) -> nodes.Node | None:
    """Look a name up in the modules that have most of them, and else show it as code."""
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    if private := PRIVATE.fullmatch(target):  # where a type is made is not where it is documented
        target = private[2]
    elif not node.get("or_code"):
        return None
    name = NAME.match(target)
    if name and target[name.end() :] in ("", "()"):
        domain = env.get_domain("py")
        for family in FAMILIES:
            full = f"{family}.{name[0].removeprefix('pool.')}"
            found = domain.resolve_xref(env, node["refdoc"], app.builder, "obj", full, node, content)
            if found is not None:
                return found
    return content if node.get("or_code") else None


def leave_first_line(_: Sphinx, what: str, *rest: Any) -> None:
    """Keep napoleon from taking what stands before a colon in a property's docstring for a type: it spares the second line."""
    if what in {"attribute", "data", "property"}:
        rest[-1].insert(0, "\\ ")  # which reStructuredText removes


def write_call(
    _: Sphinx, what: str, name: str, thing: Any, __: Any, signature: str | None, result: str | None
) -> tuple[str, str | None] | None:
    """Show no arguments of classes that nobody is to call, and defaults that can be read."""
    if what == "class" and inspect.isclass(thing):
        made = name.rpartition(".")[2] in MADE_BY_WEIRPOOL
        if made or issubclass(thing, enum.Enum) or getattr(thing, "_is_protocol", False):
            return "", None
    if signature and "<" in signature:  # dataclasses say <factory> and <class 'Exception'>, which no parser takes
        return re.sub(r"<class '(\w+)'>", r"\1", signature.replace("<factory>", "...")), result
    return None


def setup(app: Sphinx) -> dict[str, bool]:
    """Be an extension of Sphinx."""
    for field in PyObject.doc_field_types:
        if field.name == "variable":
            field.label = "Attributes"
    app.add_role("name", NameRole())
    app.connect("missing-reference", resolve)
    app.connect("autodoc-process-docstring", leave_first_line, priority=100)
    app.connect("autodoc-process-signature", write_call)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
