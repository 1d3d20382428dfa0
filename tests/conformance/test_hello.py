"""One task: values in and out, nested tasks, errors of the program."""
import asyncio

import flyte

env = flyte.TaskEnvironment("hello")


@env.task
async def greet(name: str, times: int = 1) -> str:
    return f"hello {name}" * times


@env.task
def greet_sync(name: str) -> str:
    return f"hello {name}"


@env.task
async def nothing():
    print("nothing to return")


@env.task
async def two(x: int) -> tuple[int, str]:
    return x + 1, str(x)


@env.task
async def parent(n: int) -> list[str]:
    return list(await asyncio.gather(*[greet(f"x{i}") for i in range(n)]))


@env.task
async def grandparent(n: int) -> int:
    return sum(len(names) for names in await asyncio.gather(*[parent(i + 1) for i in range(n)]))


def test_values(box):
    assert box.run(greet, "world") == "hello world"
    assert box.run(greet, name="a", times=2) == "hello ahello a"
    assert box.run(greet_sync, "world") == "hello world"
    assert box.run(two, 41) == (42, "41")


def test_no_outputs(box):
    run = box.submit(nothing)
    run.wait(quiet=True)
    assert run.phase == "succeeded"


def test_nested(box):
    assert box.run(parent, 3) == ["hello x0", "hello x1", "hello x2"]
    assert box.run(grandparent, 3) == 1 + 2 + 3
