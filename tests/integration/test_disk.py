"""A full disk: clear refusals, reads go on, and nothing acknowledged is lost once there is room again."""
import os
import pathlib
import subprocess
import tempfile

import harness
from harness import wait_until


REFUSALS = ("disk", "full", "not serving")
# Notes that it runs and that it has ended; for a moment it is one of those that are out.
NOTE = 'echo start >>"$0"; sleep 0.1; echo end >>"$0"'


class SmallDisk:
    """A devbox whose shard has a disk of 24 MiB."""

    def __enter__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="switchyard-disk."))
        self.filler = self.path / "filler"
        self.box = None
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", self.path], capture_output=True)
        if done.returncode != 0:
            self.path.rmdir()
            raise harness.Skipped("mounting a tmpfs is not permitted here")
        try:
            self.box = harness.Devbox(settings=[f"shard.data_dir={self.path}/shard"])
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.box is not None:
            self.box.close()
        subprocess.run(["umount", "-l", self.path])
        self.path.rmdir()

    def fill(self):
        with open(self.filler, "wb", buffering=0) as f:
            try:
                while True:
                    f.write(os.urandom(1 << 16))
            except OSError:
                pass

    def clear(self):
        self.filler.unlink()
        wait_until(lambda: self.box.cli("run", "--", "true", check=False, timeout=120).returncode == 0, "room again")


def until_refused(box, *args):
    """Repeats a command, `{}` is a number, until the disk is full; the numbers of those that were acknowledged."""
    acknowledged = []
    for i in range(60):
        done = box.cli(*[str(arg).format(i) for arg in args], check=False, timeout=120)
        if done.returncode != 0:
            assert any(word in done.stderr for word in REFUSALS), done.stderr
            return acknowledged
        acknowledged.append(i)
    raise AssertionError("a full disk refused nothing")


def test_full_disk(_box):
    with SmallDisk() as disk:
        disk.box.cli("run", "--name", "first", "--", "true")
        disk.fill()
        acknowledged = until_refused(disk.box, "run", "--detach", "--name", "r-{}", "--", "true")
        disk.clear()
        for name in ["first", *(f"r-{i}" for i in acknowledged)]:
            assert disk.box.json("get", "run", name)["run"] == name


def test_queues_and_gangs_on_a_full_disk(_box):
    """Work of a limited queue and a gang are under way: each ends once it can, and the limit holds throughout."""
    with SmallDisk() as disk:
        box = disk.box
        notes = disk.path.with_name(disk.path.name + ".notes")
        lines = disk.path.with_name(disk.path.name + ".lines")
        lines.write_text("x\n" * 100)
        try:
            box.cli("create", "queue", "one", "--actions-max", "1")
            box.cli("run", "--detach", "--name", "many", "--queue", "one", "--lines", lines, "--", "sh", "-c", NOTE, notes)
            box.cli("run", "--detach", "--name", "gang", "--gang", 3, "--cpu", "100m", "--gang-on-loss", "restart", "--", "sleep", 2)
            wait_until(notes.exists, "the first runs")
            disk.fill()
            queues = until_refused(box, "create", "queue", "q-{}")
            disk.clear()
            known = {q["queue"] for q in box.json("get", "queues", "--limit", "0")}
            assert {f"q-{i}" for i in queues} <= known
            for run in ("many", "gang"):
                wait_until(lambda: box.json("get", "run", run)["phase"] == "SUCCEEDED", run)
            said = notes.read_text().split()
            assert said == ["start", "end"] * (len(said) // 2) and len(said) >= 200, said
        finally:
            for path in (notes, lines):
                path.unlink(missing_ok=True)
