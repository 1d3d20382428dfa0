"""Each partition of a region is split while runs are made and tasks run, and the shard that splits one is killed in the middle:
nothing that was acknowledged is lost, nothing runs twice."""
import threading
import time

from harness import wait_until
from test_region import SHARDS, Load, answers, check_run, endpoint_of, settled

PARTITIONS = 6


def gaps(box, runs):
    """Asks for each of the runs all the time; the longest time without an answer, when it is called."""
    longest, over = {}, threading.Event()

    def probe(run):
        last, longest[run] = time.monotonic(), 0.0
        while not over.is_set():
            if answers(endpoint_of(box, "shard-1"), run):
                now = time.monotonic()
                longest[run] = max(longest[run], now - last)
                last = now
            time.sleep(0.005)
        longest[run] = max(longest[run], time.monotonic() - last)

    threads = [threading.Thread(target=probe, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()

    def stop():
        over.set()
        for thread in threads:
            thread.join()
        return sorted(longest.values())

    return stop


def owner(box, partition):
    return box.json("region", "map")["partitions"][partition]["shard"]


def split(box, partition, check=True):
    return box.cli("--endpoint", endpoint_of(box, SHARDS[partition % 3]), "region", "split", partition, check=check)


def test_each_is_split_under_load(box):
    settled(box)
    with Load(box) as load:
        wait_until(lambda: len(load.acknowledged) >= 12, "some runs have ended")
        stop = gaps(box, load.acknowledged[:6])
        for partition in range(PARTITIONS):
            assert f"to partition {PARTITIONS + partition}" in split(box, partition).stdout
        times = stop()
        print(f"    {PARTITIONS} splits: a run is not answered for {times[len(times) // 2]:.2f} s in the middle, "
              f"{times[-1]:.2f} s at most", flush=True)
        settled(box)
        for i in range(4):  # killed at another moment each time
            shard = owner(box, i)
            killer = threading.Timer(0.01 + 0.03 * i, box.kill, (shard,))
            killer.start()
            box.cli("--endpoint", endpoint_of(box, next(s for s in SHARDS if s != shard)), "--call-timeout", "20s", "region", "split", i,
                    check=False)
            killer.join()
            box.restart(shard)
            settled(box)
        count = len(load.acknowledged)
        wait_until(lambda: len(load.acknowledged) >= count + 10, "runs end as before")
    places = box.json("region", "map")["partitions"]
    print(f"    {len(places)} partitions, {len(load.acknowledged)} runs acknowledged, {len(load.failed)} failed, "
          f"{len(load.lost)} tries lost", flush=True)
    assert len(places) >= 2 * PARTITIONS
    assert not load.failed, load.failed
    listed = [run["run"] for run in box.json("get", "runs", "-n", "0")]
    assert len(set(listed)) == len(listed)
    assert set(load.acknowledged) <= set(listed), set(load.acknowledged) - set(listed)
    for name in load.acknowledged:
        check_run(box, name)
    refused = box.cli("region", "split", 0, "--at", 255, check=False)
    assert refused.returncode != 0 and "has places" in refused.stderr, refused.stderr


test_each_is_split_under_load.options = ("--shards", "3", "--etcds", "1", "--clusters", "1")
test_each_is_split_under_load.settings = ("shard.partitions_max=16",)
test_each_is_split_under_load.needs = ("etcd",)
