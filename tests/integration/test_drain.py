"""A cluster is drained while work comes in: what has not started goes elsewhere, what runs may end until the deadline."""
from harness import wait_until

# Says that this attempt has begun, and ends when the file `go` is there.
TASK = r"""
touch $0/$1.$SWITCHYARD_ATTEMPT
until [ -e $0/go ]; do sleep 0.05; done
"""


def cluster(box, name):
    return box.json("cluster", "get", name)


def is_(box, name, state):
    wait_until(lambda: cluster(box, name)["state"] == state, f"{name} is {state}")


def places(box, run):
    """(cluster, attempt) of each task of the run that has succeeded."""
    return {e["action"]: (e["cluster"], e["attempt"]) for e in box.events(run)
            if e["phase"] == "SUCCEEDED" and e["action"] != "a0"}


def stopped(box, run):
    """Actions of which an attempt ended, and another followed, with the reason."""
    return {e["action"]: e["error"]["message"] for e in box.events(run) if e["phase"] == "QUEUED" and e.get("error")}


def test_drain(box):
    """With a deadline, under load, and shard and operator die meanwhile: all of it ends elsewhere, and no retry is used."""
    for name in ("eu-1", "us-2"):
        box.cli("cluster", "create", name)
    box.cli("create", "queue", "q", "--cluster", "eu-1")
    directory = box.dir / "tasks"
    directory.mkdir()
    count = 24  # more than there is room for at once
    run = box.json("run", "--detach", "--queue", "q", "--cpu", "500m", "--each", *range(count),
                   "--", "sh", "-c", TASK, directory, "{}")["run"]
    wait_until(lambda: list(directory.glob("*.1")), "some run")
    box.cli("update", "queue", "q", "--cluster", "")  # from now on they may go to us-2 too
    load = box.background("run", "--each", *range(100), "--", "sh", "-c", "sleep 0.02")
    assert box.cli("cluster", "drain", "eu-1", "--deadline", "5m").stdout == "cluster eu-1 is draining\n"
    box.kill("shard")
    box.restart("shard")
    wait_until(lambda: cluster(box, "eu-1")["drain"]["unknown"] == 0, "its operator is back")
    now = cluster(box, "eu-1")
    assert now["state"] == "draining" and now["drain"]["running"] > 0 and now["drain"]["deadline_ns"] > 0, now
    assert "nothing new goes there" in now["reason"] and "what runs is stopped at" in now["reason"], now
    wait_until(lambda: cluster(box, "eu-1")["drain"]["waiting"] == 0, "what had not started has come back")
    box.cli("cluster", "drain", "eu-1", "--deadline", "3s")  # sooner
    box.kill("shard")
    box.kill("operator-1")
    box.restart("operator-1")
    box.restart("shard")
    waited = box.cli("cluster", "drain", "eu-1", "--deadline", "1s", "--wait")
    assert waited.stdout == "cluster eu-1 is drained\n", waited
    now = cluster(box, "eu-1")
    assert (now["state"], now["reason"]) == ("drained", "nothing is left there"), now
    assert now["drain"]["running"] == now["drain"]["waiting"] == now["drain"]["unknown"] == now["running"] == 0, now
    assert next(c["state"] for c in box.json("cluster", "list") if c["cluster"] == "eu-1") == "drained"
    (directory / "go").touch()
    assert load.wait(240) == 0
    done = places(box, run)
    assert len(done) == count and {c for c, _ in done.values()} == {"us-2"}, done
    why = stopped(box, run)
    assert why and all(w.startswith("stopped: its cluster is drained") for w in why.values()), why
    assert {c for c, _ in places(box, box.json("run", "--detach", "--each", *range(12), "--", "true")["run"]).values()} == {"us-2"}
    box.cli("cluster", "uncordon", "eu-1")
    is_(box, "eu-1", "ready")
    assert cluster(box, "eu-1")["drain"] is None
    box.cli("create", "queue", "east", "--cluster", "eu-1")
    box.cli("run", "--queue", "east", "--", "true")


test_drain.options = ["--clusters", "2"]
