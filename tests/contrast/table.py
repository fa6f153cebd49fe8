"""What each library does with each rule: the one source of the README's table, of docs/comparison.md and of the tests.

The tests hold all of it to the truth. After a change, `python -m tests.contrast` writes the table and the page again.
"""

from __future__ import annotations

from tests.contrast.rules import Breaks, Library, Rule

__all__ = ["CHECKED", "LIBRARIES", "RULES"]

CHECKED = "22 November 2026"

_LIBRARIES = [
    Library("weirpool", "`WorkerPool`"),
    Library("aiojobs", "`Scheduler`", "1.4.0", "https://github.com/aio-libs/aiojobs"),
    Library(
        "aiolibs-executor", "`Executor`; its only release", "0.0.0", "https://github.com/aio-libs/aiolibs-executor", (3, 13)
    ),
    Library("asyncio-pool", "`AioPool`", "0.6.0", "https://github.com/gistart/asyncio-pool"),
    Library("aiometer", "`run_all` and `amap`", "1.0.0", "https://github.com/florimondmanca/aiometer"),
    Library(
        "anyio",
        "a task group with `CapacityLimiter` and cancel scope; memory object streams; `as_completed`",
        "4.16.0",
        "https://github.com/agronholm/anyio",
    ),
    Library("stdlib", "`TaskGroup` with `Semaphore` and `timeout`; `Queue`; `as_completed`"),
    Library("taskiq", "`Receiver`, on a broker in memory", "0.13.0", "https://github.com/taskiq-python/taskiq"),
    Library("SAQ", "`Worker`, on a queue in memory", "0.26.4", "https://github.com/tobymao/saq"),
]

LIBRARIES = {library.name: library for library in _LIBRARIES}

CALL = "one call with all of its inputs is no pool that lives and is closed"
BROKER = "a broker is between submitters and workers"
BY_HAND = "a queue in front of the task group would be one's own to write and to close"
PROCESS = "a worker is a process with signal handlers of its own"

_RULES = [
    Rule(
        "context",
        "A queued job sees the context variables of its own submitter",
        kept="one, two, three",
        breaks={
            "aiojobs": Breaks(
                "one, one, one",
                "the job that ends starts the next one, in its own context "
                "(see [#362](https://github.com/aio-libs/aiojobs/issues/362))",
            ),
            "aiolibs-executor": Breaks(
                "one, one, one", "jobs run in the context of the pool's first submitter, unless each passes `context=`"
            ),
        },
        lacks={"aiometer": CALL, "taskiq": BROKER, "SAQ": BROKER},
    ),
    Rule(
        "stubborn",
        "Closing ends in bound with a job that swallows 1, 2, 10 or all cancellations",
        kept="in bound, in bound, in bound, in bound",
        breaks={
            "aiojobs": Breaks(
                "in bound, hangs, hangs, hangs",
                "`close_timeout` is a timeout around the job itself, which it can only cancel a second time and wait for",
            ),
            "aiolibs-executor": Breaks(
                "hangs, hangs, hangs, hangs",
                "`shutdown()` has no timeout, and with one around it waits for the job all the same",
            ),
            "anyio": Breaks(
                "in bound, in bound, in bound, spins",
                "a task group waits for its tasks, and cancels them again at every turn of the loop",
                by_design=True,
            ),
            "stdlib": Breaks("hangs, hangs, hangs, hangs", "a task group waits for its tasks", by_design=True),
            "SAQ": Breaks(
                "in bound, hangs, hangs, hangs",
                "`cancellation_hard_deadline_s` is a `wait_for` around a `gather`, which waits for the job after all",
            ),
        },
        lacks={"aiometer": CALL},
    ),
    Rule(
        "blocked_submit",
        "Who waits for room when the pool closes gets an error, and that job never runs",
        kept="an error, not run",
        breaks={
            "aiojobs": Breaks("accepted, run after closing", "a blocked `spawn()` starts its job in the closed scheduler"),
            "asyncio-pool": Breaks(
                "accepted, run after closing", "a blocked `spawn()` starts its job as soon as `cancel()` has freed a place"
            ),
        },
        lacks={"aiometer": CALL, "anyio": BY_HAND, "stdlib": BY_HAND, "taskiq": BROKER, "SAQ": BROKER},
    ),
    Rule(
        "draining",
        "No job is accepted any more while the pool drains",
        kept="refused",
        breaks={
            "aiojobs": Breaks("accepted", "`wait_and_close()` waits first and closes afterwards"),
            "asyncio-pool": Breaks("accepted", "it has no closed state, and `join()` waits for newcomers too"),
            "anyio": Breaks("accepted", "a task group takes tasks until the last one has ended", by_design=True),
            "stdlib": Breaks("accepted", "a task group takes tasks until the last one has ended", by_design=True),
        },
        lacks={"aiometer": CALL, "taskiq": BROKER, "SAQ": BROKER},
    ),
    Rule(
        "ctrl_c",
        "Ctrl-C ends the program while a job runs, even if the pool was left open",
        kept="ends",
        breaks={
            "aiolibs-executor": Breaks(
                "hangs",
                "a worker takes its own cancellation for that of its job, and goes on; `asyncio.run` waits for it for ever",
            ),
        },
        lacks={"aiometer": CALL, "taskiq": PROCESS, "SAQ": PROCESS},
    ),
    Rule(
        "base_exception",
        "A `BaseException` of one job harms neither the other jobs nor the closing, nor keeps the program from ending",
        kept="others unharmed, closes, ends",
        breaks={
            "aiojobs": Breaks(
                "others unharmed, closing raises it, ends",
                "a task of the scheduler's own dies of it, and `close()` raises what that one died of",
            ),
            "aiolibs-executor": Breaks(
                "others unharmed, closes, hangs", "its workers swallow the cancellation with which `asyncio.run` ends"
            ),
            "anyio": Breaks(
                "others cancelled, closing raises it, ends",
                "any exception in a task group cancels the other tasks",
                by_design=True,
            ),
            "stdlib": Breaks(
                "others cancelled, closing raises it, ends",
                "any exception in a task group cancels the other tasks",
                by_design=True,
            ),
        },
        lacks={"aiometer": CALL},
    ),
    Rule(
        "cancel",
        "Cancelling queued jobs and whoever awaits one breaks neither the limit nor the closing",
        kept="1 at once, closes",
        breaks={
            "aiojobs": Breaks(
                "3 at once, closes",
                "a closed job that is still queued makes `active_count` too small, and others start over the `limit`",
            ),
            "asyncio-pool": Breaks(
                "1 at once, never closes",
                "a job cancelled before its first step is counted for ever, and `join()` waits for it",
            ),
        },
        lacks={"aiometer": CALL, "taskiq": "a job can't be cancelled", "SAQ": BROKER},
    ),
    Rule(
        "cancelled_inside",
        "A job that awaits something cancelled ends with that, and the other jobs run on",
        kept="ended, others run",
        breaks={
            "aiometer": Breaks("others lost, no error", "`run_all()` returns an empty list"),
            "anyio": Breaks(
                "others lost, no error",
                "a `CancelledError` of a task cancels its task group, which then ends as if nothing had happened "
                "(see [#374](https://github.com/agronholm/anyio/issues/374))",
            ),
        },
        lacks={"SAQ": "such a job stays active until the broker sweeps it"},
    ),
    Rule(
        "first_come",
        "First come, first served: nobody overtakes a submitter that waits for room",
        kept="a b c d",
        breaks={
            "aiojobs": Breaks("a b d c", "it waits in `asyncio.Queue.put()`"),
            "aiolibs-executor": Breaks("a b d c", "it waits in `asyncio.Queue.put()`"),
            "stdlib": Breaks(
                "a b d c",
                "`Queue` gives no room to a `put()` that has been woken but has not run yet "
                "([#83055](https://github.com/python/cpython/issues/83055))",
            ),
        },
        lacks={"aiometer": CALL, "taskiq": BROKER, "SAQ": BROKER},
    ),
    Rule(
        "early_exit",
        "Reading results can stop early: the rest is stopped, and of a long source only a window was read",
        kept="a window read, the rest stopped",
        breaks={
            "aiolibs-executor": Breaks(
                "all read, all run", "`map()` reads all of its source before the first result, and leaves the rest running"
            ),
            "asyncio-pool": Breaks(
                "all read, all run", "`itermap()` reads all of its source before the first result, and leaves the rest running"
            ),
            "aiometer": Breaks(
                "a window read, all run", "leaving `amap()` waits for all of the rest, and so does `run_any()`"
            ),
            "anyio": Breaks(
                "all read, the rest stopped",
                "`as_completed()` takes awaitables and starts all of them at once",
                by_design=True,
            ),
            "stdlib": Breaks(
                "all read, all run", "`as_completed()` takes awaitables and starts all of them at once", by_design=True
            ),
        },
        lacks={"taskiq": BROKER, "SAQ": BROKER},
        by_hand=("aiojobs",),
    ),
    Rule(
        "threads",
        "A thread that overruns the closing does not stop the event loop",
        kept="the loop goes on",
        breaks={"SAQ": Breaks("the loop stands still", "`Worker.stop()` joins its threads on the event loop")},
        lacks={"aiometer": CALL},
    ),
    Rule(
        "overrun",
        "When the time for closing is over, no further job starts, and what still runs is cancelled",
        kept="none started, none left",
        breaks={
            "aiolibs-executor": Breaks(
                "2 started, none left", "a worker whose `shutdown()` is cancelled goes on with the next job, and the next"
            ),
            "taskiq": Breaks(
                "none started, 1 left",
                'after `wait_tasks_timeout` it logs "No more tasks to wait for", and does not cancel what still runs',
            ),
        },
        lacks={"aiometer": CALL},
    ),
    Rule(
        "just_ended",
        "Closing in the moment in which a job ends comes to an end",
        kept="closes",
        breaks={
            "aiojobs": Breaks(
                "spins",
                "`wait_and_close()` never gives way when what it shields is done and its callback has not run "
                "([#623](https://github.com/aio-libs/aiojobs/issues/623); Python 3.12 and later)",
                python=(3, 12),
            ),
        },
        lacks={"aiometer": CALL},
    ),
]

RULES = {rule.key: rule for rule in _RULES}
