"""Asking a controller, which may be a user's, and nothing of what it raises.

That is logged once, and it is not asked again.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from ._errors import is_a
from ._exits import raise_in_loop
from ._logs import fields

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__ = ["Asking"]

C = TypeVar("C")
T = TypeVar("T")


class Asking(Generic[C]):
    """Ask one pool's controller.

    Args:
        about: of which policy it is.
        pool: the pool's name.
        controller: the controller; None: there is nobody to ask.
        loop: the pool's event loop.

    Attributes:
        controller: None once it has raised.
    """

    __slots__ = ("_about", "_loop", "_pool", "controller")

    def __init__(
        self, about: Literal["scaling", "overload"], pool: str, controller: C | None, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._about = about
        self._pool = pool
        self._loop = loop
        self.controller: C | None = controller

    def ask(self, question: Callable[[C], T], otherwise: T) -> T:
        """Return the answer to a question; or something else, if there is nobody to ask."""
        if self.controller is None:
            return otherwise
        try:
            return question(self.controller)
        except BaseException as error:
            self.controller = None
            with suppress(Exception):  # whatever a logging handler does, the pool has to go on
                _LOGS[self._about].exception(
                    "the %s policy of pool %r raised, and is not asked any more",
                    self._about,
                    self._pool,
                    extra=fields("policy.failed", self._pool, policy=self._about),
                )
            if is_a(error, KeyboardInterrupt, SystemExit):
                raise_in_loop(self._loop, error)
            return otherwise


_LOGS = {"scaling": logging.getLogger("weirpool.scaler"), "overload": logging.getLogger("weirpool.overload")}
