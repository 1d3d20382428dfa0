"""A region whose three shards have disks of their own: a shard that is killed and loses its disk loses nothing that was
acknowledged, and the load goes on."""
import shutil
import subprocess
import threading

from harness import ROOT, wait_until
from test_region import SHARDS, Load, check_run


def places(box):
    try:
        return box.json("region", "map")["partitions"]
    except (AssertionError, ValueError):
        return []


def doubled(box):
    """Each partition is served, and has a standby in sync."""
    partitions = places(box)
    return bool(partitions) and all(p["shard"] and p["in_sync"] and not p["opening"] for p in partitions)


def wait_doubled(box):
    wait_until(lambda: doubled(box), "each partition has a standby in sync")


def through(box, shard):
    """The clients of the test go there."""
    box.endpoint = box.setting(shard, "listen")


def lose(box, shard):
    """Its machine, with its disk."""
    box.kill(shard)
    shutil.rmtree(box.dir / "data" / shard)


def test_a_disk_is_lost(box):
    wait_doubled(box)
    with Load(box) as load:
        wait_until(lambda: len(load.acknowledged) >= 6, "some runs have ended")
        for shard, other in ((SHARDS[0], SHARDS[1]), (SHARDS[1], SHARDS[2])):
            owned = [p["partition"] for p in places(box) if p["shard"] == shard]
            assert owned, f"{shard} has nothing"
            lose(box, shard)
            through(box, other)
            wait_until(lambda: all(p["shard"] not in ("", shard) for p in places(box)), f"the others have what {shard} had")
            count = len(load.acknowledged)
            wait_until(lambda: len(load.acknowledged) >= count + 6, "runs end as before")
            box.restart(shard)  # with an empty disk
            wait_doubled(box)
    print(f"    {len(load.acknowledged)} runs acknowledged, {load.refused} tries at a shard that was down, {len(load.lost)} lost",
          flush=True)
    assert not load.failed, load.failed
    for name in load.acknowledged:
        check_run(box, name)


def test_the_only_copy_in_sync_is_lost(box):
    """What is left is stale, and serves only when a person says so."""
    wait_doubled(box)
    place = places(box)[0]
    owner, standby = place["shard"], place["standby"]
    third = next(shard for shard in SHARDS if shard not in (owner, standby))
    through(box, owner)
    box.kill(standby)
    box.cli("run", "--name", "late", "--no-wait", "--", "true", check=False)
    wait_until(lambda: not places(box)[0]["in_sync"], "the owner goes on alone")
    lose(box, owner)
    through(box, third)
    # it is ready only when all partitions are served: nobody waits for that
    starting = subprocess.Popen([ROOT / "tools/devbox", "restart", standby, "--dir", box.dir], stderr=subprocess.DEVNULL)
    wait_until(lambda: places(box) and places(box)[0].get("waits_for") == [owner], "its copy is waited for")
    done = box.cli("region", "use-copy", 0, third, check=False)
    assert done.returncode != 0 and "no copy" in done.stderr, done.stderr
    ask = lambda: box.cli("region", "use-copy", 0, standby, check=False)
    wait_until(lambda: ask().returncode == 0, "the shard is back in the region")
    told = ask().stdout
    assert "nothing was changed" in told, told
    assert not places(box)[0]["shard"], "it serves"
    box.cli("region", "use-copy", 0, standby, "--sure")
    wait_until(lambda: places(box)[0]["shard"] == standby and not places(box)[0]["opening"], "it serves")
    done = box.cli("region", "use-copy", 0, standby, "--sure", check=False)
    assert done.returncode != 0 and "is not lost" in done.stderr, done.stderr
    starting.kill()
    starting.wait()


def test_a_disk_is_lost_with_a_split(box):
    """Both halves have two copies as soon as they are there; the owner is killed at another moment of a split each time, and loses
    its disk."""
    wait_doubled(box)
    with Load(box) as load:
        wait_until(lambda: len(load.acknowledged) >= 6, "some runs have ended")
        before = len(places(box))
        for partition in range(2):
            half = int(box.cli("region", "split", partition).stdout.split("partition ")[-1].split()[0].rstrip(".,"))
            assert places(box)[half]["in_sync"], places(box)[half]
        lose_and_go_on(box, load, places(box)[0]["shard"])
        for i in range(3):
            shard = places(box)[i]["shard"]
            through(box, next(s for s in SHARDS if s != shard))
            killer = threading.Timer(0.02 + 0.05 * i, lose, (box, shard))
            killer.start()
            box.cli("--call-timeout", "20s", "region", "split", i, check=False)
            killer.join()
            lose_and_go_on(box, load, shard, lost=True)
        count = len(places(box))
    print(f"    {before} partitions became {count}, {len(load.acknowledged)} runs acknowledged, {len(load.lost)} tries lost", flush=True)
    assert count >= before + 2
    assert not load.failed, load.failed
    for name in load.acknowledged:
        check_run(box, name)


def lose_and_go_on(box, load, shard, lost=False):
    """The others serve all that it had; then it comes back, with an empty disk."""
    through(box, next(s for s in SHARDS if s != shard))
    if not lost:
        lose(box, shard)
    wait_until(lambda: places(box) and all(p["shard"] not in ("", shard) for p in places(box)), f"the others have what {shard} had")
    count = len(load.acknowledged)
    wait_until(lambda: len(load.acknowledged) >= count + 6, "runs end as before")
    box.restart(shard)
    wait_doubled(box)


for test in (test_a_disk_is_lost, test_a_disk_is_lost_with_a_split, test_the_only_copy_in_sync_is_lost):
    test.options = ("--shards", "3", "--etcds", "1", "--clusters", "1", "--storage", "local")
    test.needs = ("etcd",)
test_a_disk_is_lost_with_a_split.settings = ("shard.partitions_max=16",)
