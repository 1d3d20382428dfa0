"""Who is cut off, and what a person says of it: attempts that are given up, and nothing that is heard of them later."""
import os
import pathlib
import signal
import time

from harness import wait_until

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


def begun(directory, number, seconds=60):
    return wait_until(lambda: attempt(directory, number), f"attempt {number} has begun", seconds)


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
    new_token, _, new_node = begun(directory, 2, seconds=10)  # the lease of a node is 15 s
    assert new_node != node and new_token > token
    assert alive(pid)
    box.kill("operator")  # what was said outlives it
    box.restart("operator")
    os.kill(box.pid(agent_of(node)), signal.SIGCONT)
    wait_until(lambda: not alive(pid), "the fenced node was told to stop what it held")
    wait_until(lambda: node_state(box, node) == "fenced", "it is shown as fenced")
    refused = box.cli("node", "uncordon", node, check=False)
    assert refused.returncode != 0 and "unfence it first" in refused.stderr, refused.stderr
    others = box.json("run", "--detach", "--each", *range(20), "--", "true")["run"]
    assert {e["node"] for e in box.events(others) if e["phase"] == "RUNNING" and e["node"]} == {new_node}
    (directory / "go").touch()
    assert ends(box, run) == [("SUCCEEDED", 2)]
    box.cli("node", "unfence", node)
    wait_until(lambda: node_state(box, node) == "ready", "it is open again")


test_node_fence.options = ["--clusters", "1", "--nodes", "2"]
