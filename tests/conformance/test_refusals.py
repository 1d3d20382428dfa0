"""What is not served is refused at once with a sentence; what is lost too often is told as an interruption."""
import os
import signal

import flyte
import flyte.errors
from flyte.remote import App

settings = ("shard.system_retries=2", "shard.worker_deaths_max=0")
env = flyte.TaskEnvironment("refusals")
gpus = flyte.TaskEnvironment("gpus", resources=flyte.Resources(gpu="H100:8"))


@gpus.task
async def on_gpus() -> int:
    return 1


@env.task
async def killed() -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 1


@env.task
async def sees() -> str:
    try:
        await killed()
    except flyte.errors.TaskInterruptedError as error:
        return f"interrupted: {error}"
    return "nothing"


def refused(call):
    try:
        call()
    except Exception as error:
        return str(error)
    raise AssertionError("it was not refused")


def test_unknown_method(box):
    answer = refused(lambda: list(App.listall()))
    assert "AppService" in answer, answer


def test_what_no_node_has(box):
    answer = refused(lambda: box.run(on_gpus))
    assert "gpu" in answer.lower(), answer


def test_interruption(box):
    assert box.run(sees).startswith("interrupted:")
