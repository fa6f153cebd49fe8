"""What may be wrong in a line: the changes that can be made to a syntax tree, one at a time.

What only people read is left alone (docstrings, messages, annotations), and so is what only type checkers execute, and
`assert`, which is for them too. A condition is replaced by True and by False, which is harder to notice than its negation.
"""

from __future__ import annotations

import ast
import copy
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

N = TypeVar("N", bound=ast.AST)

_WORD = re.compile(r"[a-zA-Z_.]+")
_NEIGHBOUR: dict[type[ast.cmpop], type[ast.cmpop]] = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
_OPPOSITE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_OTHER: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.BitAnd: ast.BitOr,
}
_UNTOUCHED_FIELDS = {"annotation", "returns", "bases", "decorator_list", "type_comment", "ctx", "targets", "target", "body"}
_UNTOUCHED_NAMES = {"__all__", "__slots__"}
_UNTOUCHED_CALLS = {"TypeVar", "TypeVarTuple"}


@dataclass(frozen=True)
class Change:
    """Replace one part of a syntax tree.

    Attributes:
        scope: the dotted name of the function or class that it is in.
        statement: the statement (or `except` clause) that it is in.
        node: the part that is replaced, or whose part is.
        owner: the node that holds it in its `field`, at `index` if that is a list.
        new: what takes its place.
    """

    scope: str
    statement: ast.stmt | ast.excepthandler
    node: ast.AST
    owner: ast.AST
    field: str
    index: int | None
    new: ast.AST

    def apply(self) -> None:
        """Make the change, in the tree itself."""
        self._put(self.new)

    def undo(self) -> None:
        """Put back what was there."""
        self._put(self.node)

    def _put(self, node: ast.AST) -> None:
        if self.index is None:
            setattr(self.owner, self.field, node)
        else:
            getattr(self.owner, self.field)[self.index] = node


def changes(tree: ast.Module) -> Iterator[Change]:
    """Find every change that can be made to a module."""
    return _block(tree, "body", "", frozenset())


def _block(owner: ast.AST, field: str, scope: str, names: frozenset[str]) -> Iterator[Change]:
    """Find the changes in a list of statements; `names` have another value before they are assigned here."""
    for index, statement in enumerate(getattr(owner, field)):
        if _untouched(statement):
            continue
        for new in _other_statements(statement, names):
            yield Change(scope, statement, statement, owner, field, index, _at(new, statement))
        yield from _parts(statement, statement, scope)
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _block(statement, "body", f"{scope}.{statement.name}", _bound_twice(statement))
        elif isinstance(statement, ast.ClassDef):
            yield from _block(statement, "body", f"{scope}.{statement.name}", frozenset())
        else:
            for part in ("body", "orelse", "finalbody"):
                yield from _block(statement, part, scope, names) if hasattr(statement, part) else ()
            for at, handler in enumerate(getattr(statement, "handlers", ())):
                for kind in _other_kinds(handler):
                    new_handler = _with(handler, type=_at(kind, handler))
                    yield Change(scope, handler, handler, statement, "handlers", at, new_handler)
                yield from _block(handler, "body", scope, names)


def _untouched(statement: ast.stmt) -> bool:
    match statement:
        case ast.Import() | ast.ImportFrom() | ast.Assert() | ast.Pass() | ast.Expr(value=ast.Constant()):
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.If(test=ast.UnaryOp(operand=ast.Name(id="TYPE_CHECKING"))):
            return True
        case ast.ClassDef(bases=[ast.Name(id="Protocol")]):
            return True
        case ast.Assign(targets=[ast.Name(id=name)]) if name in _UNTOUCHED_NAMES:
            return True
        case ast.Assign(value=ast.Call(func=ast.Name(id=name))) if name in _UNTOUCHED_CALLS:
            return True
    return False


def _bound_twice(function: ast.FunctionDef | ast.AsyncFunctionDef) -> frozenset[str]:
    """Return the names that a deleted assignment would leave with another value, instead of with none."""
    arguments = [node.arg for node in ast.walk(function.args) if isinstance(node, ast.arg)]
    stored = [node.id for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    bound = arguments + stored
    return frozenset(name for name in bound if bound.count(name) > 1)


def _other_statements(statement: ast.stmt, names: frozenset[str]) -> Iterator[ast.stmt]:
    match statement:
        case ast.Expr() | ast.Raise() | ast.Delete() | ast.Continue() | ast.Break() | ast.Return(value=None):
            yield ast.Pass()
        case ast.Assign(targets=[target]) | ast.AnnAssign(target=target, value=ast.expr()) | ast.AugAssign(target=target):
            if not isinstance(target, ast.Name) or target.id in names:
                yield ast.Pass()
        case ast.With(body=body) | ast.AsyncWith(body=body):
            yield ast.If(test=ast.Constant(value=True), body=body, orelse=[])
    match statement:
        case ast.AugAssign(op=op) if type(op) in _OTHER:
            yield _with(statement, op=_OTHER[type(op)]())
        case ast.Return(value=ast.expr() as value) if not _says_no(value):
            yield ast.Return(value=ast.Constant(value=None))
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            kept = statement.decorator_list
            for index, decorator in enumerate(kept):
                if not (isinstance(decorator, ast.Name) and decorator.id == "property"):
                    yield _with(statement, decorator_list=_without(kept, index))
            for keyword_owner in (d for d in kept if isinstance(d, ast.Call)):
                for index in range(len(keyword_owner.keywords)):
                    fewer = _with(keyword_owner, keywords=_without(keyword_owner.keywords, index))
                    yield _with(statement, decorator_list=[fewer if d is keyword_owner else d for d in kept])


def _says_no(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and (value.value is None or value.value is False)


def _other_kinds(handler: ast.ExceptHandler) -> Iterator[ast.expr]:
    """Narrow an `except` clause, down to one that catches nothing."""
    if isinstance(handler.type, ast.Name) and handler.type.id == "BaseException":
        yield ast.Name(id="Exception", ctx=ast.Load())
    yield ast.Tuple(elts=[], ctx=ast.Load())


def _parts(node: ast.AST, statement: ast.stmt, scope: str) -> Iterator[Change]:
    """Find the changes in the expressions of a statement, not in the statements inside it."""
    for field, value in ast.iter_fields(node):
        if field in _UNTOUCHED_FIELDS and not (field == "body" and isinstance(node, ast.IfExp | ast.Lambda)):
            continue
        for index, part in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if (
                isinstance(part, ast.JoinedStr)
                or not isinstance(part, ast.AST)
                or isinstance(part, ast.stmt | ast.excepthandler)
            ):
                continue
            if isinstance(part, ast.expr):
                for new in _other_expressions(part, node, field):
                    yield Change(scope, statement, part, node, field, index, _at(new, part))
            yield from _parts(part, statement, scope)


def _other_expressions(node: ast.expr, owner: ast.AST, field: str) -> Iterator[ast.expr]:
    condition = field == "test" and isinstance(owner, ast.If | ast.While)
    if condition:
        yield ast.Constant(value=False)
        if isinstance(owner, ast.If):
            yield ast.Constant(value=True)
    elif field == "ifs":
        yield ast.Constant(value=True)
    elif field == "iter":
        yield ast.Tuple(elts=[], ctx=ast.Load())
    match node:
        case ast.Compare():
            yield from _other_comparisons(node, negated=not condition and not isinstance(owner, ast.IfExp))
        case ast.BoolOp(op=op, values=values):
            yield _with(node, op=ast.Or() if isinstance(op, ast.And) else ast.And())
            for index in range(len(values)):
                fewer = _without(values, index)
                yield fewer[0] if len(fewer) == 1 else _with(node, values=fewer)
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield operand
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            yield from (left, right)
        case ast.BinOp(op=op) if type(op) in _OTHER:
            yield _with(node, op=_OTHER[type(op)]())
        case ast.IfExp(body=body, orelse=orelse):
            yield from (body, orelse)
        case ast.Call():
            yield from _other_calls(node)
        case ast.Set(elts=elements):
            yield from (_with(node, elts=_without(elements, index)) for index in range(len(elements)))
        case ast.Constant(value=value) if not isinstance(owner, ast.Compare) or value is not None:
            yield from (ast.Constant(value=other) for other in _other_values(value))


def _other_comparisons(node: ast.Compare, *, negated: bool) -> Iterator[ast.expr]:
    for index, op in enumerate(node.ops):
        for table in (_NEIGHBOUR, _OPPOSITE) if negated else (_NEIGHBOUR,):
            if type(op) in table:
                yield _with(node, ops=[*node.ops[:index], table[type(op)](), *node.ops[index + 1 :]])


def _other_calls(node: ast.Call) -> Iterator[ast.expr]:
    for index, keyword in enumerate(node.keywords):
        if keyword.arg is not None:
            yield _with(node, keywords=_without(node.keywords, index))
    if isinstance(node.func, ast.Name) and node.func.id in {"min", "max"}:
        yield _with(node, func=ast.Name(id="max" if node.func.id == "min" else "min", ctx=ast.Load()))
        if len(node.args) > 1:
            yield from node.args


def _other_values(value: object) -> tuple[bool | int | float | str, ...]:
    match value:
        case bool():
            return (not value,)
        case None:
            return (0,)
        case int():
            return (value + 1, value - 1)
        case float():
            return (value + 1, value / 2) if value else (1.0,)
        case str() if _WORD.fullmatch(value):
            return (f"not_{value}",)
    return ()


def _with(node: N, **fields: object) -> N:
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


def _without(nodes: Sequence[N], index: int) -> list[N]:
    return [*nodes[:index], *nodes[index + 1 :]]


def _at(new: N, old: ast.AST) -> N:
    """Give a new node, and the new ones in it, the place of the old."""
    if not hasattr(new, "lineno"):
        ast.copy_location(new, old)
    return ast.fix_missing_locations(new)
