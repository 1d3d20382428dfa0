"""Retries, their number and their pace."""
from datetime import timedelta

import flyte
import flyte.errors
from flyteidl2.common import phase_pb2
from notes import note, noted, until, wait_for

env = flyte.TaskEnvironment("retries")


@env.task(retries=3)
async def third_time(notes: str) -> int:
    note(notes, "try")
    tries = len(noted(notes)["try"])
    wait_for(notes, f"{tries} is known to run")
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
    notes = box.notes()
    run = box.submit(third_time, notes)
    for i in (1, 2, 3):  # one that ends at once may never be told to have run
        until(lambda: box.details(run).attempts == i and box.details(run).phase == "running", f"attempt {i} runs")
        note(notes, f"{i} is known to run")
    assert box.finish(run) == 3
    details = box.details(run)
    assert details.attempts == 3
    attempts = details.pb2.attempts
    assert [one.phase for one in attempts] == [phase_pb2.ACTION_PHASE_FAILED] * 2 + [phase_pb2.ACTION_PHASE_SUCCEEDED]
    ends = [one.end_time.ToNanoseconds() for one in attempts]
    starts = [one.start_time.ToNanoseconds() for one in attempts]
    assert 0 < starts[0] < ends[0] <= starts[1] < ends[1] <= starts[2] < ends[2], (starts, ends)
    assert "try 2" in attempts[1].error_info.message, attempts[1]
    for one in attempts:
        assert [change.phase for change in one.phase_transitions][:2] == [
            phase_pb2.ACTION_PHASE_QUEUED, phase_pb2.ACTION_PHASE_RUNNING], one


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
