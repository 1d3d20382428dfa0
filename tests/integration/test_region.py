"""A region of three shards, three members of etcd and two clusters, under load, while each of its parts dies, stands still or is
started anew: nothing that was acknowledged is lost, and each task has one accepted outcome."""
import json
import os
import random
import signal
import threading
import time
import urllib.request

from harness import TASKS, marks, wait_until
from region_watch import Watches

SHARDS = ("shard-1", "shard-2", "shard-3")
TASKS_OF_A_RUN = 20
PROBES = 24  # runs that are asked for: some in each of the six partitions
UNREACHABLE = 4  # exit code


def endpoint_of(box, shard):
    return box.setting(shard, "listen")


class Load:
    """Clients that make runs of some tasks through any shard, one after another. A client whose shard cannot be reached when it
    comes, or is lost, tries again; any other failure is kept."""

    def __init__(self, box, clients=3):
        self.box, self.lock, self.over = box, threading.Lock(), False
        self.made, self.acknowledged, self.failed = 0, [], []
        self.refused, self.lost = 0, []  # tries
        self.threads = [threading.Thread(target=self.client) for _ in range(clients)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over = True
        for thread in self.threads:
            thread.join()

    def client(self):
        while not self.over:
            self.run()
            time.sleep(0.1)

    def run(self):
        """Until one is acknowledged. What became of a try that lost its shard nobody knows: the next one has another name."""
        deadline = time.monotonic() + 120
        while True:
            with self.lock:
                self.made += 1
                name = f"run-{self.made}"
            directory = self.box.dir / name
            directory.mkdir()
            done = self.box.cli("--endpoint", endpoint_of(self.box, random.choice(SHARDS)), "run", "--name", name, "--function",
                                f"{TASKS}:mark", "--cpu", "10m", "--lines", "-", check=False,
                                input=f"{directory}\n" * TASKS_OF_A_RUN)
            if done.returncode != UNREACHABLE or time.monotonic() > deadline:
                break
            if "is not reachable" in done.stderr:
                self.refused += 1
            else:
                self.lost.append(done.stderr.strip()[-200:])
            time.sleep(0.1)
        (self.failed if done.returncode else self.acknowledged).append(name)
        if done.returncode:
            print(f"{name}: exit {done.returncode}: {done.stderr.strip()[-300:]}", flush=True)


def answers(endpoint, run):
    """Whether the run's partition answers through this shard."""
    body = json.dumps({"runId": {"project": "default", "domain": "development", "name": run}}).encode()
    call = urllib.request.Request(f"http://{endpoint}/flyteidl2.workflow.RunService/GetRunDetails", body,
                                  {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(call, timeout=10) as answer:
            return answer.status == 200
    except OSError:
        return False


def away_for(box, through, runs, what):
    """How long from now each of the runs is not answered for; they are asked for all the time."""
    start, away = time.monotonic(), {}

    def probe(run):
        while not answers(endpoint_of(box, through), run) and time.monotonic() < start + 60:
            time.sleep(0.02)
        away[run] = time.monotonic() - start

    threads = [threading.Thread(target=probe, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    times = sorted(away.values())
    late = [t for t in times if t > 0.2]
    print(f"    {what}: {len(late)} of {len(runs)} runs away, " + (f"{late[0]:.2f} to {late[-1]:.2f} s" if late else "none"),
          flush=True)
    assert times[-1] < 60, f"{what}: {sum(t >= 60 for t in times)} runs are not answered for"


def spread(box, shards=3):
    """Each partition is open, and no shard has more than its part."""
    try:
        partitions = box.json("region", "map")["partitions"]
    except (AssertionError, ValueError):
        return False
    owners = [p["shard"] for p in partitions]
    return all(owners) and not any(p["opening"] for p in partitions) and len(set(owners)) == shards


def settled(box, shards=3):
    wait_until(lambda: spread(box, shards), f"the partitions are spread over {shards} shards")


def kill_each_shard(box, probes):
    for i, shard in enumerate(SHARDS):
        box.kill(shard)
        away_for(box, SHARDS[i - 1], probes, f"kill -9 of {shard}")
        box.restart(shard)
        settled(box)


def kill_data_planes(box):
    for daemon in ("operator-1", "agent-2-1", "operator-2", "agent-1-1"):
        box.kill(daemon)
        time.sleep(0.5)
        box.restart(daemon)


def lose_quorum(box, probes):
    for member in ("etcd-2", "etcd-3"):
        box.kill(member)
    wait_until(lambda: not answers(endpoint_of(box, "shard-1"), probes[0]), "without etcd nobody may know that he still has a partition")
    for member in ("etcd-2", "etcd-3"):
        box.restart(member)
    away_for(box, "shard-1", probes, "quorum of etcd back")
    settled(box)


def freeze(box, probes):
    """It keeps its stores open and locked all the while."""
    pid = box.pid("shard-2")
    os.kill(pid, signal.SIGSTOP)
    try:
        away_for(box, "shard-1", probes, "SIGSTOP of shard-2")
        settled(box, 2)
        time.sleep(2)
    finally:
        os.kill(pid, signal.SIGCONT)
    away_for(box, "shard-1", probes, "SIGCONT of shard-2")
    settled(box)


def restart_in_turn(box, probes):
    for i, shard in enumerate(SHARDS):
        stopping = threading.Thread(target=box.devbox, args=("stop", shard))
        stopping.start()
        away_for(box, SHARDS[i - 1], probes, f"SIGTERM of {shard}")
        stopping.join()
        box.restart(shard)
        settled(box)


def check_run(box, name):
    """All ended well, each was told once, and nothing ran that was not asked for."""
    last, ends = 0, {}
    for line in box.cli("watch", name, "-o", "json").stdout.splitlines():
        event = json.loads(line)
        assert event["sequence"] == last + 1, f"{name}: {event['sequence']} after {last}"
        last = event["sequence"]
        if event["phase"] in ("SUCCEEDED", "FAILED", "ABORTED", "TIMED_OUT"):
            ends.setdefault(event["action"], []).append(event["phase"])
    assert len(ends) == TASKS_OF_A_RUN + 1, f"{name}: {len(ends)} actions have ended"
    assert all(phases == ["SUCCEEDED"] for phases in ends.values()), f"{name}: {ends}"
    ran = marks(box.dir / name)
    assert set(ran) == set(ends) - {"a0"}, f"{name}: {set(ran) ^ set(ends)}"
    assert all(len(set(attempts)) == len(attempts) for attempts in ran.values()), f"{name}: {ran}"


def test_whatever_dies(box):
    settled(box)
    with Watches({shard: endpoint_of(box, shard) for shard in SHARDS}) as watches, Load(box) as load:
        wait_until(lambda: len(load.acknowledged) >= PROBES, "some runs have ended")
        probes = load.acknowledged[:PROBES]
        for step in (kill_each_shard, lose_quorum, freeze):
            step(box, probes)
        kill_data_planes(box)
        seen = load.failed + load.lost
        restart_in_turn(box, probes)
        assert load.failed + load.lost == seen, f"a rolling restart was seen: {load.failed} {load.lost}"
        count = len(load.acknowledged)
        wait_until(lambda: len(load.acknowledged) >= count + 10, "runs end as before")
        load.over = True
        for thread in load.threads:
            thread.join()
        wait_until(lambda: not watches.missing(load.acknowledged), "each client that watches has seen each run succeed")
        for shard in SHARDS:  # it was killed once, and restarted once; nothing else of all this ends its clients' streams
            assert len(watches.ends(shard)) == 2, f"{shard}: {watches.ends(shard)}"
    print(f"    {len(load.acknowledged)} runs acknowledged, {len(load.failed)} failed, {load.refused} tries at a shard that was down, "
          f"{len(load.lost)} lost: {set(load.lost)}", flush=True)
    assert not load.failed, load.failed
    for name in load.acknowledged:
        check_run(box, name)


test_whatever_dies.options = ("--shards", "3", "--etcds", "3", "--clusters", "2")
test_whatever_dies.needs = ("etcd",)
