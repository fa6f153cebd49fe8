"""Bad input gets an error that names the argument, the value and what is allowed, before anything changes.

The error comes at the call that brings the bad value: TypeError for its kind, ValueError for its size, RuntimeError for the
wrong moment or place. It is one printable line, and shows 80 characters of the value at most.

What the catalogue of bad input (C2 of the research) asks for, and where it is held:

====================================  ===================================================================  ==================
argument                              refused                                                              here
====================================  ===================================================================  ==================
max_workers                           bool, float, str, None; 0, negative; above a million                 values
queue_size                            bool, float, NaN, str, None; negative                                values
timeout, job_timeout                  bool, str, Decimal, timedelta; NaN, inf; 0, negative; above ten      values
                                      years, int beyond any float
shutdown_timeout, cancel_grace,       as above; None (of the first two); a grace above the budget          values
submit_timeout, aclose's timeout
deadline                              as above, but the past is allowed; above ten years ahead             values
name, of a pool and of a job          no str; empty, above 128 characters, not printable                   values
observers                             no sequence of observers; one with async methods                     values, hostile
all of these                          whatever lies, raises when it is looked at, or changes               hostile, nonsense
fn                                    coroutine (closed, unless somebody runs it), not callable, future,   functions, nonsense
                                      task, awaitable, class, (async) generator function
fn                                    returns no awaitable, does not take its arguments: the job fails     functions,
                                                                                                           callables
a job's keywords, unknown keywords    TypeError, as Python says                                            functions, values
a job's arguments, result, exception  nothing: handed over as they are                                     outcomes, nonsense
state                                 before entering, after closing, entered twice, another loop,         places
                                      another thread, a forked process, a subclass without super()
the command line                      every option                                                         command_line
====================================  ===================================================================  ==================

Where the design or the README decides otherwise than the catalogue:

- `queue_size=0` is allowed: no waiting room (R2). So is a timeout of 0 where 0 has a meaning: `submit_timeout`,
  `shutdown_timeout`, `cancel_grace` and aclose's `timeout`; and None for `submit_timeout`: as long as it takes.
- A plain `def` is not warned about in dev mode, and a signature is not bound at submit: both fail as jobs, and say why.
- Wrong moments and places are told apart by the text of a RuntimeError, not by classes. `PoolClosed` is a `PoolError`.
- A job that waits for itself (here) or closes its own pool (R15) is refused; other waits for the own pool are R9's.
- `map()` is still to come.
"""
