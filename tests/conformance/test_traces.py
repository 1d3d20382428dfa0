"""flyte.trace: recorded with its run, and replayed for a parent's next attempt."""
import flyte
from notes import note, noted

env = flyte.TaskEnvironment("traces")


@flyte.trace
async def step(x: int, notes: str) -> int:
    note(notes, f"step-{x}")
    return x + 1


@env.task(retries=1)
async def steps(notes: str) -> int:
    value = await step(await step(1, notes), notes)
    note(notes, "attempt")
    if len(noted(notes)["attempt"]) == 1:
        raise ValueError("after the traces")
    return value


def test_replay(box):
    notes = box.notes()
    run = box.submit(steps, notes)
    assert box.finish(run) == 3
    seen = noted(notes)
    assert len(seen["attempt"]) == 2 and len(seen["step-1"]) == 1 and len(seen["step-2"]) == 1, seen
    assert len(box.actions(run, parent_name="a0")) == 2
