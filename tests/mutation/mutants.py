"""The mutants of a module: each has a name that survives shifted lines, and can be loaded in the module's stead."""

from __future__ import annotations

import ast
import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import marshal
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.mutation.operators import Change, changes

if TYPE_CHECKING:
    import types
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "weirpool"


@dataclass(frozen=True)
class Mutant:
    """Name one change of one module.

    Attributes:
        module: the module's name, without the package's.
        scope: the dotted name of what it is in, beginning with the module's.
        was: the line as it is.
        now: the line as it would be.
        nth: which one it is of several that read the same.
        lines: the lines whose execution may show the difference.
        scope_lines: the lines of the function that it is in, if it is in one.
    """

    module: str
    scope: str
    was: str
    now: str
    nth: int
    lines: range
    scope_lines: range
    tree: ast.Module
    change: Change

    @property
    def id(self) -> str:
        """A short name that stays the same as long as the statement and its function's name do."""
        text = "\n".join((self.scope, self.was, self.now, str(self.nth)))
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    def __str__(self) -> str:
        return f"{self.id} {self.scope}, line {self.lines.start}\n  - {self.was}\n  + {self.now}"

    def install(self) -> None:
        """Have this imported instead of the module, in this process from now on."""
        self.change.apply()
        path = str(SOURCE / f"{self.module}.py")
        sys.meta_path.insert(0, _Finder(f"weirpool.{self.module}", path, compile(self.tree, path, "exec")))


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, name: str, path: str, code: types.CodeType) -> None:
        self.name = name
        self.loader = _Loader(name, path)
        self.loader.code = code

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.name:
            return None
        return importlib.util.spec_from_file_location(fullname, self.loader.path, loader=self.loader)


class _Loader(importlib.machinery.SourceFileLoader):
    code: types.CodeType

    def get_code(self, fullname: str) -> types.CodeType:
        return self.code


def modules() -> list[str]:
    """Name the modules of the core."""
    return sorted(path.stem for path in SOURCE.glob("_[a-z]*.py"))


def mutants(module: str, source: str | None = None) -> Iterator[Mutant]:
    """Make every mutant of a module that does not compile to the same code."""
    text = (SOURCE / f"{module}.py").read_text() if source is None else source
    tree = ast.parse(text)
    original = marshal.dumps(compile(tree, module, "exec"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    seen: Counter[tuple[str, str, str]] = Counter()
    for change in list(changes(tree)):
        was = _line(change, change.statement)
        change.apply()
        now = _line(change, change.new if change.node is change.statement else change.statement)
        same = marshal.dumps(compile(tree, module, "exec")) == original
        change.undo()
        if same:
            continue
        scope = module + change.scope
        seen[scope, was, now] += 1
        lines = _lines(change.node)
        around = [range(f.lineno, (f.end_lineno or f.lineno) + 1) for f in functions]
        inside = min((r for r in around if lines.start in r), key=len, default=range(0))
        yield Mutant(module, scope, was, now, seen[scope, was, now], lines, inside, tree, change)


def _line(change: Change, node: ast.AST) -> str:
    """Write a statement in one line: of a compound one only its head, with decorators if it has any."""
    written = ast.unparse(node).strip().splitlines()
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        head = 1 + next(index for index, line in enumerate(written) if not line.startswith("@"))
        return " ".join(written[:head])
    return written[0]


def _lines(node: ast.AST) -> range:
    """Return the lines of a node; of a compound statement those of its head."""
    first: int = getattr(node, "lineno", 1)
    last: int = getattr(node, "end_lineno", first)
    body = getattr(node, "body", None)
    if isinstance(body, list):
        last = max(first, min(last, body[0].lineno - 1))
    return range(first, last + 1)
