"""Backups of shards that serve, and what is there after their disk is lost."""
import fcntl
import os
import pathlib
import shutil
import subprocess
import tempfile

import harness
import raw_grpc
import s3_server
from harness import wait_until

SHARD = harness.BIN / "switchyard-shard"


def shard(box, *args, check=True, of="shard"):
    done = subprocess.run([SHARD, *map(str, args), "--config", box.dir / f"{of}.yaml"], text=True,
                          capture_output=True, timeout=240)
    if check and done.returncode != 0:
        raise AssertionError(f"switchyard-shard {args} gave {done.returncode}: {done.stderr}{done.stdout}")
    return done


def back_up(box):
    said = shard(box, "backup", "--at", box.endpoint).stdout.splitlines()
    assert len(said) == 1 and said[0].startswith("partition 0: backup "), said
    return int(said[0].split()[3].rstrip(","))


def data(box, of="shard"):
    return pathlib.Path(box.setting(of, "data_dir").strip('"'))


def lose_disk(box):
    """Its backups, if they were below it, are lost too."""
    box.kill("shard")
    shutil.rmtree(data(box))


def phase(box, run):
    return box.json("get", "run", run)["phase"]


def with_backups(where, settings, check, options=()):
    box = harness.Devbox(settings=[f"shard.backup_root={where}", *settings], options=options)
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
    said = shard(box, "backups").stdout.splitlines()  # a bucket tells its newest
    assert said[-1].startswith("partition 0: backup 2 of 20"), said
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
        with_backups(where, harness.NOTHING_IS_LOST, lost_and_restored)


def test_a_bucket(_box):
    moto = s3_server.installed(harness.ROOT / "build/s3-venv")
    if moto is None:
        raise harness.Skipped("there is no S3 server")
    with s3_server.serving(moto, "backups") as endpoint, tempfile.NamedTemporaryFile("w") as key:
        key.write("secret")
        key.flush()
        settings = [f"shard.backup_endpoint={endpoint}", "shard.backup_access_key=key",
                    f"shard.backup_secret_key_file={key.name}", *harness.NOTHING_IS_LOST]
        with_backups("s3://backups/under/a/prefix", settings, lost_and_restored)


SHARDS = ("shard-1", "shard-2", "shard-3")
PARTITIONS = 6


def new_storage(box):
    """What docs/operations.md says of `etcdctl del`."""
    etcd = box.setting("etcd-1", "listen-client-urls").removeprefix("http://")
    call = raw_grpc.Call(etcd, "/etcdserverpb.KV/DeleteRange")
    call.send(raw_grpc.field(1, "/switchyard/local/storage"))
    while not call.ended:
        call.receive()
    call.socket.close()


def region_map(box):
    return box.json("region", "map")["partitions"]


def test_a_region(_box):
    """Its storage is lost with all shards. A partition that is not restored is refused, until it is."""
    def check(box):
        runs = [f"r-{i}" for i in range(3 * PARTITIONS)]
        for run in runs:
            box.cli("run", "--name", run, "--", "true")
        made_by = {}
        for one in SHARDS:
            for line in shard(box, "backup", of=one).stdout.splitlines():
                made_by[int(line.split()[1].rstrip(":"))] = one
        said = shard(box, "backups", of="shard-1").stdout.splitlines()
        assert len(said) == list(made_by.values()).count("shard-1"), said
        assert sorted(made_by) == list(range(PARTITIONS)) and len(set(made_by.values())) == len(SHARDS), made_by
        box.kill("shard")
        shutil.rmtree(data(box, "shard-1"))

        def restore(partition):
            return shard(box, "restore", "--partition", partition, "--from", made_by[partition], of="shard-1").stdout

        for partition in range(PARTITIONS - 1):
            assert restore(partition).startswith(f"partition {partition}: restored to "), partition
        assert box.devbox("restart", "shard-1", check=False).returncode != 0
        assert "is not the storage that the other shards" in box.log("shard-1").splitlines()[-1]
        new_storage(box)
        launched = subprocess.Popen([harness.ROOT / "tools/devbox", "restart", "shard-1", "--dir", box.dir],
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: "partition-5 is missing" in box.log("shard-1"), "the refusal of what was forgotten")
        restore(PARTITIONS - 1)
        launched.wait()
        for one in SHARDS:
            box.restart(one)
        wait_until(lambda: all(p["shard"] and not p["opening"] for p in region_map(box)), "the region")
        for run in runs:
            assert phase(box, run) == "SUCCEEDED", run
        box.cli("run", "--name", "new", "--", "true")

    with tempfile.TemporaryDirectory(prefix="switchyard-backups.") as where:
        with_backups(where, [], check, ["--shards", str(len(SHARDS))])


test_a_region.needs = ("etcd",)


def back_up_all(box, made_by):
    """Of each partition: by which shard, and which backup of that one."""
    for one in SHARDS:
        for line in shard(box, "backup", of=one).stdout.splitlines():
            words = line.split()
            made_by[int(words[1].rstrip(":"))] = (one, int(words[3].rstrip(",")))
    return made_by


def split(box, partition):
    at = box.setting("shard-1", "listen")
    wait_until(lambda: box.cli("--endpoint", at, "region", "split", partition, check=False).returncode == 0, "a split", 30)


def served(box):
    wait_until(lambda: all(p["shard"] and not p["opening"] for p in region_map(box)), "the region", 60)


def lost_and_restored_as(box, made_by):
    """Its storage is lost; each partition comes back from that backup."""
    box.kill("shard")
    shutil.rmtree(data(box, "shard-1"))
    for partition, (one, number) in made_by.items():
        said = shard(box, "restore", "--partition", partition, "--from", one, "--backup", number, of="shard-1").stdout
        assert said.startswith(f"partition {partition}: restored to "), said
    new_storage(box)
    for one in SHARDS:
        box.restart(one)
    served(box)


def check_each_once(box, runs):
    for run in runs:
        assert phase(box, run) == "SUCCEEDED", run
    listed = [run["run"] for run in box.json("get", "runs", "-n", "0")]
    assert len(set(listed)) == len(listed), listed
    assert set(runs) <= set(listed), set(runs) - set(listed)


def test_a_split_region(_box):
    """Halves come back as they were, also where one of the two comes from a backup of the whole. What ran all the time goes on,
    in the half that has it, and halves can be split again."""
    def check(box):
        runs = []

        def make(kind, count=4 * PARTITIONS):
            for i in range(count):
                box.cli("run", "--name", f"{kind}-{i}", "--", "true")
                runs.append(f"{kind}-{i}")

        marks = box.dir / "marks"
        running = [f"running-{i}" for i in range(8)]
        for run in running:
            box.cli("run", "--detach", "--name", run, "--cpu", "0.01", "--", "sh", "-c",
                    f"echo {run} >>{marks}; until [ -e {marks}.go ]; do sleep 0.1; done")
        wait_until(lambda: marks.exists() and len(marks.read_text().split()) == len(running), "their starts")
        make("whole")
        whole = back_up_all(box, {})
        for partition in range(PARTITIONS):
            split(box, partition)
        served(box)
        before = list(runs)
        make("halves")
        halves = back_up_all(box, {})
        assert sorted(halves) == list(range(2 * PARTITIONS)), halves
        lost_and_restored_as(box, halves)
        check_each_once(box, runs)
        make("restored")
        split(box, 0)
        served(box)
        check_each_once(box, runs)
        assert len(region_map(box)) == 2 * PARTITIONS + 1
        halves[2 * PARTITIONS] = back_up_all(box, {})[2 * PARTITIONS]
        lost_and_restored_as(box, {**halves, **{p: whole[p] for p in range(0, PARTITIONS, 2)}})
        check_each_once(box, before)
        marks.with_name("marks.go").touch()
        for run in running:
            wait_until(lambda run=run: phase(box, run) == "SUCCEEDED", "the end of what ran")
        assert sorted(marks.read_text().split()) == running, "some of it was begun again"
        box.cli("run", "--name", "new", "--", "true")

    with tempfile.TemporaryDirectory(prefix="switchyard-backups.") as where:
        with_backups(where, ["shard.partitions_max=16"], check, ["--shards", str(len(SHARDS))])


test_a_split_region.needs = ("etcd",)


def test_an_older_one(_box):
    def check(box):
        for i in (1, 2):
            box.cli("run", "--name", f"r-{i}", "--", "true")
            assert back_up(box) == i
        said = shard(box, "backups").stdout.splitlines()
        assert [line.split()[3] for line in said] == ["1", "2"], said
        for i in (1, 2):  # the second time its clusters have heard the epochs of the first
            lose_disk(box)
            shard(box, "restore", "--backup", 1)
            for _ in range(3):
                box.restart("shard")
                box.kill("shard")
            box.restart("shard")
            assert phase(box, "r-1") == "SUCCEEDED"
            assert box.cli("get", "run", "r-2", check=False).returncode != 0
            box.cli("run", "--name", f"after-{i}", "--", "true")

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
        refused(box, f"backup by the shard at {box.endpoint}: ", "backup", "--at", box.endpoint)
        refused(box, "holds no backups", "restore", "--from", "another")
        data(box).mkdir(exist_ok=True)
        held = os.open(data(box), os.O_RDONLY)  # as another restore has it
        fcntl.flock(held, fcntl.LOCK_EX)
        refused(box, "another restore to ", "restore")
        os.close(held)
        shard(box, "restore")
        box.restart("shard")

    with tempfile.TemporaryDirectory(prefix="switchyard-backups.") as where:
        with_backups(where, [], check)
