"""Bugs to plant, each of a kind that pools have had, to see that the explorer finds them.

A bug is a change of one function's text, which finds the function, too. If that text is no longer there, the function was
rewritten, and so must the bug be.
"""

from __future__ import annotations

import inspect
import textwrap
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weirpool import WorkerPool, _admission, _closing, _crew, _runner

if TYPE_CHECKING:
    import types
    from collections.abc import Iterator

__all__ = ["BUGS", "Bug"]


@dataclass(frozen=True, slots=True)
class Bug:
    """A change of one function.

    Args:
        what: the bug, in words.
        owner: the class that has the function; or a module, all of whose functions and methods are searched.
        changes: texts that occur once in that function, and what they become. The first is what it is found by.
    """

    what: str
    owner: Any
    changes: tuple[tuple[str, str], ...]

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Have the bug for a while."""
        owner, original = self._find()
        source = textwrap.dedent(inspect.getsource(original))
        for old, new in self.changes:
            if source.count(old) != 1:
                raise LookupError(f"{self.what}: {old!r} is {source.count(old)} times in {original}, plant it anew")
            source = source.replace(old, new)
        found: dict[str, Any] = {}
        exec(compile("from __future__ import annotations\n" + source, "planted", "exec"), original.__globals__, found)
        setattr(owner, original.__name__, found[original.__name__])
        try:
            yield
        finally:
            setattr(owner, original.__name__, original)

    def _find(self) -> tuple[Any, types.FunctionType]:
        """Return the function, and who has it."""
        text = self.changes[0][0]
        found = [
            (owner, function)
            for owner in self._owners()
            for function in vars(owner).values()
            if inspect.isfunction(function) and text in textwrap.dedent(inspect.getsource(function))
        ]
        if len(found) != 1:
            raise LookupError(f"{self.what}: {text!r} is in {len(found)} functions of {self.owner}, plant it anew")
        return found[0]

    def _owners(self) -> Iterator[Any]:
        yield self.owner
        if inspect.ismodule(self.owner):
            for thing in vars(self.owner).values():
                if inspect.isclass(thing) and thing.__module__ == self.owner.__name__:
                    yield thing


BUGS = (
    Bug(
        "a lost wake-up: a cancelled submitter keeps the room it was promised from the next",
        _admission.Admission,
        (("            self._reserved -= 1\n            self._grant()\n", "            self._reserved -= 1\n"),),
    ),
    Bug(
        "a permit leaked on cancel: a cancelled submitter's reservation is never given back",
        _admission.Admission,
        (("            self._reserved -= 1\n            self._grant()\n", "            self._grant()\n"),),
    ),
    Bug(
        "settle called twice: an abandoned job is settled again when it ends",
        _runner,
        (("    if job.status is not RUNNING:\n        crew.ended_late(job)\n    else:", "    if True:"),),
    ),
    Bug(
        "aclose() changes the state after its first await",
        WorkerPool,
        (("    closing.begin(budget)\n", "    await asyncio.sleep(0)\n    closing.begin(budget)\n"),),
    ),
    Bug(
        "a job's task that is cancelled before its first step is forgotten",
        _crew.Crew,
        (
            ("run_job(job, run, self, plain)", "run_job(job, run, self, False)"),
            ("        if plain:\n            coroutine.send(None)\n", ""),
        ),
    ),
    Bug(
        "a worker dies of a job that raises CancelledError",
        _crew,  # which has imported that function
        (("except BaseException as raised:", "except Exception as raised:"),),
    ),
    Bug(
        "submit is accepted after intake was closed",
        _admission.Admission,
        (
            (
                "    if self._ledger.pool is not OPEN:\n        self._refusals.not_open()\n    ticket = job.ticket\n",
                "    ticket = job.ticket\n",
            ),
        ),
    ),
    Bug(
        "one job too many is admitted",
        _admission.Admission,
        (("elif queued < self._queue_size", "elif queued <= self._queue_size"),),
    ),
    Bug(
        "leaving the block takes three times the budget and a second",
        WorkerPool,
        (("await self.aclose()", "await self.aclose(timeout=3 * self._shutdown_timeout + 1)"),),
    ),
    Bug(
        "a block that is cancelled drains, instead of cancelling its jobs",
        WorkerPool,
        (("self._closing.escalate()", "pass"),),
    ),
    Bug(
        "a job gets twice its timeout",
        WorkerPool,
        (
            (
                '_checks.seconds("timeout", timeout, none="no limit")',
                '2 * _checks.seconds("timeout", timeout, none="no limit")',
            ),
        ),
    ),
    Bug(
        "a TimeoutError of the job's own counts as its timeout",
        _runner,
        (
            (
                "return FAILED, crew.failure(job, error)",
                "return TIMED_OUT if is_a(error, TimeoutError) else FAILED, Failure(error, job.name, crew.name)",
            ),
        ),
    ),
    Bug(
        "a job is called although its deadline has passed",
        _crew,  # which has imported that function
        (("raise _TooLate", "pass"),),
    ),
    Bug(
        "a closing pool gives jobs half of their grace",
        _closing,
        (("self._give_up_at = self._cancelled_at + self._grace", "self._give_up_at = self._cancelled_at + self._grace / 2"),),
    ),
    Bug(
        "a job that is cancelled, or out of time, gets half of its grace",
        _crew,
        (("half = self._grace / 2", "half = self._grace / 4"),),
    ),
    Bug(
        "closing cancels at once, without a drain",
        _closing,
        (("now + timeout - self._grace", "now"),),
    ),
    Bug(
        "aclose(), when it is cancelled, goes on to drain",
        _closing,
        (("self.escalate()", "pass"),),
    ),
    Bug(
        "run(), when it is cancelled, does not wait for its job",
        WorkerPool,
        (("await leave(handle, error)", "handle.cancel()"),),
    ),
    Bug(
        "run(), when it is cancelled, leaves its job alone",
        WorkerPool,
        (("await leave(handle, error)", "pass"),),
    ),
    Bug(
        "a job cancelled in the queue says that it was the shutdown",
        _crew,
        (
            (
                "self._leave_queue(job, CANCELLED, job.cancelled(reason))",
                'self._leave_queue(job, CANCELLED, job.cancelled("shutdown"))',
            ),
        ),
    ),
    Bug(
        "a job abandoned after its deadline raises JobCancelled",
        _crew,
        (('job.timed_out("running", abandoned=True)', 'job.cancelled("deadline", abandoned=True)'),),
    ),
    Bug(
        "submit() waits ten times its submit_timeout",
        WorkerPool,
        (
            (
                "return await self._admission.wait(job, self._settings.submit_timeout)",
                "return await self._admission.wait(job, (self._settings.submit_timeout or 0) * 10 or None)",
            ),
        ),
    ),
    Bug(
        "a job that has swallowed a cancellation of its own is never told that the pool closes",
        _crew,
        (('reason == "cancel" or not self.supervisor.told(task)', 'reason == "cancel" or not task.cancelling()'),),
    ),
)
