"""Flyte runs beside the native ones, where the SDK is there (tools/flyte-venv)."""
import os
import pathlib
import subprocess
import threading
import time

import harness
from client import DOMAIN, PROJECT

HERE = pathlib.Path(__file__).resolve().parent
VENV = pathlib.Path(os.environ.get("FLYTE_VENV", harness.ROOT / "build/flyte-venv"))
PREFIX = "flyte"


def there():
    return (VENV / "bin/a0").exists()


class FlyteLoad:
    """While the `with` lasts. Its submits are the auditor's."""

    def __init__(self, endpoint, records, auditor, log):
        self.command = [VENV / "bin/python", "-B", HERE / "flyte_runs.py", endpoint, PROJECT, DOMAIN, records, PREFIX]
        self.auditor, self.log, self.acknowledged, self.lost = auditor, log, 0, []

    def __enter__(self):
        # the SDK remembers under its home which code it has uploaded to an endpoint: another region's storage has not got it
        environment = {**os.environ, "HOME": str(pathlib.Path(self.log).parent)}
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
        self.thread = threading.Thread(target=self.read)
        self.thread.start()
        return self

    def read(self):
        for line in self.process.stdout:
            what, run, *more = line.split(maxsplit=2)
            if what == "submit":
                self.auditor.submitted(run)
            elif what == "ack":
                self.acknowledged += 1
                self.auditor.acknowledged(run, time.monotonic())
            elif what == "lost":
                self.lost.append(f"{run}: {' '.join(more)}")

    def __exit__(self, *_):
        self.process.stdin.close()
        self.thread.join()
        self.process.wait()
        print(f"    {self.acknowledged} programs of Flyte acknowledged, {len(self.lost)} submits lost: {self.lost[:3]}", flush=True)
