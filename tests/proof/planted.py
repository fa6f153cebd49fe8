"""Bugs to plant, each of a kind that pools have had, to see that the explorer finds them.

A bug is a change of one function's text. If that text is no longer there, the function was rewritten, and so must the bug be.
"""

from __future__ import annotations

import inspect
import textwrap
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weirpool import WorkerPool, _admission, _crew, _runner

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BUGS", "Bug"]


@dataclass(frozen=True, slots=True)
class Bug:
    """A change of one function.

    Args:
        what: the bug, in words.
        owner: the class or module that has the function.
        function: its name there.
        changes: texts that occur there once, and what they become.
    """

    what: str
    owner: Any
    function: str
    changes: tuple[tuple[str, str], ...]

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Have the bug for a while."""
        original = getattr(self.owner, self.function)
        source = textwrap.dedent(inspect.getsource(original))
        for old, new in self.changes:
            if source.count(old) != 1:
                raise LookupError(f"{self.what}: {old!r} is {source.count(old)} times in {self.function}, plant it anew")
            source = source.replace(old, new)
        found: dict[str, Any] = {}
        exec(compile("from __future__ import annotations\n" + source, "planted", "exec"), original.__globals__, found)
        setattr(self.owner, self.function, found[original.__name__])
        try:
            yield
        finally:
            setattr(self.owner, self.function, original)


BUGS = (
    Bug(
        "a lost wake-up: a cancelled submitter keeps the room it was promised from the next",
        _admission.Admission,
        "_wait_for_room",
        (("            self._grant()\n", ""),),
    ),
    Bug(
        "a permit leaked on cancel: a cancelled submitter's reservation is never given back",
        _admission.Admission,
        "_wait_for_room",
        (("            self._reserved -= 1\n            self._grant()\n", "            self._grant()\n"),),
    ),
    Bug(
        "settle called twice: an abandoned job is settled again when it ends",
        _runner,
        "_end_otherwise",
        (("if job.state is not RUNNING:", "if False:"),),
    ),
    Bug(
        "aclose() changes the state after its first await",
        WorkerPool,
        "aclose",
        (("    closing.begin(budget)\n", "    await asyncio.sleep(0)\n    closing.begin(budget)\n"),),
    ),
    Bug(
        "a job's task that is cancelled before its first step is forgotten",
        _crew.Crew,
        "begin",
        (("run_job(job, run, self, plain)", "run_job(job, run, self, False)"), ("            coroutine.send(None)\n", "")),
    ),
    Bug(
        "a worker dies of a job that raises CancelledError",
        _crew,
        "run_job",
        (("except BaseException as raised:", "except Exception as raised:"),),
    ),
    Bug(
        "submit is accepted after intake was closed",
        _admission.Admission,
        "_wait_for_room",
        (("    if self._ledger.pool is not OPEN:\n        self._refuse_closed()\n", ""),),
    ),
    Bug(
        "one job too many is admitted",
        _admission.Admission,
        "admit",
        (("queued < self._queue_size", "queued <= self._queue_size"),),
    ),
)
