"""asyncio's own eager task factory makes numbered tasks here, as far as the loop can see to it on any Python."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest  # noqa: TC002

from weirpool.testing import DeterministicLoop, NumberedTask


def test_asyncios_eager_task_factory_is_replaced_by_one_of_numbered_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[type] = []

    def factory(loop: Any, coro: Any, **options: Any) -> Any:
        return NumberedTask(coro, loop=loop, **options)

    def create(kind: type) -> Any:
        made.append(kind)
        return factory

    stock = object()
    monkeypatch.setattr(asyncio, "eager_task_factory", stock, raising=False)
    monkeypatch.setattr(asyncio, "create_eager_task_factory", create, raising=False)
    loop = DeterministicLoop()
    loop.set_task_factory(stock)
    assert made == [NumberedTask]
    assert loop.get_task_factory() is factory
    loop.close()
