"""The command itself: the pool, what goes into it and what comes out, the signals and the exit status."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import stat
import sys
from typing import TYPE_CHECKING, Any

import weirpool
from weirpool import Failed, JobCancelled, PoolClosed, PoolOverloaded, PoolState, WorkerPool
from weirpool.policies import Retry
from weirpool.standalone import listening

from ._errors import CommandError
from ._function import job
from ._journal import Journal, Ranges, anew
from ._lines import BadLine, Lines
from ._outputs import Outputs, cut, opened
from ._progress import Progress

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path
    from typing import TextIO

    from ._options import Options

__all__ = ["run"]

_ALL_DONE, _SOME_FAILED, _STOPPED = 0, 1, 3
_BY_SIGNAL = 128
_PIPE = 141  # nobody reads the results any more: 128 + SIGPIPE
_GRACE = 2.0  # seconds
_EXIT = 1.0  # as all has been written by then


def run(function: str, options: Options) -> int:
    """Call the function with each item, and return the exit status.

    Raises:
        CommandError: the command can't begin; nothing has been changed.
    """
    with contextlib.ExitStack() as stack:
        command = Command(function, options, stack)
        try:
            code = weirpool.run(command.main, exit_timeout=_EXIT)
        except SystemExit:  # of `main`, by which the status is known if the process has to be ended; or of what is not ours
            code = _STOPPED
        return command.status or code


class Command:
    """Carry out one call of the command.

    Args:
        function: what to call, as `module:name`.
        options: how.
        stack: what closes its files.

    Attributes:
        status: the exit status, as far as it is known.

    Raises:
        CommandError: it can't begin.
    """

    def __init__(self, function: str, options: Options, stack: contextlib.ExitStack) -> None:
        self._function = function
        self._options = options
        self.status = 0
        self._trouble: str | None = None
        standard = _Standard(options, stack)
        self._pool = WorkerPool(
            max_workers=options.workers,
            # At a rate what waits in the queue may wait for long, and would hold up the end: then nothing does.
            queue_size=2 * options.workers if options.rate is None else 0,
            job_timeout=options.timeout,
            rate=options.rate,
            shutdown_timeout=options.shutdown_timeout,
            cancel_grace=min(_GRACE, options.shutdown_timeout),
            name="map",
        )
        self._job: Callable[[Any], Awaitable[Any]] = job(function, self._is_cut_off, processes=options.processes)
        source = standard.input if options.input is None else _opened_input(options.input, stack)
        _check_files(options, source, standard.output)
        journal = self._opened_journal(source, stack)
        self._failed_before = 0 if journal is None else journal.failed
        ends = (0, 0) if journal is None else (journal.output, journal.failures)
        names = (("--output", options.output), ("--failures", options.failures))
        files = [_opened(*name, journal, end, stack) for name, end in zip(names, ends, strict=True)]
        for file, end in zip(files, ends, strict=True):
            if file is not None:
                cut(file, end)
        self._results, failures = files
        if journal is not None:
            journal.begin()
        results = standard.output if self._results is None else self._results
        # Where results come on the terminal, too, a line that changes would be in their way.
        self._quiet = options.quiet or (self._results is None and os.isatty(results))
        self._outputs = Outputs(results, failures, journal, numbered=options.numbered)
        done, head, saw = (Ranges(), b"", None) if journal is None else (journal.done, journal.head, journal.saw)
        self._done_before = len(done)
        self._lines = Lines(
            source,
            text=options.lines,
            replay=options.replay,
            is_done=done.__contains__,
            blank=self._outputs.pass_over,
            head=head,
            saw=saw,
        )

    def _opened_journal(self, source: int, stack: contextlib.ExitStack) -> Journal | None:
        options = self._options
        if options.journal is None:
            return None
        about = {
            "function": self._function,
            "lines": options.lines,
            "numbered": options.numbered,
            "replay": options.replay,
            "output": str(options.output and options.output.absolute()),
            "failures": str(options.failures and options.failures.absolute()),
        }
        journal = Journal(options.journal, about, source)
        stack.callback(journal.close)
        return journal

    # The run ------------------------------------------------------------------------------------------------------------

    async def main(self) -> None:
        """Run, and leave by the exit status."""
        options, pool = self._options, self._pool
        progress = Progress(
            sys.stderr,
            terminal=sys.stderr.isatty(),
            quiet=self._quiet,
            total=options.total,
            before=self._done_before,
            lines=self._lines,
            outputs=self._outputs,
            stats=pool.stats,
        )
        signals = listening(asyncio.get_running_loop())
        with _talking(progress, apart=self._results is None), signals, signals.serving():  # to the end, also after `serve`
            try:
                async with pool:
                    await self._through(pool, progress)
            except* BrokenPipeError:
                self.status = _PIPE
            except* OSError as errors:
                self._trouble = f"can't write: {errors.exceptions[0]}"
            self.status = self.status or self._ended(signals.last)
            self._say_failures(progress)
            progress.end()
            if self._trouble is not None:
                progress.say(f"weirpool map: {self._trouble}")
        if self.status:
            raise SystemExit(self.status)

    def _is_cut_off(self) -> bool:
        """Say whether all that is under way has been cancelled."""
        return self._pool.state is PoolState.CANCELLING

    def _ended(self, signal: int) -> int:
        if signal:
            return _BY_SIGNAL + signal
        if self._trouble is not None:
            return _STOPPED
        return _SOME_FAILED if self._outputs.failed + self._failed_before else _ALL_DONE

    async def _through(self, pool: WorkerPool, progress: Progress) -> None:
        def stop() -> None:
            self._lines.stop()
            progress.note = "stopping"
            progress.say("weirpool map: no more items are read; what has begun is finished (once more: it is cancelled)")

        async with asyncio.TaskGroup() as group:
            others = [
                group.create_task(weirpool.serve(pool, on_stop=stop)),
                group.create_task(self._outputs.keep_writing()),
                group.create_task(_keep_showing(progress)),
            ]
            try:
                await self._take_all(pool)
            finally:
                for each in others:
                    each.cancel()

    def _say_failures(self, progress: Progress) -> None:
        """Say what has failed first, unless that is written to a file."""
        if self._options.failures is None:
            for entry in self._outputs.first_failures:
                progress.say(f"weirpool map: line {entry['line']}: {entry['error']}: {entry['message']:.200}")
            if self._outputs.failed > len(self._outputs.first_failures):
                progress.say("weirpool map: --failures FILE has all of them")

    async def _take_all(self, pool: WorkerPool) -> None:
        options, outputs = self._options, self._outputs
        # Each item as often as was asked for, however many fail: nobody is kept waiting by that but this run.
        retry = Retry(attempts=1 + options.retries, share=1) if options.retries else None
        results = pool.map(
            self._job,
            self._lines.source(),
            ordered=not options.unordered,
            on_error="return",
            name=self._function,
            retry=retry,
        )
        try:
            async with results, outputs:  # the results that there are, before what is under way is waited for
                async for result in results:
                    self._take(result)
                    if outputs.many:
                        await outputs.flush()
                    if options.max_failures is not None and outputs.failed >= options.max_failures and not self._trouble:
                        self._trouble = f"stopped after {outputs.failed:,} failures (--max-failures)"
                        self._lines.stop()
        except PoolClosed:  # by a signal, while an item waited for room, which will be read again
            pass
        except PoolOverloaded as error:
            self._trouble = f"stopped: {error}"

    def _take(self, result: Any) -> None:
        """Note what has become of one item."""
        if isinstance(result, Failed):
            if not _is_undone(result.error):
                self._outputs.fail(result.item, result.error)
            return
        line, value = result
        if isinstance(line, BadLine):
            self._outputs.fail_line(line)
            return
        try:
            self._outputs.succeed(line, value)
        except Exception as error:  # it is nothing that JSON has, or can't be looked at
            self._outputs.fail(line, error)


def _is_undone(error: BaseException) -> bool:
    """Say whether an item has neither failed nor been done: it was cut off, or ends the event loop in its next turn."""
    if isinstance(error, JobCancelled):
        return error.reason == "shutdown"
    return isinstance(error, KeyboardInterrupt | SystemExit)


class _Standard:
    """Keep standard input and output for the command: what the function starts would read items and write among results.

    Raises:
        CommandError: it is closed, and needed.
    """

    def __init__(self, options: Options, stack: contextlib.ExitStack) -> None:
        self.input = self.output = -1
        if options.input is None:
            self.input = self._kept(sys.stdin, "input", stack)
        if options.output is None:
            self.output = self._kept(sys.stdout, "output", stack)

    def _kept(self, stream: TextIO | None, name: str, stack: contextlib.ExitStack) -> int:
        """Return another descriptor of a stream's file, and put something else in the place of that until the end."""
        if stream is None:
            raise CommandError(f"standard {name} is closed: use --{name} FILE")
        number = stream.fileno()
        kept = os.dup(number)

        def put_back() -> None:
            stream.flush()
            os.dup2(kept, number)
            os.close(kept)

        stack.callback(put_back)
        if name == "output":
            stream.flush()
            os.dup2(2, number)
        else:
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, number)
            os.close(null)
        return kept


async def _keep_showing(progress: Progress) -> None:
    while True:
        await asyncio.sleep(progress.interval)
        progress.show()


@contextlib.contextmanager
def _talking(progress: Progress, *, apart: bool) -> Any:
    """Have log records shown between the lines of progress, and nothing that the function prints among the results."""
    root = logging.getLogger()
    listens = not root.handlers
    with contextlib.redirect_stdout(sys.stderr) if apart else contextlib.nullcontext():
        if listens:
            root.addHandler(progress)
        try:
            yield
        finally:
            if listens:
                root.removeHandler(progress)


def _opened(name: str, path: Path | None, journal: Journal | None, end: int, stack: contextlib.ExitStack) -> int | None:
    if path is None:
        return None
    file = opened(name, path, journal, end)
    stack.callback(os.close, file)
    return file


def _opened_input(path: Path, stack: contextlib.ExitStack) -> int:
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise CommandError(f"--input: {error}") from error
    stack.callback(os.close, file)
    if stat.S_ISDIR(os.fstat(file).st_mode):
        raise CommandError(f"--input: {path} is a directory")
    return file


def _check_files(options: Options, source: int, output: int) -> None:
    """Refuse files that are one and the same, and options that do not go together."""
    if options.lines and options.replay:
        raise CommandError("--replay reads failures, which are JSON, whatever the items are: leave out --lines")
    if options.journal is not None and options.output is None:
        raise CommandError(
            "--journal needs --output FILE: a shell's > FILE would empty the file before the command can go on with it"
        )
    given = {"--output": options.output, "--failures": options.failures, "--journal": options.journal}
    if options.journal is not None:
        given["--journal, while it is written anew"] = anew(options.journal)
    seen = {_identity(os.fstat(source)): "the input"}
    if options.output is None and stat.S_ISREG((status := os.fstat(output)).st_mode):
        seen[_identity(status)] = "standard output"
    for name, path in given.items():
        if path is None:
            continue
        key: Any = path.resolve()
        if path.is_file():
            key = _identity(path.stat())
        if key in seen:
            raise CommandError(f"{name}: {path} is {seen[key]}, too")
        seen[key] = name


def _identity(status: os.stat_result) -> object:
    return status.st_dev, status.st_ino
