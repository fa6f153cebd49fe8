"""Whether what takes time when a process is stopped fits into the time that there is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypedDict

from weirpool import WorkerPool

if TYPE_CHECKING:
    from typing import Unpack

__all__ = ["Budget", "check_budget", "seconds"]

_DAY = 86_400


class Budget(TypedDict, total=False):
    """What takes time when a process is stopped, beside its pools; all in seconds.

    Attributes:
        server_timeout: how long the server waits for its requests (uvicorn: `timeout_graceful_shutdown`); None: for ever,
            which is uvicorn's default.
        grace_period: when the orchestrator kills the process: Kubernetes' `terminationGracePeriodSeconds`, by default 30.
        prestop: how long the preStop hook takes, which counts against the grace period; by default 0.
        margin: what should be left over; by default 1.
    """

    server_timeout: float | None
    grace_period: float
    prestop: float
    margin: float


def check_budget(pools: float | WorkerPool | Iterable[WorkerPool], /, **budget: Unpack[Budget]) -> list[str]:
    """Say what keeps a process from ending by itself before it is killed.

    On SIGTERM a server first waits for its requests and then stops the application, which closes its pools: the times add
    up. Several pools are closed at once: it is the largest of their `shutdown_timeout` that counts.

    Args:
        pools: a pool, several, or how long closing takes, in seconds.
        **budget: see `Budget`; `server_timeout` has to be given.

    Returns:
        A sentence for each thing that does not fit; empty when all does.

    Raises:
        TypeError: an argument is of the wrong kind, or `server_timeout` is missing.
        ValueError: an argument is out of its range.
    """
    unknown = [name for name in budget if name not in Budget.__annotations__]
    if unknown or "server_timeout" not in budget:
        known = ", ".join(Budget.__annotations__)
        raise TypeError(
            f"a budget has {known}, and needs server_timeout (None: the server waits for ever), got {budget!r:.200}"
        )
    closing = _closing(pools)
    prestop = seconds("prestop", budget.get("prestop", 0.0))
    grace = seconds("grace_period", budget.get("grace_period", 30.0))
    margin = seconds("margin", budget.get("margin", 1.0))
    if budget["server_timeout"] is None:
        return ["the server waits for its requests for ever; set the time that it waits, or one request that hangs is the end"]
    server = seconds("server_timeout", budget["server_timeout"])
    needed = prestop + server + closing + margin
    if needed <= grace:
        return []
    parts = f"preStop hook {prestop:g} s + server {server:g} s + pools {closing:g} s + margin {margin:g} s = {needed:g} s"
    return [f"{parts}, but the process is killed after {grace:g} s: make shutdown_timeout shorter or the grace period longer"]


def seconds(name: str, value: object) -> float:
    """Return `value` if it is a number of seconds, from none to a day."""
    if type(value) not in (int, float):
        raise TypeError(f"{name} must be a number of seconds, got {value!r:.80}")
    number: Any = value
    if not 0 <= number <= _DAY:  # which NaN is not, either
        raise ValueError(f"{name} must be from 0 to {_DAY:,} seconds, got {value!r:.80}")
    return float(number)


def _closing(pools: object) -> float:
    """Return how long it takes to close pools, all at once."""
    if isinstance(pools, WorkerPool):
        return pools.shutdown_timeout
    if not isinstance(pools, Iterable):
        return seconds("pools", pools)
    kept = list(pools)
    for pool in kept:
        if not isinstance(pool, WorkerPool):
            raise TypeError(f"pools must be a pool, several, or a number of seconds, got {pool!r:.80} among them")
    return max((pool.shutdown_timeout for pool in kept), default=0.0)
