#!/usr/bin/env python3
"""Benchmarks of Flyte programs; tools/bench flyte-... starts it, with the Python of a Flyte environment and a devbox.

CPU: of each daemon user + system time, with the processes below it that are ours; what else runs below the agent is
"tasks", this program and its clients are "client". Stages are told by the shard's clock, the same machine's.
"""
import argparse
import asyncio
import json
import multiprocessing
import os
import pathlib
import statistics
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
TICKS = os.sysconf("SC_CLK_TCK")
STAGES = ("submit", "queued", "running", "seen")


# ---- cpu ----


def process_us(pid):
    """A process's own CPU, and that of children which it has waited for; its children that live."""
    stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    utime, stime, cutime, cstime = map(int, stat.rpartition(") ")[2].split()[11:15])
    name = stat.partition("(")[2].rpartition(")")[0]
    children = []
    for thread in pathlib.Path(f"/proc/{pid}/task").iterdir():
        children += map(int, (thread / "children").read_text().split())
    return name, (utime + stime) * 1_000_000 / TICKS, (cutime + cstime) * 1_000_000 / TICKS, children


def region_us(pids):
    """{daemon: us}; what runs below the agent and is not ours is `tasks`."""
    found = {**dict.fromkeys(pids, 0.0), "tasks": 0.0}
    todo = [(daemon, pid) for daemon, pid in pids.items()]
    while todo:
        daemon, pid = todo.pop()
        try:
            name, own, waited, children = process_us(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue
        found[daemon if name.startswith("switchyard-") else "tasks"] += own
        found["tasks"] += waited
        todo += [(daemon, child) for child in children]
    return found


def own_us():
    times = os.times()
    return (times.user + times.system) * 1e6


# ---- the clients ----


def connect(endpoint):
    import logging

    import flyte

    logging.getLogger("flyte").setLevel(logging.ERROR)
    flyte.init(endpoint=endpoint, insecure=True, project="bench", domain="development", root_dir=HERE)


def seconds(timestamp):
    return timestamp.ToNanoseconds() / 1e9


class Timed:
    """A run from submit to result; `stages` in seconds."""

    def __init__(self, task, *args):
        import flyte

        sent = time.time()
        self.run = flyte.run(task, *args)
        self.run.wait(quiet=True)
        self.value = self.run.outputs()[0]
        seen = time.time()
        self.latency = seen - sent
        status = flyte.remote.ActionDetails.get(run_name=self.run.name, name="a0").pb2
        transitions = status.attempts[-1].phase_transitions
        running = next(t.start_time for t in transitions if t.phase == 4)
        marks = (sent, seconds(status.status.start_time), seconds(running), seconds(status.status.end_time), seen)
        self.stages = [end - begin for begin, end in zip(marks, marks[1:])]


def client_main(endpoint, count, concurrency, ready, go, results):
    """A process that submits runs of core-sleep and sees each end."""
    import bench_tasks
    import flyte

    connect(endpoint)
    latencies = []

    async def submit():  # core-sleep has no code: nothing to look for and to upload
        return await flyte.with_runcontext(copy_style="none", version="1").run.aio(bench_tasks.sleep, 0.0)


    async def lane(number):
        for _ in range(number):
            sent = time.monotonic()
            run = await submit()
            await run.wait.aio(quiet=True)
            latencies.append(time.monotonic() - sent)

    async def lanes():
        await asyncio.gather(*[lane(count // concurrency) for _ in range(concurrency)])

    asyncio.run(lane(1))
    latencies.clear()
    ready.release()
    go.wait()
    begin_us = own_us()
    asyncio.run(lanes())
    results.put((latencies, own_us() - begin_us))


# ---- the benches: each gives latencies, how long it took, CPU of clients elsewhere, stages ----


class Bench:
    def __init__(self, options):
        self.options = options
        self.pids = {name: int(pid) for name, pid in (pair.split("=") for pair in options.pids.split(","))}
        self.client_us = 0.0
        self.stages = []

    def begin(self):
        self.begin_cpu, self.begin_us, self.begin_s = region_us(self.pids), own_us(), time.monotonic()

    def end(self):
        self.elapsed = time.monotonic() - self.begin_s
        self.client_us += own_us() - self.begin_us
        time.sleep(0.3)  # the last child is waited for, the last rows are written
        cpu = region_us(self.pids)
        self.cpu = {name: cpu[name] - self.begin_cpu[name] for name in cpu}
        self.cpu["client"] = self.client_us

    def one_at_a_time(self, task):
        for _ in range(3):
            Timed(task)
        self.begin()
        runs = [Timed(task) for _ in range(self.options.count)]
        self.end()
        self.latencies = [run.latency for run in runs]
        self.stages = [statistics.median(stage) for stage in zip(*[run.stages for run in runs])]

    def run(self):
        import bench_tasks

        self.one_at_a_time(bench_tasks.warm)

    def cold(self):
        import cold_tasks

        self.one_at_a_time(cold_tasks.cold)

    def fanout(self):
        import bench_tasks

        Timed(bench_tasks.fan_out, 10)
        self.begin()
        elapsed, *self.latencies = Timed(bench_tasks.fan_out, self.options.count).value
        self.end()
        self.elapsed = elapsed

    def runs(self):
        context = multiprocessing.get_context("spawn")
        ready, go, results = context.Semaphore(0), context.Event(), context.Queue()
        clients, concurrency = self.options.clients, self.options.concurrency
        each = max(1, self.options.count // clients // concurrency) * concurrency
        args = (self.options.endpoint, each, concurrency, ready, go, results)
        processes = [context.Process(target=client_main, args=args) for _ in range(clients)]
        for process in processes:
            process.start()
        for _ in processes:
            ready.acquire()
        self.begin()
        go.set()
        told = [results.get() for _ in processes]
        self.client_us = sum(us for _, us in told)
        self.end()
        for process in processes:
            process.join()
        self.latencies = [latency for latencies, _ in told for latency in latencies]


BENCHES = {
    "flyte-run": (Bench.run, 30, "trivial tasks on a warm reusable worker, one at a time"),
    "flyte-cold": (Bench.cold, 30, "trivial tasks without a reuse policy, one at a time"),
    "flyte-fanout": (Bench.fanout, 1000, "core-sleep children of one parent"),
    "flyte-runs": (Bench.runs, 1000, "runs of core-sleep"),
}


# ---- what is printed ----


def quantile_us(values, q):
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(q * len(ordered)))] * 1e6, 1)


def line_of(bench, options):
    count = len(bench.latencies)
    words = subprocess.run([options.bin / "switchyard-bench", "--version"], capture_output=True, text=True).stdout
    cpu = {name: round(us / count, 1) for name, us in bench.cpu.items()}
    line = {
        "bench": options.bench,
        "count": count,
        "rate_per_s": round(count / bench.elapsed, 1),
        "p50_us": quantile_us(bench.latencies, 0.5),
        "p99_us": quantile_us(bench.latencies, 0.99),
        "p999_us": quantile_us(bench.latencies, 0.999),
        "cpu_us_per_task": round(sum(cpu.values()), 1),
        "cpu_us_by_process": cpu,
        "switchyard_cpu_us_per_task": round(sum(cpu[name] for name in bench.pids), 1),
    }
    if bench.stages:
        line["stages_p50_us"] = {name: round(s * 1e6, 1) for name, s in zip(STAGES, bench.stages)}
    return {**line, "mode": options.mode, "durable": "sync", "commit": words.split("(")[-1].split(",")[0], "build": options.bin.parent.name}


def medians(lines):
    """Of each figure; what is no figure is the same in all."""
    first = lines[0]
    if isinstance(first, dict):
        return {key: medians([line[key] for line in lines]) for key in first}
    return statistics.median(lines) if isinstance(first, (int, float)) else first


def print_table(line, what):
    print(f"{line['bench']}: {line['count']} {what}: {line['rate_per_s']}/s ({line['mode']}; {line['commit']})\n")
    print(f"{'LATENCY':<24}{'P50':>12}{'P99':>12}{'P99.9':>12}")
    row = "".join(f"{line[key] / 1000:>10.1f}ms" for key in ("p50_us", "p99_us", "p999_us"))
    print(f"{'submit to result':<24}{row}")
    for name, us in line.get("stages_p50_us", {}).items():
        print(f"{'  ' + name:<24}{us / 1000:>10.1f}ms")
    print(f"\n{'PROCESS':<24}{'CPU/TASK':>12}")
    for name, us in line["cpu_us_by_process"].items():
        print(f"{name:<24}{us:>10.0f}us")
    print(f"{'shard, operator, agent':<24}{line['switchyard_cpu_us_per_task']:>10.0f}us")


def parse():
    parser = argparse.ArgumentParser(prog="tools/bench", description=__doc__)
    parser.add_argument("bench", choices=BENCHES)
    parser.add_argument("--count", type=int, help="tasks to measure")
    parser.add_argument("--repeat", type=int, default=1, help="how often; medians are shown")
    parser.add_argument("--clients", type=int, default=2, help="processes of flyte-runs")
    parser.add_argument("--concurrency", type=int, default=8, help="runs at a time in each of them")
    parser.add_argument("--json", action="store_true", help="one line")
    for name in ("endpoint", "pids", "mode"):
        parser.add_argument(f"--{name}", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--bin", type=pathlib.Path, required=True, help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    options = parse()
    measure, count, what = BENCHES[options.bench]
    options.count = options.count or count
    if options.bench != "flyte-runs":
        connect(options.endpoint)
    lines = []
    for _ in range(options.repeat):
        bench = Bench(options)
        measure(bench)
        lines.append(line_of(bench, options))
    line = {**medians(lines), "repeat": options.repeat}
    if options.json:
        print(json.dumps(line))
    else:
        print_table(line, what)


if __name__ == "__main__":
    main()
