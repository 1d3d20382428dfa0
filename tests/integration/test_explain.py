"""What `explain` and `run --dry-run` say, on real processes: each stated change is made, and it starts."""
import json

from harness import wait_until


def explained(box, *args):
    return box.json("explain", *args)


def dry_run(box, *args):
    return json.loads(box.cli("run", "--dry-run", "-o", "json", *args, "--", "true").stdout)


def waits(box, run):
    answer = None

    def settled():
        nonlocal answer
        answer = explained(box, run)
        return answer["explanation"] and answer["explanation"]["state"] == "queued"

    wait_until(settled, f"{run} waits")
    return answer["explanation"]


def starts(box, run):
    wait_until(lambda: box.json("get", "run", run)["phase"] in ("RUNNING", "SUCCEEDED"), f"{run} starts")


def test_limit(box):
    box.cli("create", "queue", "one", "--actions-max", "1")
    box.cli("run", "--detach", "--name", "first", "--queue", "one", "--", "sleep", "600")
    starts(box, "first")
    box.cli("run", "--detach", "--name", "second", "--queue", "one", "--", "true")
    e = waits(box, "second")
    assert [(limit["kind"], limit["used"], limit["max"]) for limit in e["limits"]] == [("ACTIONS", 1, 1)], e
    assert [(c["kind"], c["limit"], c["least"]) for c in e["changes"]] == [("LIMIT", "ACTIONS", 2)], e
    text = box.cli("explain", "second").stdout
    assert "limit actions of queue default/development/one: 1 of 1 used" in text, text
    assert "limit actions of queue default/development/one is 2 (now 1)" in text, text
    box.cli("update", "queue", "one", "--actions-max", "2")
    starts(box, "second")
    assert explained(box, "first")["explanation"]["state"] == "running"
    box.cli("abort", "first")


def test_paused(box):
    box.cli("create", "queue", "q")
    box.cli("pause", "queue", "q")
    box.cli("run", "--detach", "--name", "r", "--queue", "q", "--", "true")
    e = waits(box, "r")
    assert [c["kind"] for c in e["changes"]] == ["RESUME"] and e["estimate"]["basis"] == "NEEDS_CHANGE", e
    box.cli("resume", "queue", "q")
    wait_until(lambda: box.json("get", "run", "r")["phase"] == "SUCCEEDED", "it ran")
    answer = explained(box, "r")
    assert answer["explanation"] is None and answer["phase"] == "SUCCEEDED"
    (attempt,) = answer["timeline"]["attempts"]
    assert attempt["queued_ns"] <= attempt["started_ns"] <= attempt["ended_ns"], attempt
    assert attempt["queued_ns"] <= attempt["granted_ns"] <= attempt["reported_ns"], attempt
    parts = [attempt[name] for name in ("held_ns", "waited_ns", "ran_ns")]
    assert min(parts) >= 0 and parts[2] > 0, attempt
    assert sum(parts) <= attempt["reported_ns"] - attempt["granted_ns"], attempt
    assert "REPORTING" in box.cli("explain", "r").stdout


def test_dry_run(box):
    wait_until(lambda: dry_run(box)["explanation"]["clusters"][0]["state"] == "ready", "all is known")
    done = box.cli("run", "--dry-run", "--cpu", "100000", "--", "true", check=False)
    assert done.returncode == 5 and "100000.000 cores asked" in done.stderr, done
    assert "starts now if" in done.stdout, done.stdout
    done = box.cli("run", "--dry-run", "--queue", "nowhere", "--", "true", check=False)
    assert done.returncode == 5 and "no queue 'nowhere'" in done.stderr, done
    box.cli("create", "queue", "q")
    assert "would start at once" in box.cli("run", "--dry-run", "--queue", "q", "--", "true").stdout
    box.cli("pause", "queue", "q")
    said = dry_run(box, "--queue", "q", "--name", "r")
    assert [c["kind"] for c in said["explanation"]["changes"]] == ["RESUME"], said
    assert box.cli("get", "run", "r", check=False).returncode == 3, "nothing was made"
    assert box.json("get", "runs") == []


def test_unconnected(box):
    """The cluster is away: that is why, and that it connects is what is needed."""
    (name,) = [c["name"] for c in dry_run(box)["explanation"]["clusters"]]
    box.kill("operator")
    wait_until(lambda: dry_run(box)["explanation"]["clusters"][0]["state"] == "down", "it is away")
    box.cli("run", "--detach", "--name", "r", "--", "true")
    e = waits(box, "r")
    assert [(c["kind"], c["cluster"]) for c in e["changes"]] == [("CONNECT", name)], e
    assert "not connected" in box.cli("explain", "r").stdout
    box.restart("operator")
    wait_until(lambda: box.json("get", "run", "r")["phase"] == "SUCCEEDED", "it ran")


def test_room(box):
    """More than runs, and than waits at the node: the last one says that room is missing."""
    (cluster,) = box.json("get", "clusters")
    most = f"{cluster['capacity']['cpu_milli'] * 3 // 4}m"
    runs = [f"r{i}" for i in range(20)]
    for run in runs:
        box.cli("run", "--detach", "--name", run, "--cpu", most, "--", "sleep", "600" if run == "r0" else "0")
    starts(box, "r0")
    e = waits(box, runs[-1])
    kinds = [c["kind"] for c in e["changes"]]
    assert "ROOM" in kinds and set(kinds) <= {"ROOM", "FIRST"}, e
    assert e["clusters"][0]["eligible"] and not e["clusters"][0]["room"], e
    assert "a cluster with room for" in box.cli("explain", runs[-1]).stdout
    box.cli("abort", "r0")
    wait_until(lambda: box.json("get", "run", runs[-1])["phase"] == "SUCCEEDED", "it ran")


def test_displaced(box):
    """What would stop is said before there is a run, and it is what stops."""
    (cluster,) = box.json("get", "clusters")
    most = f"{cluster['capacity']['cpu_milli'] * 3 // 4}m"
    box.cli("create", "queue", "spare", "--preemptible")
    box.cli("create", "queue", "firm", "--priority", "10")
    box.cli("run", "--detach", "--name", "low", "--queue", "spare", "--cpu", most, "--", "sleep", "600")
    starts(box, "low")
    ask = ["--queue", "firm", "--cpu", most]

    def displaced():
        return dry_run(box, *ask)["explanation"]["clusters"][0]["displaced"]

    wait_until(lambda: displaced() and displaced()["count"] == 1, "the operator says it")
    (victim,) = displaced()["attempts"]
    assert victim["run"]["name"] == "low" and victim["queue"]["name"] == "spare", victim
    assert victim["started_ns"] > 0 and victim["node"], victim
    text = box.cli("run", "--dry-run", *ask, "--", "true").stdout
    assert "preemption would stop" in text and "low/a0 of queue" in text, text
    assert not dry_run(box, "--queue", "spare", "--cpu", most)["explanation"]["clusters"][0]["displaced"]["count"]
    box.cli("run", "--detach", "--name", "high", *ask, "--", "true")
    wait_until(lambda: box.json("get", "run", "high")["phase"] == "SUCCEEDED", "it had room made")
    box.cli("abort", "low")


def test_refusals(box):
    assert box.cli("explain", "nowhere", check=False).returncode == 3
    assert box.cli("explain", check=False).returncode == 2
