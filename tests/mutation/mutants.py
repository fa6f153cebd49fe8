"""The mutants of a module: each has a name that survives shifted lines, and can be loaded in the module's stead."""

from __future__ import annotations

import ast
import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import marshal
import sys
import types
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.mutation.operators import Change, changes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "weirpool"


@dataclass(frozen=True, eq=False)
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
        function: the outermost function that it is in the body of, if it is in one.
    """

    module: str
    scope: str
    was: str
    now: str
    nth: int
    lines: range
    scope_lines: range
    function: str | None
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
        """Have this in the module's stead, in this process from now on.

        In a module that is there already, a function gets another body; which only works for what has a `function`.
        """
        self.change.apply()
        path = str(SOURCE / f"{self.module}.py")
        code = compile(self.tree, path, "exec")
        module = sys.modules.get(f"weirpool.{self.module}")
        if module is None:
            sys.meta_path.insert(0, _Finder(f"weirpool.{self.module}", path, code))
            return
        assert self.function is not None
        function: Any = module
        for name in self.function.split("."):
            function = vars(function)[name]
        function = getattr(function, "fget", None) or getattr(function, "__func__", function)
        new = _code(code, self.function)
        kept = function.__code__.co_flags & inspect.CO_ITERABLE_COROUTINE  # set by types.coroutine
        function.__code__ = new.replace(co_flags=new.co_flags | kept)


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
    """Make every mutant of a module that compiles, and not to the same code."""
    tree = ast.parse((SOURCE / f"{module}.py").read_text() if source is None else source)
    original = compile(tree, module, "exec")
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    seen: Counter[tuple[str, str, str]] = Counter()
    for change in list(changes(tree)):
        was = _line(change.statement)
        change.apply()
        now = _line(change.new if change.node is change.statement else change.statement)
        try:
            code = compile(tree, module, "exec")
        except SyntaxError:  # without the assignment there is nothing that is nonlocal
            continue
        finally:
            change.undo()
        if marshal.dumps(code) == marshal.dumps(original):
            continue
        scope = module + change.scope
        seen[scope, was, now] += 1
        lines = _lines(change.node)
        around = [range(f.lineno, (f.end_lineno or f.lineno) + 1) for f in functions]
        inside = min((r for r in around if lines.start in r), key=len, default=range(0))
        function = _function(tree, change.scope)
        if function is not None and _code(code, function).co_freevars != _code(original, function).co_freevars:
            function = None  # a function can't get a body with other ones
        yield Mutant(module, scope, was, now, seen[scope, was, now], lines, inside, function, tree, change)


def _function(tree: ast.Module, scope: str) -> str | None:
    """Return the outermost function of a scope."""
    body, path = tree.body, ""
    for name in scope.split(".")[1:]:
        # The last one of a name is what runs: those before it are overloads.
        node = [n for n in body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and n.name == name][-1]
        path = f"{path}.{name}" if path else name
        if not isinstance(node, ast.ClassDef):
            return path
        body = node.body
    return None


def _code(code: types.CodeType, path: str) -> types.CodeType:
    """Find the code of a function in that of its module."""
    for name in path.split("."):
        code = [part for part in code.co_consts if isinstance(part, types.CodeType) and part.co_name == name][-1]
    return code


def _line(node: ast.AST) -> str:
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
