"""The cache: hits of children and roots, overwriting, versions, ignored inputs, one producer at a time."""
import asyncio

import flyte
from notes import note, noted

env = flyte.TaskEnvironment("cache")


@env.task(cache=flyte.Cache(behavior="override", version_override="1", ignored_inputs=("notes",)))
async def costly(x: int, notes: str) -> int:
    note(notes, f"costly-{x}")
    return x * 10


@env.task(cache=flyte.Cache(behavior="override", version_override="1", ignored_inputs=("notes",), serialize=True))
async def one_at_a_time(x: int, notes: str) -> int:
    note(notes, f"serialized-{x}")
    await asyncio.sleep(1)
    return x * 100


@env.task
async def twice(x: int, notes: str) -> list[int]:
    return [await costly(x, notes), await costly(x, notes)]


@env.task
async def same_time(x: int, notes: str) -> list[int]:
    return list(await asyncio.gather(*[one_at_a_time(x, notes) for _ in range(3)]))


def ran(notes, name):
    return len(noted(notes).get(name, []))


def test_child_hits(box):
    notes = box.notes()
    assert box.run(twice, 1, notes) == [10, 10]
    assert box.run(twice, 1, notes) == [10, 10]
    assert ran(notes, "costly-1") == 1
    assert box.run(twice, 2, notes) == [20, 20]
    assert ran(notes, "costly-2") == 1


def test_root_hits_what_a_child_made(box):
    notes = box.notes()
    assert box.run(twice, 3, notes) == [30, 30]
    run = box.submit(costly, 3, notes)
    assert box.finish(run) == 30
    assert ran(notes, "costly-3") == 1
    assert box.details(run).pb2.status.cache_status == 2, "not a hit"


def test_overwrite(box):
    notes = box.notes()
    assert box.run(costly, 4, notes) == 40
    assert box.run(costly, 4, notes, context={"overwrite_cache": True}) == 40
    assert ran(notes, "costly-4") == 2


def test_serialized(box):
    notes = box.notes()
    assert box.run(same_time, 5, notes) == [500, 500, 500]
    assert ran(notes, "serialized-5") == 1


def test_scope(box):
    notes = box.notes()
    for project, scope, runs in (("one", "global", 1), ("two", "global", 1), ("two", "project-domain", 2), ("two", "project-domain", 2)):
        assert box.run(costly, 6, notes, context={"project": project, "cache_lookup_scope": scope}) == 60
        assert ran(notes, "costly-6") == runs, f"{project}, {scope}"
