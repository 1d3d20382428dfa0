"""Two operators of one cluster: one is active, the other stands by and takes over; what runs is kept, and nothing runs twice."""
import contextlib
import json
import signal
import socket
import subprocess
import threading
import time

from harness import BIN, TASKS, marks, wait_until

PAIR = "pair"
WAIT = 'echo $SWITCHYARD_ATTEMPT >>"$0/ran.$1"; until [ -e "$0/go" ]; do sleep 0.5; done'


def free_ports(count):
    """All held at once, so that no two are alike."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class Link:
    """A port that leads to another, until it is cut."""

    def __init__(self, target):
        host, port = target.rsplit(":", 1)
        self.target = (host, int(port))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.pairs, self.up = [], True
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            near, _ = self.listener.accept()
            if not self.up:
                near.close()
                continue
            far = socket.create_connection(self.target)
            self.pairs += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self.carry, args=(source, sink), daemon=True).start()

    def carry(self, source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        for one in (source, sink):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        self.up = False
        for one in self.pairs:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def mend(self):
        self.up = True


class Process:
    """A daemon with a configuration of its own."""

    def __init__(self, box, program, name, lines, *args):
        self.name = name
        self.dir = box.dir / "extra" / name
        self.dir.mkdir(parents=True)
        self.program, self.args = program, args
        self.yaml = self.dir / "yaml"
        self.yaml.write_text("\n".join([f"data_dir: {self.dir}", *lines]) + "\n")
        self.start()

    def start(self):
        self.out, self.log = self.dir / "out", self.dir / "log"
        with self.out.open("w") as out, self.log.open("a") as log:
            self.process = subprocess.Popen([BIN / self.program, "--config", self.yaml, *self.args], stdout=out, stderr=log)

    def signal(self, kind):
        self.process.send_signal(kind)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.terminate()
        assert self.process.wait(timeout=120) == 0, self.log.read_text()[-2000:]

    def is_(self, what):
        """The last that it said."""
        words = self.out.read_text().splitlines()
        return words and words[-1].startswith(f"ready {what}")


class Pair:
    """Operators a and b of one cluster, and an agent of it; a is active."""

    def __init__(self, box, lease="5s", link=None):
        self.box = box
        token = box.cli("cluster", "create", PAIR, "--uses", "2").stdout.strip()
        names = [d for d in box.daemons() if d.startswith("shard")]
        shards = ", ".join(f'"{box.setting(d, "listen")}"' if "-" in d else f'"{box.endpoint}"' for d in names)
        self.ports = dict(zip("ab", free_ports(2)))
        self.operators = {}
        for name in "ab":
            dialled = f'"127.0.0.1:{link.port}"' if link and name == "a" else shards
            self.operators[name] = Process(box, "switchyard-operator", name, [
                f"listen: 127.0.0.1:{self.ports[name]}", f"shared_dir: {box.dir}/shared", f"shards: [{dialled}]",
                f"operator_lease: {lease}", "join_grace: 2s", "heartbeat: 500ms"], "--join", token)
            wait_until(lambda n=name: self.operators[n].is_("operator" if n == "a" else "standby"), f"{name} is there")
        self.a, self.b = self.operators["a"], self.operators["b"]
        targets = ", ".join(f'"127.0.0.1:{port}"' for port in self.ports.values())
        self.agent = Process(box, "switchyard-agent", "agent", [
            "node: pair-1", f"operators: [{targets}]", "pools:", "  - environment: native"])
        box.cli("create", "queue", "pair", "--cluster", PAIR)
        wait_until(lambda: self.running() == 0, "the agent is there")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in (self.agent, *self.operators.values()):
            if process.process.poll() is None:
                process.signal(signal.SIGCONT)
                process.kill()

    def seen(self):
        return next(c for c in self.box.json("cluster", "list") if c["cluster"] == PAIR)

    def running(self):
        return next((n["running"] for n in self.box.json("get", "nodes") if n["node"] == "pair-1"), None)

    def endpoint(self, name):
        return f"127.0.0.1:{self.ports[name]}"

    def leads(self, active, standby):
        """Waits until it is so."""
        def look():
            cluster = self.seen()
            lead = cluster["lead"]
            return (cluster["state"] == "ready" and cluster["endpoint"] == self.endpoint(active) and
                    lead["active"] == self.endpoint(active) and
                    (standby is None or self.endpoint(standby) in [s["endpoint"] for s in lead["standbys"]]) and lead)
        return wait_until(look, f"{active} is active, {standby} stands by")

    def start_tasks(self, count=6):
        """Some that run until the file `go` is there."""
        self.marks = self.box.dir / "marks"
        self.marks.mkdir()
        self.count = count
        self.run = self.box.json("run", "--detach", "--queue", "pair", "--cpu", "100m", "--each", *range(count), "--", "sh", "-c",
                                 WAIT, self.marks)["run"]
        files = [self.marks / f"ran.{i}" for i in range(count)]
        wait_until(lambda: all(file.exists() and file.read_text() for file in files), "all have begun")
        wait_until(lambda: self.running() == count, "all run")
        self.check_kept()

    def check_kept(self):
        """Each began once, and still runs."""
        def phases():
            return [(a["phase"], a["attempts"]) for a in self.box.json("get", "actions", self.run, "--limit", "0")
                    if a["action"] != "a0"]
        wait_until(lambda: phases() == [("RUNNING", 1)] * self.count, "all are known to run")
        assert [(self.marks / f"ran.{i}").read_text() for i in range(self.count)] == ["1\n"] * self.count

    def end(self):
        self.check_kept()
        (self.marks / "go").touch()
        ends = [(e["phase"], e["attempt"]) for e in self.box.events(self.run)
                if e["phase"] in ("SUCCEEDED", "FAILED", "ABORTED") and e["action"] != "a0"]
        assert ends == [("SUCCEEDED", 1)] * self.count, ends
        for process in (self.agent, *self.operators.values()):
            if process.process.poll() is None:
                process.stop()


def kill_under_load(box):
    with Pair(box) as pair:
        first = pair.leads("a", "b")
        pair.start_tasks()
        ended = box.dir / "ended"
        ended.mkdir()
        load = box.background("run", "--queue", "pair", "--function", f"{TASKS}:mark", "--each", *[ended] * 400)
        wait_until(lambda: len(marks(ended)) > 40, "the load runs")
        pair.a.kill()
        assert pair.leads("b", None)["term"] > first["term"]
        wait_until(lambda: (pair.running() or 0) >= pair.count, "its agent is there")
        out, err = load.communicate(timeout=240)
        assert load.returncode == 0, err + out
        assert sorted(len(attempts) for attempts in marks(ended).values()) == [1] * 400
        pair.check_kept()
        pair.a.start()
        wait_until(lambda: pair.a.is_("standby"), "it stands by")
        pair.leads("b", "a")
        pair.end()


def test_kill(box):
    """The active one dies under a load: the other takes over, and all of the load ends; what ran meanwhile was left alone."""
    kill_under_load(box)


def test_kill_in_region(box):
    """The same where the record lies in etcd, and the operators dial three shards."""
    kill_under_load(box)


test_kill_in_region.options = ("--shards", "3", "--clusters", "1")


def test_drain_in_region(box):
    """The deadline of a drain passes while nobody is active, and a shard is dead: who takes over stops what runs."""
    with Pair(box) as pair:
        pair.leads("a", "b")
        pair.start_tasks()
        box.cli("cluster", "drain", PAIR, "--deadline", "1s")
        pair.a.kill()
        box.devbox("kill", "shard-2")
        wait_until(lambda: pair.seen()["state"] == "drained", "it is drained")
        seen = pair.seen()
        assert seen["endpoint"] == pair.endpoint("b") and seen["drain"]["running"] == seen["running"] == 0, seen
        assert {a["phase"] for a in box.json("get", "actions", pair.run) if a["action"] != "a0"} == {"QUEUED"}
        box.cli("cluster", "uncordon", PAIR)
        wait_until(lambda: pair.running() == pair.count, "they begin again")
        (pair.marks / "go").touch()
        ends = [(e["phase"], e["attempt"]) for e in box.events(pair.run) if e["phase"] == "SUCCEEDED" and e["action"] != "a0"]
        assert ends == [("SUCCEEDED", 2)] * pair.count, ends


test_drain_in_region.options = ("--shards", "3", "--clusters", "1")


def test_stopped(box):
    """One that stood still past its lease goes on, and is heard by nobody; what was said of nodes is known to whoever is active."""
    with Pair(box) as pair:
        pair.start_tasks()
        box.cli("node", "cordon", "pair-1")
        pair.a.signal(signal.SIGSTOP)
        pair.leads("b", None)
        wait_until(lambda: pair.running() == pair.count, "its agent is there")
        pair.check_kept()
        pair.a.signal(signal.SIGCONT)
        wait_until(lambda: pair.a.is_("standby"), "it has heard that it is not active any more")
        pair.leads("b", "a")
        time.sleep(6)  # longer than a lease, and than an agent takes to look elsewhere
        pair.check_kept()
        assert pair.seen()["endpoint"] == pair.endpoint("b") and pair.running() == pair.count
        states = [n["state"] for n in box.json("get", "nodes") if n["node"] == "pair-1"]
        assert states == ["cordoned"], states
        box.cli("node", "uncordon", "pair-1")
        pair.end()


def test_handed_over(box):
    """One that is told to stop hands over at once, whatever its lease; both started anew find what runs."""
    with Pair(box, lease="10m") as pair:
        pair.start_tasks()
        pair.a.stop()
        pair.leads("b", None)
        wait_until(lambda: pair.running() == pair.count, "its agent is there")
        pair.check_kept()
        pair.b.kill()
        pair.b.start()  # by its data_dir it knows that the one before is dead
        wait_until(lambda: pair.b.is_("operator"), "it goes on")
        pair.a.start()
        pair.leads("b", "a")
        wait_until(lambda: pair.running() == pair.count, "its agent is there")
        pair.end()


def test_blind(box):
    """The control plane is out of reach for longer than any lease: nobody stops anything, and one of them goes on afterwards."""
    with Pair(box, lease="1s") as pair:
        pair.start_tasks()
        box.devbox("kill", "shard")
        wait_until(lambda: "nothing new is placed" in pair.a.log.read_text(), "it knows that it may not be active")
        time.sleep(2)
        box.restart("shard")
        wait_until(lambda: pair.seen()["state"] == "ready" and pair.running() == pair.count, "one of them is there")
        pair.check_kept()
        pair.end()


def test_cut_off(box):
    """The active one is cut off from the control plane, not from its agent: that finds the other one, with what it runs."""
    link = Link(box.endpoint)
    with Pair(box, link=link) as pair:
        pair.start_tasks()
        link.cut()
        pair.leads("b", None)
        wait_until(lambda: "agent is gone" in pair.a.log.read_text(), "its agent has left")
        pair.check_kept()
        link.mend()
        wait_until(lambda: pair.a.is_("standby"), "it hears that it is not active any more")
        pair.leads("b", "a")
        pair.end()
