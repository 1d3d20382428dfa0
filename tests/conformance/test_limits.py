"""What bounds a run: time running, time queued, a deadline, actions at a time. And ends: abort."""
import asyncio
from datetime import timedelta

import flyte
import flyte.errors
from notes import note, noted, wait_for

one = flyte.TaskEnvironment("one", resources=flyte.Resources(cpu="1"))
two = flyte.TaskEnvironment("two", resources=flyte.Resources(cpu="2"))
env = flyte.TaskEnvironment("limits", depends_on=[one, two])


@env.task(timeout=flyte.Timeout(max_runtime=timedelta(seconds=1)))
async def runs_too_long() -> int:
    await asyncio.sleep(60)
    return 1


@env.task(timeout=flyte.Timeout(deadline=timedelta(seconds=2)), retries=100)
async def fails_for_ever() -> int:
    await asyncio.sleep(0.2)
    raise ValueError("again")


@one.task
async def holds_a_cpu(notes: str) -> int:
    note(notes, "holds")
    await asyncio.sleep(600)
    return 1


@two.task(timeout=flyte.Timeout(max_queued_time=timedelta(seconds=1)))
async def wants_all() -> int:
    return 1


@env.task
async def waits_in_vain(notes: str) -> str:
    holder = asyncio.create_task(holds_a_cpu(notes))
    while "holds" not in noted(notes):
        await asyncio.sleep(0.05)
    try:
        await wants_all()
    except flyte.errors.MaxQueuedTimeExceededError:
        return "queued too long"
    finally:
        holder.cancel()
    return "ran"


@env.task
async def counted(notes: str, i: int) -> int:
    note(notes, f"start-{i}")
    await asyncio.sleep(0.3)
    note(notes, f"end-{i}")
    return i


@env.task
async def counted_beside_another(notes: str, i: int) -> int:
    """Goes on when another one runs beside it, or none is left."""
    note(notes, f"start-{i}")
    while (starts := started(notes)) - ended(notes) < 2 and starts < 5:
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.3)  # in which a third one would begin
    note(notes, f"end-{i}")
    return i


def started(notes):
    return sum(name.startswith("start") for name in noted(notes))


def ended(notes):
    return sum(name.startswith("end") for name in noted(notes))


@env.task
async def many(notes: str) -> int:
    return sum(await asyncio.gather(*[counted_beside_another(notes, i) for i in range(5)]))


@env.task
async def sleeper(notes: str, name: str) -> int:
    note(notes, name)
    await asyncio.sleep(600)
    return 1


@env.task
async def two_sleepers(notes: str) -> list[str]:
    got = await asyncio.gather(sleeper(notes, "a"), sleeper(notes, "b"), return_exceptions=True)
    return [type(one).__name__ for one in got]


@env.task
async def one_by_one(notes: str) -> int:
    single = counted.override(queue="single")
    return sum(await asyncio.gather(*[single(notes, i) for i in range(5)]))


@env.task
async def asks_for_nothing_there() -> str:
    try:
        await holds_a_cpu.override(queue="nowhere")("")
    except Exception as error:
        return str(error)
    return "ran"


def most_at_once(notes):
    events = sorted((when, name) for name, times in noted(notes).items() for when in times)
    out = most = 0
    for _, name in events:
        out += 1 if name.startswith("start") else -1
        most = max(most, out)
    return most


def test_max_runtime(box):
    details = box.fail(runs_too_long)
    assert details.phase == "timed_out", details.phase


def test_deadline(box):
    details = box.fail(fails_for_ever)
    assert details.phase == "timed_out" and details.attempts < 20


def test_max_queued_time(box):
    assert box.run(waits_in_vain, box.notes()) == "queued too long"


def test_max_action_concurrency(box):
    notes = box.notes()
    assert box.run(many, notes, context={"max_action_concurrency": 3}) == 10
    most = most_at_once(notes)
    assert most == 2, f"{most} beside the parent"


def test_abort_run(box):
    notes = box.notes()
    run = box.submit(two_sleepers, notes)
    wait_for(notes, "a")
    wait_for(notes, "b")
    run.abort("enough")
    run.wait(quiet=True)
    assert run.phase == "aborted"
    assert {action.phase.value for action in box.actions(run)} == {"aborted"}


def test_abort_actions(box):
    notes = box.notes()
    run = box.submit(two_sleepers, notes)
    wait_for(notes, "a")
    wait_for(notes, "b")
    for action in box.actions(run, parent_name="a0"):
        action.abort("this one")
    assert box.finish(run) == ["ActionAbortedError", "ActionAbortedError"]


def test_queue_name(box):
    box.cli("create", "queue", "fast", "--scope", "region")
    run = box.submit(counted, box.notes(), 0, context={"queue": "fast"})
    box.finish(run)
    assert run.details().pb2.run_spec.queue == "fast"


def test_queue_limit(box):
    box.cli("create", "queue", "single", "--scope", "region", "--actions-max", "1")
    notes = box.notes()
    assert box.run(one_by_one, notes) == 10
    assert most_at_once(notes) == 1


def test_unknown_queue(box):
    assert "nowhere" in box.run(asks_for_nothing_there)
