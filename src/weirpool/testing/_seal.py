"""The garbage and the warnings of a run, kept apart from those of others."""

from __future__ import annotations

import gc
import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ._checks import shown

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["sealed"]


@contextmanager
def sealed(complaints: list[str]) -> Generator[None, None, None]:
    """Keep the garbage of a run apart from what was before, and take down what would be printed."""
    hook, collecting = sys.unraisablehook, gc.isenabled()
    gc.collect(0)
    gc.disable()  # garbage is collected at the end, or else who knows when
    so_far = gc.get_stats()
    sys.unraisablehook = lambda args: complaints.append(f"{args.err_msg or 'exception ignored'}: {shown(args.exc_value)}")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
            # All objects of the run are in the youngest generation, unless the program has collected garbage itself.
            gc.collect(0 if gc.get_stats() == so_far else 2)
    finally:
        sys.unraisablehook = hook
        if collecting:
            gc.enable()
    complaints.extend(f"{warning.category.__name__}: {warning.message}" for warning in caught)
