"""Queues of real processes: durable, known in every partition, and in force."""
from harness import wait_until

PARTITIONS = ["shard.partitions=3"]
LONE = 'mkdir "$0" && sleep 0.1 && rmdir "$0"'  # fails when another one is at it
MEET = 'touch "$0"; until [ -e "${0%?}1" ] && [ -e "${0%?}2" ]; do sleep 0.01; done'


def restart_hard(box):
    box.kill("shard")
    box.restart("shard")


def waiting(box, queue):
    status = box.json("get", "queue", queue)["status"]
    return status["actions"] - status["out"]


def test_survive_kill(box):
    box.cli("create", "queue", "top", "--actions-max", "5", "--memory-max", "64GiB")
    box.cli("create", "queue", "below", "--parent", "top", "--weight", "7")
    box.cli("create", "queue", "gpu", "--scope", "region", "--gpus-max", "8")
    box.cli("create", "queue", "--level", "--scope", "project", "--actions-max", "100")
    box.cli("pause", "queue", "below")
    runs = [f"r{i}" for i in range(9)]  # in every partition
    for run in runs:
        box.cli("run", "--detach", "--name", run, "--queue", "below", "--", "true")
    before = box.json("get", "queues")
    assert [q["queue"] for q in before] == ["gpu", None, "below", "top"], before
    restart_hard(box)
    wait_until(lambda: waiting(box, "below") == len(runs), "all wait where they did")
    after = box.json("get", "queues")
    for old, new in zip(before, after, strict=True):
        assert {**old, "status": None} == {**new, "status": None}
    assert {box.json("get", "run", run)["phase"] for run in runs} == {"QUEUED"}
    box.cli("resume", "queue", "below")
    for run in runs:
        wait_until(lambda: box.json("get", "run", run)["phase"] == "SUCCEEDED", run)


test_survive_kill.settings = PARTITIONS


def test_kill_in_a_change(box):
    """What was answered is known everywhere after a kill -9 that follows at once, or cuts others off."""
    acknowledged = set()
    for turn in range(5):
        names = [f"q{turn}-{i}" for i in range(20)]
        calls = {name: box.background("create", "queue", name, "--weight", str(turn + 1)) for name in names}
        wait_until(lambda: any(call.poll() == 0 for call in calls.values()), "one is answered")
        box.kill("shard")
        for name, call in calls.items():
            call.communicate(timeout=240)
            if call.returncode == 0:
                acknowledged.add(name)
        box.restart("shard")
    known = {q["queue"] for q in box.json("get", "queues", "--limit", "0")}
    assert acknowledged and acknowledged <= known, acknowledged - known
    for name in sorted(known)[:5]:
        for i in range(6):  # in several partitions
            box.cli("run", "--detach", "--name", f"{name}-{i}", "--queue", name, "--", "true")
    wait_until(lambda: all(r["phase"] == "SUCCEEDED" for r in box.json("get", "runs")), "all ran")


test_kill_in_a_change.settings = PARTITIONS


def test_limit(box):
    box.cli("create", "queue", "one", "--actions-max", "1")
    places = [str(box.dir / "place")] * 6
    box.cli("run", "--queue", "one", "--each", *places, "--", "sh", "-c", LONE)
    box.cli("update", "queue", "one", "--actions-max", "0")
    box.cli("run", "--queue", "one", "--each", box.dir / "m1", box.dir / "m2", "--", "sh", "-c", MEET)


def test_full(box):
    """A fan-out that is longer than its queue waits for room and loses nothing."""
    box.cli("create", "queue", "short", "--length-max", "10")
    lines = box.dir / "lines"
    lines.write_text("".join(f"{i}\n" for i in range(200)))
    run = box.background("run", "--name", "r", "--queue", "short", "--lines", lines, "--", "true")
    out, err = run.communicate(timeout=240)
    assert run.returncode == 0, err
    actions = [a for a in box.json("get", "actions", "r", "--limit", "0") if a["action"] != "a0"]
    assert len(actions) == 200 and {a["phase"] for a in actions} == {"SUCCEEDED"}


def test_refusals(box):
    def says(code, words, *args):
        done = box.cli(*args, check=False)
        assert done.returncode == code and words in done.stderr, f"{args}: {done.returncode} {done.stderr}"

    says(5, "nowhere", "run", "--queue", "nowhere", "--", "true")
    says(3, "does not exist", "get", "queue", "nowhere")
    says(3, "does not exist", "update", "queue", "nowhere", "--weight", "2")
    says(5, "no such queue", "create", "queue", "x", "--parent", "nowhere")
    box.cli("create", "queue", "x")
    says(5, "exists already", "create", "queue", "x", "--weight", "3")
    box.cli("create", "queue", "y", "--parent", "x")
    says(5, "circle", "update", "queue", "x", "--parent", "y")
    says(5, "below it", "delete", "queue", "x")
    box.cli("pause", "queue", "y")
    box.cli("run", "--detach", "--name", "r", "--queue", "y", "--", "true")
    says(5, "not ended (1)", "delete", "queue", "y")
    box.cli("abort", "r")
    wait_until(lambda: box.cli("delete", "queue", "y", check=False).returncode == 0, "it is empty")
    box.cli("delete", "queue", "x")
    says(5, "at most 2 are allowed", "create", "queue", fill(box))


test_refusals.settings = ["shard.queues_max=2"]


def fill(box):
    box.cli("create", "queue", "a")
    box.cli("create", "queue", "b")
    return "c"
