"""Gangs of real processes: they start together, meet where they were told, and are lost together."""
import os
import signal
import time

from harness import NOTHING_IS_LOST, wait_until

# Rank 0 listens; the others connect and show the secret; all hear when everybody is there. Then each
# waits until the file `go` is there.
MEMBER = r"""
import os, pathlib, socket, sys, time
directory = pathlib.Path(sys.argv[1])
rank, size = int(os.environ["SWITCHYARD_GANG_RANK"]), int(os.environ["SWITCHYARD_GANG_SIZE"])
assert (os.environ["RANK"], os.environ["WORLD_SIZE"]) == (str(rank), str(size))
host, port = os.environ["SWITCHYARD_GANG_ADDRESS"].rsplit(":", 1)
assert (os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]) == (host, port)
secret = os.environ["SWITCHYARD_GANG_SECRET"].encode()
assert len(secret) == 64, secret
if rank == 0:
    server = socket.create_server((host, int(port)), reuse_port=True)
    peers = [server.accept()[0] for _ in range(size - 1)]
    assert all(peer.recv(64, socket.MSG_WAITALL) == secret for peer in peers)
    for peer in peers:
        peer.sendall(b"!")
else:
    deadline = time.monotonic() + 300
    while True:
        try:
            meet = socket.create_connection((host, int(port)))
            break
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    meet.sendall(secret)
    assert meet.recv(1) == b"!"
attempt = os.environ["SWITCHYARD_ATTEMPT"]
(directory / f"met.{attempt}.{rank}").write_text(str(os.getpid()))
while not (directory / "go").exists():
    time.sleep(0.02)
"""


def start(box, *options):
    directory = box.dir / "gang"
    directory.mkdir()
    script = box.dir / "member.py"
    script.write_text(MEMBER)
    run = box.background("run", "--name", "gang", "--gang", 4, "--cpu", "100m", *options, "-o", "json", "--",
                         "python3", script, directory)
    return directory, run


def met(directory, attempt):
    """Pids by rank, when all four are there."""
    files = [directory / f"met.{attempt}.{rank}" for rank in range(4)]
    return [int(f.read_text()) for f in files] if all(f.exists() and f.read_text() for f in files) else None


def test_members_meet_and_a_loss_restarts_all(box):
    directory, run = start(box, "--retries", 1)
    pids = wait_until(lambda: met(directory, 1), "all of them met")
    os.kill(pids[2], signal.SIGKILL)
    again = wait_until(lambda: met(directory, 2), "all of them met again")
    assert not set(pids) & set(again)
    (directory / "go").touch()
    out, err = run.communicate(timeout=240)
    assert run.returncode == 0, err
    actions = [a for a in box.json("get", "actions", "gang") if a["action"] != "a0"]
    assert {a["phase"] for a in actions} == {"SUCCEEDED"} and len(actions) == 4, actions


def test_a_loss_fails_all(box):
    directory, run = start(box, "--gang-on-loss", "fail", "--retries", 3)
    pids = wait_until(lambda: met(directory, 1), "all of them met")
    os.kill(pids[1], signal.SIGKILL)
    out, err = run.communicate(timeout=240)
    assert run.returncode != 0
    assert "GangMemberFailed" in out + err, out + err
    assert "'n0000001' (rank 1)" in out + err, out + err


def test_restarts_of_daemons_lose_nothing(box):
    directory, run = start(box)
    pids = wait_until(lambda: met(directory, 1), "all of them met")
    for daemon in ("shard", "operator"):
        box.kill(daemon)
        time.sleep(0.5)
        box.restart(daemon)
    time.sleep(1)
    (directory / "go").touch()
    out, err = run.communicate(timeout=240)
    assert run.returncode == 0, err
    assert met(directory, 1) == pids and met(directory, 2) is None


test_restarts_of_daemons_lose_nothing.settings = NOTHING_IS_LOST


def test_one_that_is_too_large_is_refused(box):
    def refused():
        """Once it is known what the nodes have; before that a gang is let in, and fails later."""
        run = box.cli("run", "--gang", 1000, "--cpu", "100", "--", "true", check=False)
        assert run.returncode != 0
        return "no cluster can run this" in run.stderr

    wait_until(refused, "it is refused at submit")
    many = box.cli("run", "--gang", 1000, "--cpu", "1", "--", "true", check=False)
    assert "1000 x (1.000 cores) asked together, it holds" in many.stderr, many.stderr
    rack = box.cli("run", "--gang", 2, "--cpu", "100m", "--gang-topology", "require:rack", "--", "true", check=False)
    assert "asked together in one rack, it holds 0" in rack.stderr, rack.stderr
    for wrong in (["--gang", "1"], ["--gang", "2", "--gang-topology", "rack"], ["--gang-on-loss", "fail"]):
        assert box.cli("run", *wrong, "--", "true", check=False).returncode != 0


def test_two_nodes_of_a_host_share_no_port(box):
    """Two gangs run at once, each on a node of its own, and both nodes are this machine."""
    directory = box.dir / "ports"
    directory.mkdir()
    say = 'echo "$SWITCHYARD_NODE $SWITCHYARD_GANG_ADDRESS" >$0/$SWITCHYARD_GANG_ID.$SWITCHYARD_GANG_RANK; while [ ! -e $0/go ]; do sleep 0.05; done'
    for name in "one", "two":
        box.cli("run", "--detach", "--name", name, "--gang", 2, "--cpu", "2", "--", "sh", "-c", say, directory)
    lines = wait_until(lambda: (files := list(directory.iterdir())) and len(files) == 4 and
                       all(f.read_text().endswith("\n") for f in files) and [f.read_text().split() for f in files],
                       "both run")
    addresses = {address for _, address in lines}
    assert len({node for node, _ in lines}) == 2 and len(addresses) == 2, lines
    assert len({address.rsplit(":", 1)[0] for address in addresses}) == 1, lines
    (directory / "go").touch()


test_two_nodes_of_a_host_share_no_port.options = ["--clusters", "1", "--nodes", "2"]


def queues(box):
    box.cli("create", "queue", "spare", "--preemptible")
    box.cli("create", "queue", "urgent", "--priority", "100")


def attempts_of(box, run):
    return [a for a in box.json("get", "actions", run) if a["action"] != "a0"]


def test_it_stops_whole_for_what_is_urgent(box):
    """Two of its members would have to go from a node; all four do, and start again without a retry."""
    queues(box)
    directory, run = start(box, "--queue", "spare", "--cpu", "1500m")
    wait_until(lambda: met(directory, 1), "all of them met")
    urgent = box.background("run", "--queue", "urgent", "--cpu", "3", "--", "sh", "-c",
                            f"while [ ! -e {directory}/done ]; do sleep 0.05; done")
    wait_until(lambda: box.json("status")["partitions"][0]["actions_running"] == 1, "only the urgent one runs")
    assert met(directory, 2) is None
    (directory / "done").touch()
    wait_until(lambda: met(directory, 2), "all of them met again")
    (directory / "go").touch()
    out, err = run.communicate(timeout=240)
    assert run.returncode == 0, err
    assert urgent.wait(timeout=240) == 0
    assert {a["phase"] for a in attempts_of(box, "gang")} == {"SUCCEEDED"}


def test_others_stop_for_it(box):
    """They have both nodes; each is stopped once, and runs again when the gang has ended."""
    queues(box)
    spare = box.background("run", "--queue", "spare", "--cpu", "1", "--name", "singles", "--each", *range(8), "--",
                           "sh", "-c", f"while [ ! -e {box.dir}/gang/go ]; do sleep 0.05; done")
    wait_until(lambda: box.json("status")["partitions"][0]["actions_running"] == 8, "they have all of it")
    directory, run = start(box, "--queue", "urgent", "--cpu", "2")
    wait_until(lambda: met(directory, 1), "all of the gang met")
    (directory / "go").touch()
    out, err = run.communicate(timeout=240)
    assert run.returncode == 0, err
    assert spare.wait(timeout=240) == 0
    singles = attempts_of(box, "singles")
    assert {a["phase"] for a in singles} == {"SUCCEEDED"}, singles


for test in test_it_stops_whole_for_what_is_urgent, test_others_stop_for_it:
    test.options = ["--clusters", "1", "--nodes", "2"]
    test.settings = ["shard.reclaim_delay=300ms"]
del test
