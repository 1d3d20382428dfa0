"""The tasks that tools/bench flyte-* measures, but for flyte-cold; a folder of its own, so that nothing else is in their code bundle."""
import asyncio
import time

import flyte
from flyte.extras import Sleep

warm_env = flyte.TaskEnvironment("warm", reusable=flyte.ReusePolicy(replicas=1, idle_ttl=300, concurrency=4))
sleep_env = flyte.TaskEnvironment("sleep", plugin_config=Sleep())
fan_env = flyte.TaskEnvironment("fan", reusable=flyte.ReusePolicy(replicas=1, idle_ttl=300), depends_on=[sleep_env])


@warm_env.task
async def warm() -> float:
    return time.time()


@sleep_env.task
async def sleep(seconds: float) -> None:
    pass


@fan_env.task
async def fan_out(count: int) -> list[float]:
    """How many seconds the whole took; then each child."""

    async def one():
        start = time.monotonic()
        await sleep(0.0)
        return time.monotonic() - start

    start = time.monotonic()
    each = await asyncio.gather(*[one() for _ in range(count)])
    return [time.monotonic() - start, *each]
