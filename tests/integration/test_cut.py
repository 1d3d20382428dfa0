"""What runs is cut off from those who could begin it elsewhere: its agent stops it before they do (the policy stop-on-agent)."""
import os
import signal
import time

from harness import wait_until

# Writes a line with the time, again and again, and does not stop when it is asked to; it ends when the file `go` is there.
TASK = r"""
trap 'echo asked >> $0/asked.$SWITCHYARD_ATTEMPT' TERM
echo $SWITCHYARD_NODE > $0/node.$SWITCHYARD_ATTEMPT
until [ -e $0/go ]; do date +%s.%N >> $0/times.$SWITCHYARD_ATTEMPT; sleep 0.05; done
"""


def settings(lease):
    return [f"operator.node_lease={lease}", "operator.heartbeat=100ms", "operator.join_grace=500ms", "agent.cancel_grace=60s",
            f"shard.cluster_lease={lease}", "shard.heartbeat=100ms", "shard.recovery_wait=500ms"]


def start(box):
    directory = box.dir / "tasks"
    directory.mkdir()
    return directory, box.json("run", "--detach", "--on-partition", "stop-on-agent", "--", "sh", "-c", TASK, directory)["run"]


def times(directory, attempt):
    """When it ran. The last line may be half written."""
    path = directory / f"times.{attempt}"
    return [float(line) for line in path.read_text().split("\n")[:-1] if line] if path.exists() else []


def begun(directory, attempt):
    wait_until(lambda: times(directory, attempt), f"attempt {attempt} runs", 60)
    return (directory / f"node.{attempt}").read_text().strip()


def ends(box, directory, run, attempt):
    """It does, with this attempt, and no two of them ran at the same time."""
    (directory / "go").touch()
    assert [(e["phase"], e["attempt"]) for e in box.events(run) if e["phase"] in ("SUCCEEDED", "FAILED", "ABORTED")] == [("SUCCEEDED", attempt)]
    for number in range(2, attempt + 1):
        before, after = times(directory, number - 1), times(directory, number)
        assert before[-1] < after[0], (number, before[-1], after[0])
    assert not (directory / f"times.{attempt + 1}").exists()


def test_cluster_is_cut_off(box):
    """A task runs as long as it is heard; when its operator is silent it is asked to stop, then killed, and begun in the other cluster."""
    refused = box.cli("run", "--detach", "--on-partition", "stop-on-agent", "--gang", "2", "--", "true", check=False)
    assert refused.returncode != 0 and "gang" in refused.stderr, refused.stderr
    directory, run = start(box)
    node = begun(directory, 1)
    time.sleep(9)  # longer than its lease
    assert not (directory / "asked.1").exists() and not times(directory, 2)
    operator = f"operator-{node.split('-')[1]}"
    os.kill(box.pid(operator), signal.SIGSTOP)
    assert begun(directory, 2) != node
    assert (directory / "asked.1").exists()
    os.kill(box.pid(operator), signal.SIGCONT)
    ends(box, directory, run, 2)


test_cluster_is_cut_off.options = ["--clusters", "2"]
test_cluster_is_cut_off.settings = settings("8s")


def test_shard_is_cut_off(box):
    """The owner stands still: what it has is stopped, nothing starts, and all of it goes on when it does. So with one that is started anew while an agent is cut off."""
    directory, run = start(box)
    agent = begun(directory, 1).replace("node", "agent")
    os.kill(box.pid("shard"), signal.SIGSTOP)
    wait_until(lambda: "are killed" in box.log(agent), "it is killed")
    os.kill(box.pid("shard"), signal.SIGCONT)
    node = begun(directory, 2)
    operator = f"operator-{node.split('-')[1]}"
    os.kill(box.pid(operator), signal.SIGSTOP)
    box.kill("shard")
    box.restart("shard")  # which waits for inventories for less than the agent runs it
    assert begun(directory, 3) != node
    os.kill(box.pid(operator), signal.SIGCONT)
    ends(box, directory, run, 3)


test_shard_is_cut_off.options = ["--clusters", "2"]
test_shard_is_cut_off.settings = settings("4s")


def test_operator_is_started_anew(box):
    """A new operator does not know what an agent runs that is cut off from it, and says so of its cluster: nothing begins before that is stopped."""
    directory, run = start(box)
    node = begun(directory, 1)
    agent, operator = node.replace("node", "agent"), "operator"
    box.kill(operator)
    os.kill(box.pid(agent), signal.SIGSTOP)  # its task runs on, and it will stop nothing
    box.restart(operator)
    time.sleep(3)  # by then it has said that its inventory is complete
    assert not times(directory, 2)
    os.kill(box.pid(agent), signal.SIGCONT)
    ends(box, directory, run, 1)


test_operator_is_started_anew.options = ["--clusters", "1", "--nodes", "2"]
test_operator_is_started_anew.settings = settings("60s")


def test_leases_are_too_short(box):
    """A lease that leaves no time to stop anything is refused with the task."""
    refused = box.cli("run", "--detach", "--on-partition", "stop-on-agent", "--", "true", check=False)
    assert refused.returncode != 0 and "cluster_lease of 8000 ms or more" in refused.stderr, refused.stderr


test_leases_are_too_short.options = ["--clusters", "1"]
test_leases_are_too_short.settings = ["shard.cluster_lease=4s", "shard.heartbeat=1s"]
