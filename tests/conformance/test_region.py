"""A program goes on while the shards of its region die, one after another: that of its calls, and those that have its run."""
import pathlib
import time

import flyte
from test_faults import RESULT, noted, tree, wait_for

options = ("--shards", "3")
needs = "etcd"


def test_each_shard(box):
    notes = box.notes()
    run = box.submit(tree, notes)
    wait_for(notes, "half-0")
    for shard in ("shard-2", "shard-3", "shard-1"):  # the last is the one that program and client know
        box.kill(shard)
        time.sleep(0.5)
        box.restart(shard)
    assert box.finish(run) == RESULT
    ends = {name: len(times) for name, times in noted(notes).items() if name.startswith("end-")}
    assert len(ends) == 8 and set(ends.values()) == {1}, ends


def test_the_first_shard_is_gone(box):
    """For good: tasks that begin afterwards are told of one that is there, and have their children."""
    box.kill("shard-1")
    flyte.init(endpoint=box.setting("shard-2", "listen"), insecure=True, project="conformance", domain="development", root_dir=pathlib.Path(__file__).parent)
    assert box.finish(box.submit(tree, box.notes())) == RESULT
