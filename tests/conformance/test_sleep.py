"""core-sleep: children that need no worker and no cpu."""
import asyncio
import time
from datetime import timedelta

import flyte
from flyte.extras import Sleep

naps = flyte.TaskEnvironment("naps", plugin_config=Sleep())
env = flyte.TaskEnvironment("sleep", depends_on=[naps])


@naps.task
async def nap(duration: timedelta) -> None:
    await asyncio.sleep(duration.total_seconds())


@env.task
async def many(n: int, seconds: float) -> float:
    start = time.monotonic()
    await asyncio.gather(*[nap(timedelta(seconds=seconds)) for _ in range(n)])
    return time.monotonic() - start


def test_fanout(box):
    run = box.submit(many, 50, 3.0)
    assert 3.0 <= box.finish(run) < 50 * 3.0 / 2, "one after the other"
    assert len(box.actions(run, in_phase=("succeeded",))) == 51


def test_root(box):
    run = box.submit(nap, timedelta(seconds=0.2))
    run.wait(quiet=True)
    assert run.phase == "succeeded"
