"""How Sphinx makes the site of these pages: `python -m sphinx -W -n docs site`.

It asks nothing of the network, and every warning is an error: a link that leads nowhere, a page in no table of contents, a
name in a signature that nobody knows. The pages are read in the repository, too: what makes both work is in `_ext`.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import weirpool  # noqa: F401  # the reference is made from what is installed; without it, say so at once

project = "weirpool"
author = "The weirpool developers"
project_copyright = author

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.linkcode",
    "names_in_docstrings",
    "pictures_in_both_schemes",
    "links_out_of_docs",
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_ext", "_static"]
nitpicky = True

myst_heading_anchors = 4  # those that the repository's viewer makes
myst_enable_extensions = ["attrs_inline", "colon_fence"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"
autodoc_use_type_comments = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes as a list of fields: they are documented with their class
napoleon_use_rtype = False
napoleon_attr_annotations = False  # they are in the signature
default_role = "name"
pygments_dark_style = "github-dark"

# Names in signatures that lead nowhere: those of other libraries, whose inventories would have to come from the network, as
# they are written where they are imported for type checkers only; type variables; names for types, which the text explains.
nitpick_ignore_regex = [
    ("py:.*", r"(asyncio|collections\.abc|contextlib|weakref)\..*"),
    ("py:class", r"AbstractAsyncContextManager|Context|MeterProvider|TracerProvider|AsyncLimiter|AsyncRetrying|pytest\..*"),
    ("py:class", r"(aiohttp|litestar|fastapi|starlette)\..*|web\.\w+|FastAPI|Starlette|Quart|AppConfig|HTTPConnection"),
    ("py:class", r"(Json|JSON|Http)?Response|HttpRequest"),
    ("py:class", r"(weirpool\..*\.)?(E|I|I_co|P|R|T|T_co|Ts)"),
    ("py:class", r"weirpool\.integrations\.fastapi\._pools"),  # a part of what the alias is one of
    ("py:class", r"App|Key|Main|Progress|SubmitOptions|TraceMode|Unread|Until|NumberingLoop|Future"),
]

html_theme = "furo"
html_title = "weirpool"
html_static_path = ["_static"]
html_favicon = "_static/favicon.svg"
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#2f6fb0", "color-brand-content": "#2f6fb0"},
    "dark_css_variables": {"color-brand-primary": "#6cb6ff", "color-brand-content": "#6cb6ff"},
}
