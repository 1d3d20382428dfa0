"""Backups of a shard that serves, and what is there after its disk is lost."""
import pathlib
import shutil
import subprocess
import tempfile

import harness
import s3_server
from harness import wait_until

SHARD = harness.BIN / "switchyard-shard"


def shard(box, *args, check=True):
    done = subprocess.run([SHARD, *map(str, args), "--config", box.dir / "shard.yaml"], text=True,
                          capture_output=True, timeout=120)
    if check and done.returncode != 0:
        raise AssertionError(f"switchyard-shard {args} gave {done.returncode}: {done.stderr}{done.stdout}")
    return done


def back_up(box):
    said = shard(box, "backup", "--at", box.endpoint).stdout.splitlines()
    assert len(said) == 1 and said[0].startswith("partition 0: backup "), said
    return int(said[0].split()[3].rstrip(","))


def data(box):
    return pathlib.Path(box.setting("shard", "data_dir").strip('"'))


def lose_disk(box):
    """Its backups, if they were below it, are lost too."""
    box.kill("shard")
    shutil.rmtree(data(box))


def phase(box, run):
    return box.json("get", "run", run)["phase"]


def with_backups(where, settings, check):
    box = harness.Devbox(settings=[f"shard.backup_root={where}", *settings])
    try:
        check(box)
    finally:
        box.close()


def lost_and_restored(box):
    """What was acknowledged before a backup is there; a task that ran all the time is not run again."""
    marks = box.dir / "marks"
    box.cli("run", "--name", "ended", "--", "true")
    box.cli("run", "--detach", "--name", "running", "--", "sh", "-c", f"echo start >>{marks}; until [ -e {marks}.go ]; do sleep 0.1; done; echo end >>{marks}")
    wait_until(marks.exists, "its start")
    load = [box.background("run", "--lines", lines(box, 200), "--name", f"load-{i}", "--", "true") for i in range(3)]
    assert back_up(box) == 1
    box.cli("run", "--name", "between", "--", "true")
    assert back_up(box) == 2
    box.cli("run", "--name", "after", "--", "true")
    for process in load:
        process.communicate()
    lose_disk(box)
    said = shard(box, "restore").stdout
    assert said.startswith("partition 0: restored to "), said
    box.restart("shard")
    assert phase(box, "ended") == "SUCCEEDED" and phase(box, "between") == "SUCCEEDED"
    assert box.cli("get", "run", "after", check=False).returncode != 0
    marks.with_name("marks.go").touch()
    wait_until(lambda: phase(box, "running") == "SUCCEEDED", "the end of what ran")
    assert marks.read_text().split() == ["start", "end"]
    box.cli("run", "--name", "new", "--", "true")  # its cluster takes it, whatever epochs it had heard
    assert back_up(box) == 3  # also where DATA_DIR/backups was lost with the rest: none before it is overwritten
    lose_disk(box)
    shard(box, "restore")
    box.restart("shard")
    assert phase(box, "new") == "SUCCEEDED"
    lose_disk(box)
    shard(box, "restore", "--backup", 1)
    box.restart("shard")
    assert phase(box, "ended") == "SUCCEEDED" and box.cli("get", "run", "between", check=False).returncode != 0
    box.cli("run", "--name", "newer", "--", "true")


def lines(box, count):
    path = box.dir / "lines"
    path.write_text("x\n" * count)
    return path


def test_a_directory(_box):
    with tempfile.TemporaryDirectory(prefix="switchyard-backups.") as where:
        with_backups(where, [], lost_and_restored)


def test_a_bucket(_box):
    moto = s3_server.installed(harness.ROOT / "build/s3-venv")
    if moto is None:
        raise harness.Skipped("there is no S3 server")
    with s3_server.serving(moto, "backups") as endpoint, tempfile.NamedTemporaryFile("w") as key:
        key.write("secret")
        key.flush()
        settings = [f"shard.backup_endpoint={endpoint}", "shard.backup_access_key=key",
                    f"shard.backup_secret_key_file={key.name}"]
        with_backups("s3://backups/under/a/prefix", settings, lost_and_restored)


def test_an_older_one(_box):
    def check(box):
        for i in (1, 2):
            box.cli("run", "--name", f"r-{i}", "--", "true")
            assert back_up(box) == i
        said = shard(box, "backups").stdout.splitlines()
        assert [line.split()[3] for line in said] == ["1", "2"], said
        lose_disk(box)
        shard(box, "restore", "--backup", 1)
        box.restart("shard")
        assert phase(box, "r-1") == "SUCCEEDED"
        assert box.cli("get", "run", "r-2", check=False).returncode != 0

    with tempfile.TemporaryDirectory(prefix="switchyard-backups.") as where:
        with_backups(where, [], check)


def refused(box, words, *args):
    done = shard(box, *args, check=False)
    assert done.returncode == 1 and words in done.stderr, (args, done.returncode, done.stderr)


def test_refusals(box):
    for args in (("backpu",), ("backup", "restore"), ("backup", "--partition", 1), ("restore", "--backup", "x")):
        assert shard(box, *args, check=False).returncode == 64, args
    refused(box, "backup_root is empty", "backup", "--at", box.endpoint)
    refused(box, "backup_root is empty", "restore")

    def check(box):
        refused(box, "holds no backups", "backups")
        back_up(box)
        refused(box, "is not empty: move away what it holds", "restore")
        refused(box, "partition 7: the region has 1", "restore", "--partition", 7)
        lose_disk(box)
        refused(box, "no backup 9; the newest is 1", "restore", "--backup", 9)
        refused(box, "UNAVAILABLE", "backup", "--at", box.endpoint)
        refused(box, "holds no backups", "restore", "--from", "another")
        shard(box, "restore")
        box.restart("shard")

    with tempfile.TemporaryDirectory(prefix="switchyard-backups.") as where:
        with_backups(where, [], check)
