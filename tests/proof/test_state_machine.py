"""27: any sequence of calls that hypothesis can think of, on any schedule, with the oracle looking on."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.proof.jobs import KINDS
from tests.proof.world import World
from weirpool import PoolError, PoolState
from weirpool.testing import DeterministicLoop, Schedule

SCHEDULES = st.builds(Schedule, st.sampled_from(["fifo", "random", "pct"]), st.integers(0, 10**6))
SECONDS = st.sampled_from([0.0, 0.1, 0.3, 0.5, 1.0, 2.0])


class PoolMachine(RuleBasedStateMachine):
    """A user of a pool who does whatever the public verbs allow, for a few turns of the loop at a time."""

    loop: DeterministicLoop
    world: World

    @initialize(
        schedule=SCHEDULES,
        workers=st.integers(1, 3),
        queue=st.integers(0, 3),
        patience=st.sampled_from([None, 0, 0.5]),
        grace=st.sampled_from([0.0, 0.5]),
        watched=st.booleans(),
    )
    def open(self, schedule: Schedule, workers: int, queue: int, patience: float | None, grace: float, watched: bool) -> None:
        self.loop = DeterministicLoop(schedule.make_policy())

        async def make() -> World:
            world = World(0)
            world.make_pool(
                max_workers=workers,
                queue_size=queue,
                submit_timeout=patience,
                shutdown_timeout=2.0,
                cancel_grace=grace,
                watched=watched,
            )
            world.begin()
            await world.pool.__aenter__()
            return world

        self.world = self.loop.run_until_complete(make())

    def _turn(self, turns: int) -> None:
        async def wait() -> None:
            for _ in range(turns):
                await asyncio.sleep(0)

        self.loop.run_until_complete(wait())

    @rule(
        kind=st.sampled_from(sorted(KINDS)),
        timeout=st.none() | SECONDS.filter(bool),
        how=st.sampled_from("srn"),
        turns=st.integers(0, 4),
    )
    def submit(self, kind: str, timeout: float | None, how: str, turns: int) -> None:
        world = self.world

        async def act() -> None:
            try:
                match how:
                    case "s":
                        await world.outcome(await world.submit(KINDS[kind], timeout=timeout))
                    case "r":
                        await world.run(KINDS[kind], timeout=timeout)
                    case _:
                        await world.outcome(world.submit_nowait(KINDS[kind], timeout=timeout))
            except PoolError:
                return

        world.join("client", act())
        self._turn(turns)

    @rule(seconds=SECONDS)
    def wait(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))

    @rule(data=st.data(), turns=st.integers(0, 2))
    def cancel_a_job(self, data: st.DataObject, turns: int) -> None:
        handles = self.world.handles
        if handles:
            handle = data.draw(st.sampled_from(handles))
            self._call(lambda: self.world.cancel_job(handle))
            self._turn(turns)

    @rule(data=st.data(), turns=st.integers(0, 2))
    def cancel_a_client(self, data: st.DataObject, turns: int) -> None:
        if clients := [actor for actor in self.world.actors if actor.get_name() == "client" and not actor.done()]:
            self.world.cancel(data.draw(st.sampled_from(clients)))
            self._turn(turns)

    @rule(seconds=SECONDS)
    def block(self, seconds: float) -> None:
        self.world.block(seconds)

    @rule()
    def close_intake(self) -> None:
        self._call(self.world.close_intake)

    @precondition(lambda self: self.world.pool.state in {PoolState.OPEN, PoolState.DRAINING})
    @rule(timeout=st.none() | SECONDS, turns=st.integers(0, 4))
    def close(self, timeout: float | None, turns: int) -> None:
        self.world.join("closer", self.world.close(timeout))
        self._turn(turns)

    def _call(self, function: Any) -> None:
        async def call() -> None:
            function()

        self.loop.run_until_complete(call())

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        world.join("closer", world.close())
        self.loop.run_until_complete(world.finish())
        assert not self.loop.complaints
        self.loop.after_step = None
        self.loop.close()


PoolMachine.TestCase.settings = settings(
    max_examples=300, stateful_step_count=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
TestPool = PoolMachine.TestCase
