"""Who is cut off, and what a person says of it: attempts that are given up, and nothing that is heard of them later."""
import json
import os
import pathlib
import re
import signal
import sqlite3
import time

from harness import NOTHING_IS_LOST, wait_until

# Writes ATTEMPT, the token and its pid into a file of its own, then waits until the file `go` is there.
TASK = r"""
echo $SWITCHYARD_ATTEMPT $SWITCHYARD_FENCING_TOKEN $$ $SWITCHYARD_NODE > $0/.$$ && mv $0/.$$ $0/attempt.$SWITCHYARD_ATTEMPT
until [ -e $0/go ]; do sleep 0.05; done
"""


def start(box, *options):
    directory = box.dir / "tasks"
    directory.mkdir()
    return directory, box.json("run", "--detach", *options, "--", "sh", "-c", TASK, directory)["run"]


def attempt(directory, number):
    """(token, pid, node) of an attempt that has begun."""
    path = pathlib.Path(directory / f"attempt.{number}")
    if not path.exists():
        return None
    _, token, pid, node = path.read_text().split()
    return token, int(pid), node


def begun(directory, number):
    return wait_until(lambda: attempt(directory, number), f"attempt {number} has begun")


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def agent_of(node):
    return node.replace("node", "agent")


def node_state(box, node):
    return next((n["state"] for n in box.json("get", "nodes") if n["node"] == node), None)


def ends(box, run):
    """(phase, attempt) of each time that its one task was told to have ended."""
    return [(e["phase"], e["attempt"]) for e in box.events(run) if e["phase"] in ("SUCCEEDED", "FAILED", "ABORTED")]


def test_node_fence(box):
    """A node that hangs is fenced: its task begins elsewhere at once, and what hung is stopped when it goes on."""
    directory, run = start(box)
    token, pid, node = begun(directory, 1)
    os.kill(box.pid(agent_of(node)), signal.SIGSTOP)
    assert box.cli("node", "fence", node).stdout == f"node {node} is fenced\n"
    new_token, _, new_node = begun(directory, 2)  # long before the lease of the node is over
    assert new_node != node and new_token > token
    assert alive(pid)
    box.kill("operator")  # what was said outlives it
    box.restart("operator")
    os.kill(box.pid(agent_of(node)), signal.SIGCONT)
    others = [box.json("run", "--detach", "--each", *range(20), "--", "true")["run"]]  # whoever is attached first
    wait_until(lambda: not alive(pid), "the fenced node was told to stop what it held")
    wait_until(lambda: node_state(box, node) == "fenced", "it is shown as fenced")
    refused = box.cli("node", "uncordon", node, check=False)
    assert refused.returncode != 0 and "unfence it first" in refused.stderr, refused.stderr
    others.append(box.json("run", "--detach", "--each", *range(20), "--", "true")["run"])
    # Of what ends sooner than its start is reported no event says RUNNING.
    for other in others:
        places = [e["node"] for e in box.events(other) if e["phase"] == "SUCCEEDED" and e["action"] != "a0"]
        assert places == [new_node] * 20, (places, new_node)
    (directory / "go").touch()
    assert ends(box, run) == [("SUCCEEDED", 2)]
    box.cli("node", "unfence", node)
    wait_until(lambda: node_state(box, node) == "ready", "it is open again")


test_node_fence.options = ["--clusters", "1", "--nodes", "2"]
test_node_fence.settings = ["operator.node_lease=10m"]


def write(db, token, value):
    """As docs/guarantees.md says; whether it counted."""
    text = (pathlib.Path(__file__).parents[2] / "docs" / "guarantees.md").read_text()
    (statement,) = re.findall(r"```sql\n(.*?)```", text, re.S)
    return db.execute(statement, {"job": "j", "token": token, "value": value}).rowcount == 1


def test_tokens_grow(box):
    """Over a failure, a loss, and a new epoch of the partition; SQL that checks them as documented refuses the older."""
    directory = box.dir / "tasks"
    directory.mkdir()
    script = """
echo $SWITCHYARD_FENCING_TOKEN > $0/.$$ && mv $0/.$$ $0/$SWITCHYARD_ATTEMPT
[ $SWITCHYARD_ATTEMPT != 1 ] || exit 1
until [ -e $0/go ]; do sleep 0.05; done
"""
    run = box.json("run", "--detach", "--retries", 1, "--", "sh", "-c", script, directory)["run"]
    wait_until(lambda: (directory / "2").exists(), "it was tried again")
    box.kill("agent")
    box.restart("agent")
    wait_until(lambda: (directory / "3").exists(), "what was lost was tried again")
    box.kill("shard")
    box.restart("shard")
    box.kill("agent")
    box.restart("agent")
    wait_until(lambda: (directory / "4").exists(), "and again")
    (directory / "go").touch()
    box.events(run)
    tokens = [(directory / str(n)).read_text().strip() for n in range(1, 5)]
    assert tokens == sorted(set(tokens)), tokens
    assert tokens[3].split(".")[0] > tokens[0].split(".")[0], tokens
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE result (job TEXT PRIMARY KEY, value TEXT, token TEXT)")
    assert write(db, tokens[1], "b") and write(db, tokens[3], "d")
    assert not write(db, tokens[2], "c") and not write(db, tokens[0], "a")
    assert write(db, tokens[3], "D")  # the same attempt once more
    assert db.execute("SELECT value, token FROM result").fetchall() == [("D", tokens[3])]


def is_(box, cluster, state):
    wait_until(lambda: next(c["state"] for c in box.json("cluster", "list") if c["cluster"] == cluster) == state,
               f"{cluster} is {state}")


def clusters_of(box, run):
    return {e["cluster"] for e in box.events(run) if e["phase"] == "SUCCEEDED" and e["action"] != "a0"}


def test_cluster_fence(box):
    """Nothing new goes to a cordoned cluster. A fenced one that hangs loses its task at once, and is not heard until unfenced."""
    for name in ("eu-1", "us-2"):
        box.cli("cluster", "create", name)
    assert box.cli("cluster", "cordon", "eu-1").stdout == "cluster eu-1 is cordoned\n"
    is_(box, "eu-1", "cordoned")
    many = box.json("run", "--detach", "--each", *range(12), "--", "true")["run"]
    assert clusters_of(box, many) == {"us-2"}
    box.cli("cluster", "uncordon", "eu-1")
    box.cli("create", "queue", "q", "--cluster", "eu-1")
    directory, run = start(box, "--queue", "q")
    token, pid, node = begun(directory, 1)
    assert node == "node-1-1"
    os.kill(box.pid("operator-1"), signal.SIGSTOP)
    box.cli("cluster", "fence", "eu-1")
    box.cli("update", "queue", "q", "--cluster", "")
    new_token, _, new_node = begun(directory, 2)  # long before the lease of the cluster is over
    assert new_node == "node-2-1" and new_token > token
    box.kill("shard")  # what was said outlives it
    box.restart("shard")
    os.kill(box.pid("operator-1"), signal.SIGCONT)
    wait_until(lambda: "is fenced" in box.log("operator-1"), "its operator is told why it is not let in")
    is_(box, "eu-1", "fenced")
    wait_until(lambda: not alive(pid), "what it held is stopped at once, though nobody is let in")
    is_(box, "eu-1", "fenced")
    box.cli("cluster", "unfence", "eu-1")
    (directory / "go").touch()
    assert ends(box, run) == [("SUCCEEDED", 2)]
    is_(box, "eu-1", "ready")


test_cluster_fence.options = ["--clusters", "2"]
test_cluster_fence.settings = ["shard.cluster_lease=10m"]


def waits_for(box, run, words):
    wait_until(lambda: words in box.cli("explain", run).stdout, f"it is said: {words}")


def test_wait(box):
    """A task whose policy it is is not begun again because its node is silent, then its cluster, nor after restarts of its operator and shard."""
    for refused in (["--on-partition", "never"], ["--env", "SWITCHYARD_ON_PARTITION=never"], ["--on-partition", "wait", "--gang", "2"]):
        done = box.cli("run", "--detach", *refused, "--", "true", check=False)
        assert done.returncode != 0 and ("expected replace, wait or stop-on-agent" in done.stderr or "gang" in done.stderr), done.stderr
    directory, run = start(box, "--on-partition", "wait")
    _, pid, node = begun(directory, 1)
    agent, operator = agent_of(node), f"operator-{node.split('-')[1]}"
    other = {"node-1-1": "node-2-1", "node-2-1": "node-1-1"}[node]
    waits_for(box, run, "is running in cluster")  # its agent has told that it began
    os.kill(box.pid(agent), signal.SIGSTOP)
    wait_until(lambda: node_state(box, node) == "lost", "the node is silent")
    time.sleep(2.5)  # more than its lease
    waits_for(box, run, f"nothing is heard of node {node}")
    box.kill(operator)
    box.restart(operator)
    wait_until(lambda: node_state(box, node) is None, "a new operator knows nothing of it")
    time.sleep(3)  # and says that its inventory is complete, but for that
    os.kill(box.pid(agent), signal.SIGCONT)
    wait_until(lambda: node_state(box, node) == "ready", "it is back")
    os.kill(box.pid(operator), signal.SIGSTOP)
    wait_until(lambda: node_state(box, node) == "unreachable", "its cluster is silent")
    time.sleep(5)  # more than its lease
    waits_for(box, run, "nothing is heard of cluster")
    box.kill("shard")
    box.restart("shard")
    wait_until(lambda: node_state(box, other) == "ready", "the other cluster is there")
    time.sleep(5)  # more than a restarted shard waits for inventories
    assert attempt(directory, 2) is None and alive(pid)
    os.kill(box.pid(operator), signal.SIGCONT)
    (directory / "go").touch()
    assert ends(box, run) == [("SUCCEEDED", 1)]


test_wait.options = ["--clusters", "2"]
test_wait.settings = ["operator.node_lease=1s", "operator.heartbeat=100ms", "operator.join_grace=1s", "shard.cluster_lease=3s", "shard.recovery_wait=3s"]


def test_operator_restart(box):
    """What runs is found again when its operator, the shard, or both are started anew: nothing runs twice."""
    count = 120
    run = box.json("run", "--detach", "--cpu", "10m", "--each", *range(count), "--", "sh", "-c", "exec sleep 600")["run"]

    def running():
        return sum(n["running"] for n in box.json("get", "nodes"))

    def phases():
        return [(a["phase"], a["attempts"]) for a in box.json("get", "actions", run, "--limit", "0") if a["action"] != "a0"]

    wait_until(lambda: running() == count, "all run")
    for killed in (["operator"], ["shard"], ["operator", "shard"]):
        for daemon in killed:
            box.kill(daemon)
        for daemon in killed:
            box.restart(daemon)
        wait_until(lambda: running() == count and phases() == [("RUNNING", 1)] * count, f"{killed}: all are found again")
    box.cli("abort", run)
    lines = box.cli("watch", run, "-o", "json", check=False).stdout.splitlines()  # it exits as the run did
    starts = [e for e in map(json.loads, lines) if e["phase"] == "RUNNING" and e["action"] != "a0"]
    assert {e["attempt"] for e in starts} == {1} and len({e["action"] for e in starts}) == count
    wait_until(lambda: running() == 0, "all are stopped")


test_operator_restart.settings = NOTHING_IS_LOST
