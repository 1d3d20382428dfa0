"""A task that kills what it runs in is given up soon, and its neighbours in a warm worker come to no harm."""
import asyncio
import os
import signal

import flyte
import flyte.errors
from notes import note, noted

settings = ("shard.worker_deaths_max=2",)
env = flyte.TaskEnvironment("poison")
warm = flyte.TaskEnvironment("shared", reusable=flyte.ReusePolicy(replicas=(1, 1), concurrency=4, idle_ttl=600))


@env.task
async def kills_itself(notes: str) -> int:
    note(notes, "killed")
    os.kill(os.getpid(), signal.SIGKILL)
    return 1


@env.task
async def parent(notes: str) -> str:
    try:
        await kills_itself(notes)
    except flyte.errors.RuntimeUserError as error:
        return f"{error.code}: {error}"
    return "nothing"


@warm.task
async def poison(notes: str) -> int:
    note(notes, "poison")
    while len(noted(notes)) < 2:  # both run
        await asyncio.sleep(0.05)
    os.kill(os.getpid(), signal.SIGKILL)
    return 1


@warm.task
async def innocent(notes: str) -> int:
    note(notes, "innocent")
    if len(noted(notes)["innocent"]) == 1:
        await asyncio.sleep(600)  # it does not end before it is killed
    return 7


among = flyte.TaskEnvironment("among", depends_on=[warm])


@among.task
async def together(notes: str) -> list[str]:
    ends = await asyncio.gather(innocent(notes), poison(notes), return_exceptions=True)
    return [error.code if isinstance(error, flyte.errors.RuntimeUserError) else str(error) for error in ends]


def test_it_is_given_up(box):
    notes = box.notes()
    said = box.run(parent, notes)
    assert said.startswith("PoisonTask:") and "2 times" in said and "SIGKILL" in said, said
    assert len(noted(notes)["killed"]) == 2


def test_neighbours(box):
    notes = box.notes()
    assert box.run(together, notes) == ["7", "PoisonTask"]
    times = {name: len(each) for name, each in noted(notes).items()}
    assert times["poison"] == 3 and times["innocent"] == 2, times
