#!/usr/bin/env python3
"""How a region of several clusters schedules, shown and checked on real processes:  scheduling_demo.py [HOST:PORT]

Needs a devbox of `--clusters 3`, its shard with a short reclaim_delay, and nothing else running there: `tools/up --clusters 3`
makes one and runs this. Each part prints what it saw, then what had to be so; the exit status is 1 when something was not.
"""
import collections
import itertools
import json
import os
import pathlib
import subprocess
import sys
import time

BIN = pathlib.Path(__file__).resolve().parents[1] / "build/release/bin"
NS = 1e9


class Attempt:
    """One attempt, as the events of its run tell it; times in seconds since 1970."""

    def __init__(self, running):
        self.action, self.cluster = running["action"], running["cluster"]
        self.start, self.end, self.phase = running["time_ns"] / NS, None, None

    def ended(self, event):
        self.start = event["started_ns"] / NS or self.start  # as its node saw it
        self.end, self.phase = event["time_ns"] / NS, event["phase"]


class Region:
    def __init__(self, endpoint):
        self.environment = dict(os.environ, SWITCHYARD_ENDPOINT=endpoint)

    def try_call(self, *args):
        return subprocess.run([BIN / "switchyard", *map(str, args)], text=True, capture_output=True, timeout=60,
                              env=self.environment)

    def call(self, *args):
        done = self.try_call(*args)
        if done.returncode != 0:
            sys.exit(f"scheduling demo: FAILED: switchyard {' '.join(map(str, args))}: {done.stderr.strip()}")
        return done.stdout

    def json(self, *args):
        return json.loads(self.call("-o", "json", *args))

    def queue(self, name, *settings):
        """Creates it, or gives it these settings again; an earlier demo may have been stopped while it was paused."""
        known = {q["queue"] for q in self.json("get", "queues")}
        self.call("update" if name in known else "create", "queue", name, *settings)
        self.call("resume", "queue", name)

    def start(self, queue, count, seconds, cpu):
        """A run of so many tasks that sleep; its name."""
        return self.json("run", "--detach", "--queue", queue, "--cpu", cpu, "--each", *range(count), "--",
                         "sh", "-c", f"sleep {seconds}")["run"]

    def attempts(self, run):
        """Waits for the end of the run. All that started, in the order of their starts."""
        found, latest = [], {}
        for line in self.call("-o", "json", "watch", run).splitlines():
            event = json.loads(line)
            action = event["action"]
            if action == "a0":
                continue
            if event["phase"] == "RUNNING":
                latest[action] = Attempt(event)
                found.append(latest[action])
            elif action in latest and latest[action].end is None:
                latest[action].ended(event)
        return sorted(found, key=lambda a: a.start)


def comes_true(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not (holds := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds


class Checks:
    def __init__(self):
        self.failed, self.count = [], 0

    def that(self, holds, claim):
        self.count += 1
        print(f"  {'ok' if holds else 'FAILED':<7}{claim}", flush=True)
        if not holds:
            self.failed.append(claim)


def table(title, header, rows):
    cells = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    texts = [isinstance(cell, str) for cell in rows[-1]]
    print(f"\n{title}")
    for row in cells:
        print("  " + "  ".join(cell.ljust(width) if text else cell.rjust(width)
                               for cell, width, text in zip(row, widths, texts)).rstrip())


def most_at_a_time(attempts):
    changes = sorted([(a.start, 1) for a in attempts] + [(a.end, -1) for a in attempts])
    most = now = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


def succeeded(attempts):
    return {a.action for a in attempts if a.phase == "SUCCEEDED"}


def routing(region, checks):
    """Each queue asks for another amount of cpu, so that none has the room that clusters keep ready for another."""
    prices = {c["name"]: c["price"] for c in region.json("run", "--dry-run", "--", "true")["explanation"]["clusters"]}
    clusters = sorted(prices, key=prices.get)
    cheapest, bound = clusters[:2]
    queues = {"cheap": (["--policy", "cheapest"], "500m", 12), "wide": (["--policy", "spread"], "510m", 30),
              "bound": (["--cluster", bound], "520m", 12)}
    seen = {}
    for name, (settings, cpu, count) in queues.items():
        region.queue(name, *settings)
        region.attempts(region.start(name, 1, 0, cpu))  # now every cluster knows what is asked
        time.sleep(0.3)
        seen[name] = collections.Counter(a.cluster for a in region.attempts(region.start(name, count, 0.5, cpu)))
    rows = [["-", "price of a core hour", *(f"{prices[cluster] / 1e6:.2f}" for cluster in clusters)]]
    for name, (settings, _, _) in queues.items():
        rows.append([name, " ".join(settings), *(seen[name][cluster] for cluster in clusters)])
    table("Routing: where the tasks of a queue run", ["QUEUE", "SETTING", *clusters], rows)
    checks.that(set(seen["cheap"]) == {cheapest}, f"cheapest: all in {cheapest}, which costs least and had room")
    checks.that(set(seen["wide"]) == set(clusters), "spread: every cluster had some")
    checks.that(set(seen["bound"]) == {bound}, f"bound: all in {bound}")


def fairness(region, checks):
    region.queue("shared", "--weight", 100)
    weights, tasks = {"light": 100, "heavy": 300}, 120
    for name, weight in weights.items():
        region.queue(name, "--parent", "shared", "--weight", weight)
    region.call("pause", "queue", "shared")
    runs = {name: region.start(name, tasks * weight // 100, 0.4, "490m") for name, weight in weights.items()}
    region.call("resume", "queue", "shared")
    attempts = {name: region.attempts(run) for name, run in runs.items()}
    contended = min(found[-1].start for found in attempts.values())  # then one of them has nothing left that waits
    done = {name: sum(a.end <= contended for a in found) for name, found in attempts.items()}
    total = sum(done.values())
    table("Fairness: two queues want all there is", ["QUEUE", "WEIGHT", "ENDED", "SHARE"],
          [[name, weight, done[name], f"{done[name] / total:.1%}"] for name, weight in weights.items()])
    checks.that(total > tasks and abs(done["heavy"] / total - 0.75) < 0.04,
                "while both waited they got 75% and 25%, within 4%")


def limits(region, checks):
    rows = []
    for limit in (3, 6):
        region.queue("limited", "--actions-max", limit)
        most = most_at_a_time(region.attempts(region.start("limited", 12, 0.3, "480m")))
        rows.append([f"--actions-max {limit}", 12, most])
    region.call("pause", "queue", "limited")
    run = region.start("limited", 12, 0.3, "480m")
    time.sleep(0.7)
    out = region.json("get", "queue", "limited")["status"]["out"]
    rows.append(["paused", 12, out])
    resumed = time.time()
    region.call("resume", "queue", "limited")
    later = region.attempts(run)
    rows.append(["resumed", 12, most_at_a_time(later)])
    table("Limits: one queue, changed while it is in use", ["SETTING", "TASKS", "MOST AT A TIME"], rows)
    checks.that([row[2] for row in rows] == [3, 6, 0, 6], "as many ran as each setting allows, and no fewer")
    checks.that(later[0].start > resumed and len(succeeded(later)) == 12, "all that waited ran after the pause")


def preemption(region, checks):
    cores = sum(c["capacity"]["cpu_milli"] for c in region.json("get", "clusters")) // 1000
    region.queue("batch", "--preemptible")
    region.queue("urgent", "--priority", 100)
    batch = region.start("batch", cores, 6, 1)
    comes_true(lambda: region.json("status")["partitions"][0]["actions_running"] == cores)
    asked = time.time()
    urgent = region.attempts(region.start("urgent", cores, 0.3, 1))
    attempts = region.attempts(batch)
    stopped = [a for a in attempts if a.phase != "SUCCEEDED"]
    table(f"Preemption: the batch has all {cores} cores when urgent work comes",
          ["QUEUE", "TASKS", "STARTED", "STOPPED", "SUCCEEDED", "LONGEST WAIT"],
          [["batch", cores, len(attempts), len(stopped), len(succeeded(attempts)), "-"],
           ["urgent", cores, len(urgent), 0, len(succeeded(urgent)), f"{urgent[-1].start - asked:.1f} s"]])
    first_end = min(a.end for a in attempts if a.phase == "SUCCEEDED")
    checks.that(urgent[-1].start < first_end, "all urgent work started before the first of the batch had ended")
    checks.that(0 < len(stopped) < cores // 2, "some of the batch was stopped for it, most of it ran on")
    checks.that(len(succeeded(attempts)) == cores, "what was stopped ran again and succeeded: it had no retries to use")


def changes_in(explanation):
    """What would start it, as `explain` puts it."""
    after = explanation.partition("starts now if")[2].splitlines()[1:]
    return [line.strip() for line in itertools.takewhile(lambda line: line.startswith("  "), after)]


def explain(region, checks):
    def ends(run):
        return comes_true(lambda: region.json("get", "run", run)["phase"] == "SUCCEEDED")

    refused = region.try_call("run", "--dry-run", "--gpu", "16:H100", "--", "true")
    region.queue("one", "--actions-max", 1)
    holder = region.json("run", "--detach", "--queue", "one", "--gpu", "8:H100", "--", "sleep", "60")["run"]
    comes_true(lambda: region.json("get", "run", holder)["phase"] == "RUNNING")
    limited = region.json("run", "--detach", "--queue", "one", "--", "true")["run"]
    # More than a cluster takes beyond its room: explained is the one that has waited longest of those left.
    roomless = region.json("run", "--detach", "--gpu", "4:H100", "--each", *range(8), "--", "true")["run"]
    time.sleep(0.5)
    waits = {"too large": refused.stdout, "at a limit": region.call("explain", limited),
             "no room": region.call("explain", roomless)}
    table("Explain: what waits, and what would start it", ["WAITS", "STARTS IF"],
          [[name, "; ".join(changes_in(text))] for name, text in waits.items()])
    checks.that(all(len(changes_in(text)) == 1 for text in waits.values()), "one change is enough for each")
    checks.that("16 x H100 asked, 8 x H100 there" in refused.stderr,
                "too large: refused at once, with what is nearest to it (8 x H100)")
    region.queue("one", "--actions-max", 2)
    checks.that(ends(limited), "at a limit: it ran when the limit was raised as said")
    region.call("abort", holder)
    checks.that(ends(roomless), "no room: it ran when those GPUs were free")


def gangs(region, checks):
    """As many one-core members as the largest cluster has cores: free cores elsewhere are of no use to them."""
    cores = max(c["capacity"]["cpu_milli"] for c in region.json("get", "clusters")) // 1000

    def members(count, *options):
        return [*options, "--gang", count, "--cpu", 1, "--", "sh", "-c", "echo $RANK of $WORLD_SIZE; sleep 1"]

    run = region.json("run", "--detach", *members(cores))["run"]
    attempts = region.attempts(run)
    said = sorted(region.call("logs", run, a.action).strip() for a in attempts)
    refused = region.try_call("run", *members(cores + 1)).stderr
    together, places = most_at_a_time(attempts), sorted({a.cluster for a in attempts})
    table("Gangs: all members at the same moment in one cluster, or none", ["MEMBERS", "AT A TIME", "CLUSTERS"],
          [[cores, together, " ".join(places)], [cores + 1, 0, "refused"]])
    checks.that(together == cores and len(places) == 1, f"all {cores} ran at the same moment, in one cluster")
    checks.that(said == sorted(f"{rank} of {cores}" for rank in range(cores)), "each was told another rank")
    checks.that(f"it holds {cores}" in refused, f"{cores + 1} were refused at once: no cluster holds them together")


def main():
    region = Region(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8090")
    ready = sum(c["state"] == "ready" for c in region.json("get", "clusters"))
    if ready < 3:
        sys.exit(f"scheduling demo: FAILED: three clusters are needed, {ready} are ready")
    begin, checks = time.monotonic(), Checks()
    for part in (routing, fairness, limits, preemption, explain, gangs):
        part(region, checks)
    verdict = f"FAILED: {'; '.join(checks.failed)}" if checks.failed else "OK"
    print(f"\nscheduling demo: {verdict}: {checks.count} checks in {time.monotonic() - begin:.0f} s")
    sys.exit(1 if checks.failed else 0)


if __name__ == "__main__":
    main()
