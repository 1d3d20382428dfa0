"""Conditions: a run waits until somebody signals, with a value of each type; and not for ever."""
import flyte
import flyte.errors
from flyte.remote import Condition, Run
from notes import until

env = flyte.TaskEnvironment("conditions")


@env.task
async def approval(x: int) -> str:
    ok = await flyte.new_condition.aio("ok", prompt="Is it ok?", data_type=bool)
    count = await flyte.new_condition.aio("count", prompt="How many?", data_type=int)
    if not await ok.wait.aio():
        return "refused"
    return f"{x} {await count.wait.aio()}"


@env.task
async def impatient() -> str:
    condition = await flyte.new_condition.aio("soon", timeout=1)
    try:
        await condition.wait.aio()
    except flyte.errors.ConditionTimedoutError:
        return "timed out"
    return "signalled"


def condition(run, name):
    return until(lambda: next((c for c in Condition.listall(run.name) if c.name == name), None), name)


def test_signals(box):
    run = box.submit(approval, 7)
    condition(run, "ok").signal(True)
    paused = condition(run, "count")
    assert run.name in {r.name for r in Run.listall(paused_actions_only=True)}
    paused.signal(3)
    assert box.finish(run) == "7 3"


def test_refusal(box):
    run = box.submit(approval, 7)
    condition(run, "ok").signal(False)
    assert box.finish(run) == "refused"


def test_timeout(box):
    assert box.run(impatient) == "timed out"
