"""Fan-outs: gather, flyte.map, groups."""
import asyncio

import flyte

env = flyte.TaskEnvironment("fanout")


@env.task
async def square(x: int) -> int:
    return x * x


@env.task
async def add(x: int, y: int) -> int:
    return x + y


@env.task
async def gather(n: int) -> int:
    return sum(await asyncio.gather(*[square(i) for i in range(n)]))


@env.task
def mapped(n: int) -> list[int]:
    return list(flyte.map(square, range(n), group_name="squares", concurrency=3))


@env.task
def failing_map() -> list[str]:
    return [type(got).__name__ for got in flyte.map(oops, range(3), return_exceptions=True)]


@env.task
async def oops(x: int) -> int:
    if x == 1:
        raise ValueError("one is wrong")
    return x


@env.task
async def same_call(n: int) -> list[int]:
    return list(await asyncio.gather(*[add(1, 2) for _ in range(n)]))


@env.task
async def grouped() -> int:
    with flyte.group("left"):
        left = await asyncio.gather(square(1), square(2))
    with flyte.group("right"):
        right = await asyncio.gather(square(1), square(3))
    return sum(left) + sum(right)


def test_gather(box):
    assert box.run(gather, 20) == sum(i * i for i in range(20))


def test_map(box):
    run = box.submit(mapped, 6)
    assert box.finish(run) == [0, 1, 4, 9, 16, 25]
    groups = {action.pb2.metadata.group for action in box.actions(run, parent_name="a0")}
    assert len(groups) == 1 and "squares" in groups.pop()


def test_map_of_exceptions(box):
    assert box.run(failing_map) == ["int", "RuntimeUserError", "int"]


def test_same_call_many_times(box):
    run = box.submit(same_call, 4)
    assert box.finish(run) == [3, 3, 3, 3]
    assert len(box.actions(run)) == 5


def test_groups(box):
    run = box.submit(grouped)
    assert box.finish(run) == 1 + 4 + 1 + 9
    groups = [action.pb2.metadata.group for action in box.actions(run, parent_name="a0")]
    assert sorted(groups) == ["left", "left", "right", "right"], groups
