"""Row 8: a job raises KeyboardInterrupt or SystemExit, at any time of its pool's life, and the process ends as it should.

Its handle has ended before anything is torn down, the exit code is kept, the pool closes and accounts for every job, and
nothing is left (R5, R13, R17).
"""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.real.kinds import EACH_KIND
from tests.real.loops import new_loop
from tests.real.programs import Ended, program
from tests.support import fail, turns
from weirpool import WorkerPool

if TYPE_CHECKING:
    from weirpool import JobHandle

pytestmark = pytest.mark.realtime

FRAME = """
    handles = []

    async def leave(error):
        await fatal.wait()
        raise error

    async def leave_late(error):
        try:
            await asyncio.sleep(3600)
        finally:
            raise error

    async def main():
        global pool, fatal, tasks
        fatal = asyncio.Event()
        asyncio.get_running_loop().call_later(0.05, fatal.set)
        pool = WorkerPool(max_workers=5, shutdown_timeout=10, cancel_grace=5)
        try:
            async with pool:
                await pool.submit(tidy, name="running")
                for error in ({errors}):
                    handles.append(await pool.submit({how}, error))
                for number in range(9 - len(handles)):
                    await pool.submit(tidy, name="running or queued")
                {then}
        finally:
            tasks = asyncio.all_tasks()

    try:
        with asyncio.Runner(loop_factory=lambda: new_loop(KIND)) as runner:
            try:
                runner.run(main())
            finally:
                say("before teardown:", *[handle.state.name for handle in handles])
    finally:
        say("state", pool.state.name)
        say("errors", *[type(handle.exception()).__name__ for handle in handles])
        say("left", *[task for task in tasks if not task.done()])
"""


def check(ended: Ended, code: int, exits: list[str], *, tidied: bool = True) -> None:
    """Check how the process ended, whose jobs raised these."""
    assert ended.code == code, ended
    assert f"before teardown: {' '.join(['FAILED'] * len(exits))}\n" in ended.out
    assert f"errors {' '.join(exits)}\n" in ended.out
    assert ("tidied running\n" in ended.out) == tidied
    assert "state CLOSED\n" in ended.out
    assert "left\n" in ended.out
    account = re.search(
        r"closed: 10 accepted = 0 succeeded \+ (\d) failed \+ 0 timed out \+ (\d) cancelled in the queue"
        r" \+ (\d) cancelled while running \+ 0 abandoned",
        ended.out,
    )
    assert account is not None, ended.out
    assert int(account[1]) == len(exits)
    assert int(account[2]) + int(account[3]) == 10 - len(exits)
    assert ended.quiet, ended.err


@EACH_KIND
@pytest.mark.parametrize(
    ("error", "code"), [("SystemExit(3)", 3), ("SystemExit('so long')", 1), ("KeyboardInterrupt()", -signal.SIGINT)]
)
def test_an_exit_of_a_job_ends_the_process_with_its_code(kind: str, error: str, code: int) -> None:
    ended = program(kind, FRAME.format(how="leave", errors=f"{error},", then="await asyncio.sleep(3600)"))
    check(ended, code, [error.partition("(")[0]])
    assert ("so long" in ended.err) == ("so long" in error)


@EACH_KIND
def test_an_exit_of_a_job_while_its_pool_drains_ends_the_process_with_its_code(kind: str) -> None:
    ended = program(kind, FRAME.format(how="leave", errors="SystemExit(3),", then="pass"))
    check(ended, 3, ["SystemExit"])


@EACH_KIND
def test_an_exit_of_a_job_while_it_cleans_up_ends_the_process_with_its_code(kind: str) -> None:
    then = "await fatal.wait(); await pool.aclose(timeout=5)"
    # Their cleaning up takes so long that it can't have ended by itself before that, however slow the machine.
    frame = FRAME.replace("tidy, name", "tidy, 60, name")
    ended = program(kind, frame.format(how="leave_late", errors="SystemExit(3),", then=then))
    # The others were cleaning up by then, and have been broken off: the end of asyncio.run cancels every task there is.
    check(ended, 3, ["SystemExit"], tidied=False)


@EACH_KIND
def test_of_several_jobs_that_exit_in_one_turn_the_first_has_its_way_and_all_is_tidied_up(kind: str) -> None:
    errors = "SystemExit(3), KeyboardInterrupt(), SystemExit(4), SystemExit(5)"
    ended = program(kind, FRAME.format(how="leave", errors=errors, then="await asyncio.sleep(3600)"))
    check(ended, 3, ["SystemExit", "KeyboardInterrupt", "SystemExit", "SystemExit"])


@EACH_KIND
def test_a_loop_that_goes_on_after_an_exit_is_stopped_by_the_next_one_too(kind: str) -> None:
    loop = new_loop(kind)
    try:
        pool = loop.run_until_complete(WorkerPool().__aenter__())

        async def submit(*exits: BaseException) -> list[JobHandle[Any]]:
            return [await pool.submit(fail, error) for error in exits]

        for code in (3, 4):
            handles = loop.run_until_complete(submit(SystemExit(code), KeyboardInterrupt(), SystemExit(5)))
            with pytest.raises(SystemExit, match=str(code)):
                loop.run_forever()
            loop.run_until_complete(turns())
            assert [type(handle.exception()) for handle in handles] == [SystemExit, KeyboardInterrupt, SystemExit]
        report = loop.run_until_complete(pool.aclose())
        assert (report.accepted, report.failed) == (6, 6)
    finally:
        loop.close()
