"""A file that imports nothing but the SDK: what flyte-cold measures is loaded in every process anew."""
import time

import flyte

env = flyte.TaskEnvironment("cold")


@env.task
async def cold() -> float:
    return time.time()
