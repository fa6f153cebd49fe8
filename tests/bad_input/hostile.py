"""Things that fight back when they are looked at, and things that are not what they say."""

from __future__ import annotations

import enum
import fractions
import types
import unittest.mock
import weakref
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

OPERATIONS = [
    *("repr", "str", "format", "hash", "bool", "len", "iter", "contains", "getitem", "int", "float", "index", "complex"),
    *("eq", "ne", "lt", "le", "gt", "ge", "add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "neg", "round"),
    *("getattribute", "setattr", "reduce_ex", "sizeof", "dir", "instancecheck"),
]


class Refusal(Exception):
    """What hostile things raise, so that a test can tell that from an error of the pool."""


def refuse(*_: Any, **__: Any) -> NoReturn:
    """Be whatever method that raises."""
    raise Refusal("do not touch me")


def fighting(base: type) -> Any:
    """Return a subclass whose every operation raises, and every look at an attribute, `__class__` among them."""
    return type(f"Fighting{base.__name__.title()}", (base,), {f"__{name}__": refuse for name in OPERATIONS})


FightingObject, FightingInt, FightingFloat, FightingStr = map(fighting, (object, int, float, str))
FightingList = fighting(list)


class Proxy:
    """As those of werkzeug and Django: outside of its context or transaction, even to ask for its class raises."""

    @property
    def __class__(self) -> Any:
        refuse()

    @__class__.setter
    def __class__(self, _: object) -> None:
        refuse()


class Liar:
    """Claims to be whatever it is asked for, and is nothing of it."""

    def __init__(self, kind: type) -> None:
        self.kind = kind

    @property
    def __class__(self) -> Any:
        return self.kind

    @__class__.setter
    def __class__(self, _: object) -> None:
        refuse()


class Unnamed(type):
    """A metaclass whose classes do not tell their names."""

    def __getattribute__(cls, name: str) -> Any:
        if name in {"__name__", "__qualname__", "__module__"}:
            refuse()
        return super().__getattribute__(name)


class OfUnnamed(metaclass=Unnamed):
    """Something whose class does not tell its name."""


class Says:
    """Something whose repr is just this."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


class Float32:
    """As numpy's: a number that can be compared and converted, and is no float."""

    def __float__(self) -> float:
        return 3.0

    def __gt__(self, other: object) -> bool:
        return True

    __ge__ = __lt__ = __le__ = __gt__


class Int64(Float32):
    """As numpy's: a number that may stand for an index, and is no int."""

    def __index__(self) -> int:
        return 3

    __int__ = __index__


class Subtle(float):
    """As numpy's float64: a number of another library that is a float."""


class Big(int):
    """A whole number of another library."""


class Colour(str, enum.Enum):  # noqa: UP042  (a StrEnum is called by its value, this one is not)
    """As many configurations have it: a name that is a member of an enum; `str()` calls it Colour.RED."""

    RED = "red"


class Disguised(str):
    """A text that has another face for whoever shows it."""

    def __str__(self) -> str:
        return "evil\nCRITICAL forged entry"

    def isprintable(self) -> bool:
        return True

    def __len__(self) -> int:
        return 3


def dead() -> Any:
    """Return a weak proxy of what has gone."""
    return weakref.proxy(Float32())


# No number, no text, no function, no observer, whatever they say; each is made anew, since some can't be compared or kept.
NOTHINGS: dict[str, Callable[[], Any]] = {
    "fighting object": FightingObject,
    "fighting list": FightingList,
    "proxy": Proxy,
    "says that it is an int": lambda: Liar(int),
    "says that it is a str": lambda: Liar(str),
    "of a class without a name": OfUnnamed,
    "dead": dead,
    "float32": Float32,
    "int64": Int64,
    "fraction": lambda: fractions.Fraction(3),
    "simple namespace": types.SimpleNamespace,
    "mock without a call": unittest.mock.NonCallableMagicMock,
    "repr of two lines": lambda: Says("3\nCRITICAL forged entry"),
    "repr that colours a terminal": lambda: Says("\x1b[31m3"),
    "repr that can't be encoded": lambda: Says("\ud800"),
    "repr of a megabyte": lambda: Says("3" * 1_000_000),
    "repr that fights back": lambda: Says(FightingStr("3")),
    "not implemented": lambda: NotImplemented,
    "10 MB": lambda: b"3" * 10_000_000,
}
