#!/usr/bin/env python3
"""A region in network namespaces, under load and faults:  run.py [--full] [--older BIN] [NAME-PART...]

Three shards, three members of etcd, three clusters of two nodes, a namespace each; the links between them belong to the test. scenarios.py
has what befalls them; without --full those that take long are left out, but for those that a NAME-PART names. The auditor
(auditor.py) has the last word. All of it runs in namespaces of its own: whatever becomes of it, nothing is left.
--older BIN: the programs of another build, an older version's (`versions_are_mixed` needs them).
"""
import argparse
import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import time
import traceback

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "integration")]

import flyte_load  # noqa: E402
import harness  # noqa: E402
from auditor import TERMINAL, Auditor, Records  # noqa: E402
from load import Load, Region, Shards  # noqa: E402
from net import Box  # noqa: E402
from scenarios import SCENARIOS  # noqa: E402
from torment import Torment  # noqa: E402

LIBRARY = harness.BIN / "libswitchyard-fault-tasks.so"
INSIDE = "SWITCHYARD_TEST_INSIDE"
ISOLATED = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]


class World:
    """What a scenario has to do with."""

    def __init__(self, box):
        self.box, self.net, self.records = box, box.net, box.dir / "records"
        self.records.mkdir()
        self.auditor, self.region = Auditor(), Region(box.endpoints())
        self.load = Load(box.endpoints(), LIBRARY, self.records, self.auditor)
        self.torment = Torment(box, self.load, self.region)

    def tell(self, hit):
        print(f"    {hit.how} of {hit.daemon}: what it had is served again after {hit.back:.2f} s", flush=True)

    def answered(self, since_what):
        """Each partition answers again."""
        away = self.load.away(range(self.load.partitions), time.monotonic())
        assert max(away.values()) < 60, f"{since_what}: partitions do not answer: {away}"
        print(f"    {since_what}: answered for after {max(away.values()):.2f} s", flush=True)

    def submitters_pause(self):
        return self.load.paused()

    def submit(self, kinds):
        shards = Shards(self.box.endpoints())
        return [self.load.make(shards, kind) for kind in kinds]

    def starts(self, run):
        """How many attempts of its root began."""
        path = self.records / f"{run}.a0"
        return path.read_text().count("start ") if path.exists() else 0

    def node(self, run):
        """Where the newest attempt of its root runs, if it says so."""
        path = self.records / f"{run}.a0"
        nodes = [line.split()[4] for line in path.read_text().split("\n")[:-1] if line.startswith("at ")] if path.exists() else []
        return nodes[-1] if nodes else None

    def go(self, runs):
        """They may end (`audited_alone`)."""
        for run in runs:
            (self.records / f"{run}.a0.go").touch()

    def ended(self, runs, seconds):
        shards = Shards(self.box.endpoints())
        harness.wait_until(lambda: all(self.load.see(shards, run) in TERMINAL for run in runs), "these runs end", seconds)


def chosen(parts, full, older):
    possible = [f for f in SCENARIOS if older or not f.mixed]
    if parts:
        return [f for f in possible if any(part in f.__name__ for part in parts)]
    return [f for f in possible if full or not f.full]


def groups(functions):
    """Those that can share a region."""
    found = {}
    for f in functions:
        found.setdefault((f.settings, f.shimmed, f.mixed), []).append(f)
    return found.items()


def run_scenario(world, f):
    start = time.monotonic()
    try:
        f(world)
        print(f"ok      faults.{f.__name__}  {time.monotonic() - start:.1f} s", flush=True)
        return True
    except Exception:
        traceback.print_exc()
        print(f"FAILED  faults.{f.__name__}  {time.monotonic() - start:.1f} s", flush=True)
        return False


def run_group(box, functions):
    world = World(box)
    flyte = flyte_load.FlyteLoad(box.endpoints()[0], world.records, world.auditor, box.dir / "log/flyte") if flyte_load.there() else None
    with world.load, flyte or contextlib.nullcontext():
        world.torment.settle()
        results = [run_scenario(world, f) for f in functions]
        world.net.link("*", "*")
    world.load.collect()
    verdict = world.auditor.verdict(Records.read(world.records))
    print(verdict.text(), flush=True)
    print(f"{'ok     ' if verdict else 'FAILED '} faults.audit", flush=True)
    return [*results, bool(verdict)]


def run_all(functions, older):
    results = []
    for (settings, shimmed, mixed), members in groups(functions):
        with settings() if settings else contextlib.nullcontext(()) as given:
            box = Box(given, shimmed, older if mixed else harness.BIN)
            good = False
            try:
                of_group = run_group(box, members)
                good = all(of_group)
                results += of_group
            finally:
                box.close(keep=not good)
                if not good:
                    print(f"--- kept in {box.dir}")
    return results


def isolate():
    """Begins anew in namespaces of its own, where nothing outlives it; says why not, where that is not permitted."""
    rights = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = [*ISOLATED, *rights]
    for missing in ("etcd", "unshare", "nsenter"):
        if not shutil.which(missing):
            return f"{missing}: not installed (tools/install-deps test)"
    if not os.path.exists("/dev/net/tun") or subprocess.run([*command, "true"], capture_output=True).returncode != 0:
        return "network namespaces with TUN devices are not permitted here"
    # bash is the first process there: it takes care of those whose parents are gone
    os.execvpe("unshare", [*command, "bash", "-c", '"$@"; exit $?', "bash", sys.executable, "-B", *sys.argv], dict(os.environ, **{INSIDE: "1"}))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog="Scenarios: " + ", ".join(f.__name__ for f in SCENARIOS))
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--older", type=pathlib.Path, metavar="BIN")
    parser.add_argument("parts", nargs="*", metavar="NAME-PART")
    options = parser.parse_args()
    if options.older and not (options.older / "switchyard-shard").exists():
        parser.error(f"--older {options.older}: there is no switchyard-shard")
    functions = chosen(options.parts, options.full, options.older)
    if not functions:
        parser.error(f"no scenario has {' or '.join(options.parts)} in its name{'' if options.older else ', or it needs --older'}")
    return functions, options.older and options.older.resolve()


def main():
    functions, older = arguments()
    if INSIDE not in os.environ:
        print(f"SKIPPED faults  {isolate()}")
        sys.exit(0)
    try:
        results = run_all(functions, older)
    except harness.Skipped as why:
        print(f"SKIPPED faults  {why}")
        sys.exit(0)
    print(f"{results.count(True)} passed, {results.count(False)} failed")
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
