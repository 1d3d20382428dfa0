"""kill -9 in the middle of a nested fan-out: the right result, and every finished child ran once."""
import asyncio
import os
import signal
import time

import flyte
from notes import note, noted, wait_for

env = flyte.TaskEnvironment("faults")


@env.task
async def leaf(notes: str, i: int, j: int) -> int:
    note(notes, f"begin-{i}.{j}")
    await asyncio.sleep(0.2)
    note(notes, f"end-{i}.{j}")
    return i * 10 + j


@env.task
async def branch(notes: str, i: int) -> int:
    with open(f"{notes}/../pid.{os.path.basename(notes)}.{i}", "w") as file:
        file.write(str(os.getpid()))
    first = await asyncio.gather(*[leaf(notes, i, j) for j in range(2)])
    note(notes, f"half-{i}")
    second = await asyncio.gather(*[leaf(notes, i, j) for j in range(2, 4)])
    return sum(first) + sum(second)


@env.task
async def tree(notes: str) -> int:
    return sum(await asyncio.gather(*[branch(notes, i) for i in range(2)]))


RESULT = sum(i * 10 + j for i in range(2) for j in range(4))


def kill_in_the_middle(box, kill, surely_once=None):
    """`surely_once`: the leaves that had ended for sure before the kill; all of them where only others die."""
    notes = box.notes()
    run = box.submit(tree, notes)
    wait_for(notes, "half-0")
    kill(notes)
    assert box.finish(run) == RESULT
    ends = {name: len(times) for name, times in noted(notes).items() if name.startswith("end-")}
    again = {name for name, count in ends.items() if count > 1}
    assert len(ends) == 8 and not again & (surely_once or ends.keys()), f"ran more than once: {again}"


def test_shard(box):
    kill_in_the_middle(box, lambda notes: (box.kill("shard"), time.sleep(0.5), box.restart("shard")))


def test_operator(box):
    kill_in_the_middle(box, lambda notes: (box.kill("operator"), time.sleep(0.5), box.restart("operator")))


def test_parents_worker(box):
    def kill(notes):
        with open(f"{notes}/../pid.{os.path.basename(notes)}.0") as file:
            os.kill(int(file.read()), signal.SIGKILL)

    kill_in_the_middle(box, kill)


def test_agent(box):
    # Its tasks die with it, and one may have been between its last line and its outcome.
    kill_in_the_middle(box, lambda notes: (box.kill("agent"), box.restart("agent")), {"end-0.0", "end-0.1"})
