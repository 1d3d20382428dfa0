"""Reusable environments: one interpreter runs action after action."""
import asyncio
import os

import flyte

env = flyte.TaskEnvironment("warm", reusable=flyte.ReusePolicy(replicas=(1, 1), concurrency=4, idle_ttl=600))
calls = []


@env.task
async def who(i: int) -> list[int]:
    calls.append(i)
    return [os.getpid(), len(calls)]


cold = flyte.TaskEnvironment("cold", depends_on=[env])


@cold.task
async def ask(n: int) -> list[list[int]]:
    return list(await asyncio.gather(*[who(i) for i in range(n)]))


def test_one_process(box):
    answers = box.run(ask, 6) + box.run(ask, 3)
    assert len({pid for pid, _ in answers}) == 1, answers
    assert max(count for _, count in answers) == 9, answers
