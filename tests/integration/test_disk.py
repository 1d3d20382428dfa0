"""A full disk: clear refusals, reads go on, and nothing acknowledged is lost once there is room again."""
import os
import pathlib
import subprocess
import tempfile

import harness
from harness import wait_until


def mount(path):
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", path], capture_output=True)
    return done.returncode == 0


def test_full_disk(box):
    path = pathlib.Path(tempfile.mkdtemp(prefix="switchyard-disk."))
    if not mount(path):
        path.rmdir()
        raise harness.Skipped("mounting a tmpfs is not permitted here")
    full = None
    try:
        full = harness.Devbox(settings=[f"shard.data_dir={path}/shard"])
        full.cli("run", "--name", "first", "--", "true")
        filler = path / "filler"
        with open(filler, "wb") as f:
            try:
                while True:
                    f.write(os.urandom(1 << 16))
                    f.flush()
            except OSError:
                pass
        refused = 0
        acknowledged = []
        for i in range(60):
            done = full.cli("run", "--detach", "--name", f"r-{i}", "--", "true", check=False, timeout=30)
            if done.returncode == 0:
                acknowledged.append(f"r-{i}")
            else:
                refused += 1
                assert "disk" in done.stderr or "full" in done.stderr or "not serving" in done.stderr, done.stderr
                break
        assert refused, "a full disk refused nothing"
        filler.unlink()
        wait_until(lambda: full.cli("run", "--", "true", check=False, timeout=30).returncode == 0, "room again")
        for name in ["first", *acknowledged]:
            assert full.json("get", "run", name)["run"] == name
    finally:
        if full is not None:
            full.close()
        subprocess.run(["umount", "-l", path])
        path.rmdir()
