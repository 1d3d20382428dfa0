"""Retries, their number and their pace."""
from datetime import timedelta

import flyte
import flyte.errors
from notes import note, noted

env = flyte.TaskEnvironment("retries")


@env.task(retries=3)
async def third_time(notes: str) -> int:
    note(notes, "try")
    tries = len(noted(notes)["try"])
    if tries < 3:
        raise ValueError(f"try {tries}")
    return tries


@env.task(retries=3)
async def no_use(notes: str) -> int:
    note(notes, "try")
    raise flyte.errors.NonRecoverableError("no use")


@env.task(retries=flyte.RetryStrategy(count=3, backoff=flyte.Backoff(timedelta(seconds=0.5), 2.0, timedelta(seconds=1))))
async def paced(notes: str):
    note(notes, "try")
    raise ValueError("again")


def test_third_time(box):
    run = box.submit(third_time, box.notes())
    assert box.finish(run) == 3
    assert box.details(run).attempts == 3


def test_non_recoverable(box):
    notes = box.notes()
    details = box.fail(no_use, notes)
    assert "no use" in details.error_message and len(noted(notes)["try"]) == 1


def test_backoff(box):
    notes = box.notes()
    box.fail(paced, notes)
    times = noted(notes)["try"]
    gaps = [later - earlier for earlier, later in zip(times, times[1:])]
    assert len(gaps) == 3 and all(gap >= least for gap, least in zip(gaps, (0.5, 1.0, 1.0))), gaps
    assert max(gaps) < 4, gaps
