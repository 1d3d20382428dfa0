"""A throw-away devbox of real processes, and what tests need to torment it.

Every test is a function test_*(box) in a file test_*.py of this folder; run.py gives each a fresh devbox. The function's
attributes `options` and `settings` (each a --set) are of its `tools/devbox start`; without a program that it `needs` it is skipped.
"""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("SWITCHYARD_BIN", ROOT / "build/release/bin"))
TASKS = BIN / "libswitchyard-test-tasks.so"


# For tests that nothing that runs is lost: nobody is taken for lost, or not waited for, because he got no processor for a while.
NOTHING_IS_LOST = ["shard.cluster_lease=10m", "shard.recovery_wait=10m", "operator.node_lease=10m", "operator.join_grace=10m"]


class Skipped(Exception):
    """Raised by a test that this machine does not permit; run.py and tools/test say so aloud."""


class Devbox:
    def __init__(self, settings=(), directory=None, options=(), programs=BIN):
        self.dir = pathlib.Path(directory or tempfile.mkdtemp(prefix="switchyard-test."))
        self.settings = list(settings)
        self.options = list(options)  # of tools/devbox start
        self.programs = programs
        self.start()

    def devbox(self, *args, check=True):
        return subprocess.run([ROOT / "tools/devbox", *args, "--dir", self.dir], check=check, text=True,
                              capture_output=True)

    def start(self):
        args = ["start", "--port", "0", "--bin", self.programs, *self.options]
        for setting in self.settings:
            args += ["--set", setting]
        self.devbox(*args)
        self.endpoint = self.devbox("endpoint").stdout.strip()

    def daemons(self):
        return [line.split()[0] for line in self.devbox("status").stdout.splitlines()]

    def pid(self, daemon):
        return int((self.dir / f"{daemon}.pid").read_text())

    def setting(self, daemon, key):
        """What the daemon's configuration file has."""
        lines = (self.dir / f"{daemon}.yaml").read_text().splitlines()
        return next(line.split(": ", 1)[1] for line in lines if line.startswith(f"{key}: "))

    def kill(self, daemon):
        self.devbox("kill", daemon)

    def restart(self, daemon):
        self.devbox("restart", daemon)

    def workers(self, agent="agent"):
        """Pids of the warm workers, found below the agent."""
        found, todo = [], [self.pid(agent)]
        while todo:
            pid = todo.pop()
            try:
                todo += [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
                name = pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
            except FileNotFoundError:
                continue
            if name.startswith("switchyard-work"):
                found.append(pid)
        return found

    def kill_worker(self, agent="agent"):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for pid in self.workers(agent):
                try:
                    os.kill(pid, signal.SIGKILL)
                    return pid
                except ProcessLookupError:
                    continue
            time.sleep(0.02)
        raise AssertionError("no worker to kill")

    def cli(self, *args, check=True, timeout=240, **kwargs):
        environment = dict(os.environ, SWITCHYARD_ENDPOINT=self.endpoint)
        done = subprocess.run([BIN / "switchyard", *map(str, args)], text=True, capture_output=True,
                              timeout=timeout, env=environment, **kwargs)
        if check and done.returncode != 0:
            raise AssertionError(f"switchyard {args} gave {done.returncode}: {done.stderr}{done.stdout}")
        return done

    def json(self, *args, **kwargs):
        return json.loads(self.cli("-o", "json", *args, **kwargs).stdout)  # first: after "--" it would be the command's

    def events(self, run):
        """Waits for the end of the run; every change of it."""
        return [json.loads(line) for line in self.cli("watch", run, "-o", "json").stdout.splitlines()]

    def background(self, *args, **kwargs):
        environment = dict(os.environ, SWITCHYARD_ENDPOINT=self.endpoint)
        return subprocess.Popen([BIN / "switchyard", *map(str, args)], text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, env=environment, **kwargs)

    def log(self, daemon):
        return (self.dir / "log" / f"{daemon}.log").read_text(errors="replace")

    def close(self, keep=False):
        self.devbox("kill", check=False)
        if not keep:
            shutil.rmtree(self.dir, ignore_errors=True)


def wait_until(condition, what, seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what}")


def marks(directory):
    """What the test tasks wrote: {action name: [attempts that ran]}."""
    found = {}
    for path in pathlib.Path(directory).iterdir():
        name, attempt = path.name.rsplit("@", 1)
        found.setdefault(name, []).append(int(attempt))
    return found
