"""Link what stands in single backticks in a docstring to its place in the reference, where it has one.

Docstrings say `WorkerPool.submit`, and `timeout_graceful_shutdown` just the same: a name that is none of weirpool's is code.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sphinx.domains.python import PyXRefRole

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
FAMILIES = ("weirpool", "weirpool.WorkerPool", "weirpool.integrations", "weirpool.policies", "weirpool.testing")


class NameRole(PyXRefRole):
    """The default role: a reference to a Python object, if there is one."""

    def result_nodes(self, document: nodes.document, env: BuildEnvironment, node: Any, is_ref: bool) -> Any:
        """Say that nothing is wrong where there is none."""
        node["refdomain"], node["reftype"], node["or_code"] = "py", "obj", True
        return super().result_nodes(document, env, node, is_ref)


def resolve(app: Sphinx, env: BuildEnvironment, node: Any, content: nodes.Node) -> nodes.Node | None:
    """Look a name up in the modules that have most of them, and else show it as code."""
    if not node.get("or_code"):
        return None
    name = NAME.match(node["reftarget"])
    if name and node["reftarget"][name.end() :] in ("", "()"):
        domain = env.get_domain("py")
        for family in FAMILIES:
            target = f"{family}.{name[0].removeprefix('pool.')}"
            found = domain.resolve_xref(env, node["refdoc"], app.builder, "obj", target, node, content)
            if found is not None:
                return found
    return content


def setup(app: Sphinx) -> dict[str, bool]:
    """Be an extension of Sphinx."""
    app.add_role("name", NameRole())
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
