"""Runs after runs: rerun, recovery, by reference, filters of lists, context, the bundle's kinds."""
import flyte
from flyte.remote import Run, Task
from notes import note, noted

env = flyte.TaskEnvironment("rerun")


@env.task
async def part(notes: str, x: int) -> int:
    note(notes, f"part-{x}")
    return x


@env.task
async def breaks_once(notes: str, x: int) -> int:
    value = await part(notes, 1) + await part(notes, 2)
    note(notes, "tried")
    if len(noted(notes)["tried"]) == 1:
        raise ValueError("the first run breaks")
    return value + x


@env.task
async def contextual() -> str:
    with flyte.custom_context(inner="2"):
        return f"{flyte.ctx().custom_context.get('outer')} {await inner()}"


@env.task
async def inner() -> str:
    context = flyte.ctx().custom_context
    return f"{context.get('outer')} {context.get('inner')}"


def test_recover(box):
    notes = box.notes()
    first = box.submit(breaks_once, notes, 5)
    first.wait(quiet=True)
    assert first.phase == "failed"
    second = flyte.rerun(first.name, recover=True)
    assert box.finish(second) == 1 + 2 + 5
    seen = noted(notes)
    assert len(seen["part-1"]) == 1 and len(seen["part-2"]) == 1 and len(seen["tried"]) == 2, seen
    phases = sorted(action.phase.value for action in box.actions(second, parent_name="a0"))
    assert phases == ["recovered", "recovered"], phases


def test_rerun(box):
    notes = box.notes()
    first = box.submit(part, notes, 8)
    box.finish(first)
    assert box.finish(flyte.rerun(first.name)) == 8
    assert box.finish(flyte.rerun(first.name, x=9)) == 9
    assert len(noted(notes)["part-8"]) == 2


def test_custom_context(box):
    assert box.run(contextual, context={"custom_context": {"outer": "1"}}) == "1 1 2"


def test_lists(box):
    notes = box.notes()
    good = box.submit(part, notes, 1, context={"labels": {"team": "blue"}})
    box.finish(good)
    bad = box.submit(breaks_once, notes, 1)
    bad.wait(quiet=True)
    names = lambda **filters: {run.name for run in Run.listall(**filters)}  # noqa: E731
    assert good.name in names(in_phase=("succeeded",)) and bad.name not in names(in_phase=("succeeded",))
    assert bad.name in names(in_phase=("failed", "timed_out"))
    assert names(task_name=part.name) >= {good.name} and bad.name not in names(task_name=part.name)
    assert names(with_labels={"team": "blue"}) == {good.name}
    assert len(list(Run.listall(limit=1))) == 1
    newest = [run.name for run in Run.listall(sort_by=("created_at", "desc"))]
    assert newest.index(bad.name) < newest.index(good.name)
    assert {a.phase.value for a in box.actions(bad, in_phase=("succeeded",))} == {"succeeded"}


def test_pickled_code(box):
    assert box.run(inner, context={"interactive_mode": True, "custom_context": {"outer": "1"}}) == "1 None"


def test_by_reference(box):
    flyte.deploy(env, version="v1")
    task = Task.get(part.name, version="v1")
    notes = box.notes()
    assert box.run(task, notes=notes, x=11) == 11
    assert part.name in {task.name for task in Task.listall()}
    latest = Task.get(part.name, auto_version="latest")
    assert box.run(latest, notes=notes, x=12) == 12
