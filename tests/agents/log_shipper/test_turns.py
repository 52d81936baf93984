"""Who is next: the oldest that waits."""

import asyncio

import pytest

from sidecars.log_shipper.sending.turns import Turns
from tests.support.context import passes

pytestmark = pytest.mark.looptime


async def test_the_oldest_that_waits_is_next_whenever_it_came() -> None:
    turns, order = Turns(2), list[int]()

    async def one(age: int) -> None:
        async with turns.turn(age):
            order.append(age)
            await passes(1)

    async with asyncio.TaskGroup() as tasks:
        for age in (7, 6, 5, 3, 4, 1, 2):
            tasks.create_task(one(age))
    assert order == [7, 6, 1, 2, 3, 4, 5]


async def test_who_is_cancelled_leaves_the_turn_to_the_next() -> None:
    turns, done = Turns(1), list[int]()

    async def one(age: int) -> None:
        async with turns.turn(age):
            await passes(1)
            done.append(age)

    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(one(age)) for age in range(5)]
        await passes(0.5)
        running[0].cancel()
        running[2].cancel()
        await passes(0)
        running[1].cancel()  # just when its turn came
        await passes(10)
        await one(9)
    assert done == [3, 4, 9]
