"""Data planes by registration: operators that join a region of three shards by a token, and those that may not."""
import os
import pathlib
import signal
import subprocess

from harness import BIN, wait_until

EU, US = "eu-1", "us-2"  # the clusters of tools/devbox


class Operator:
    """One that is none of the devbox's: it has its own data directory, and dials every shard."""

    def __init__(self, box, name, *args, cluster=None, shards=None):
        self.box = box
        self.dir = box.dir / "extra" / name
        self.dir.mkdir(parents=True, exist_ok=True)
        self.log = self.dir / "log"
        lines = ["listen: 127.0.0.1:0", f"data_dir: {self.dir}", f"shards: [{', '.join(shards or shard_addresses(box))}]"]
        (self.dir / "yaml").write_text("\n".join(lines + ([f"cluster: {cluster}"] if cluster else [])) + "\n")
        self.start(*args)

    def start(self, *args):
        with self.log.open("a") as log, (self.dir / "out").open("w") as out:
            self.process = subprocess.Popen([BIN / "switchyard-operator", "--config", self.dir / "yaml", *args],
                                            stdout=out, stderr=log)

    def is_ready(self):
        return "ready operator" in (self.dir / "out").read_text()

    def port(self):
        wait_until(self.is_ready, "the operator is ready")
        return int((self.dir / "out").read_text().split()[-1])

    def refusal(self):
        """Its last words, when it was not let in."""
        assert self.process.wait(timeout=120) == 1
        return self.log.read_text().splitlines()[-1]

    def stop(self, kind=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(kind)
            self.process.wait(timeout=120)


def shard_addresses(box):
    return [f'"{box.setting(daemon, "listen")}"' for daemon in box.daemons() if daemon.startswith("shard-")]


def create(box, *args):
    return box.cli("cluster", "create", *args).stdout.strip()


def cluster(box, name):
    return next((c for c in box.json("cluster", "list") if c["cluster"] == name), None)


def is_(box, name, state):
    return wait_until(lambda: (cluster(box, name) or {}).get("state") == state, f"{name} is {state}")


def forged(token):
    return token[:-1] + ("0" if token[-1] != "0" else "1")


def test_tokens(box):
    """One that is valid lets in as often as it says; every other is refused with a sentence, and nothing has changed."""
    token = create(box, "east", "--region", "eu", "--labels", "zone=b", "--price", "0.04")
    assert box.cli("cluster", "create", "east", check=False).stderr == "switchyard: cluster east is registered already\n"
    before = cluster(box, "east")
    assert before["state"] == "registered" and before["reason"] == "no operator has joined yet", before
    wrong = {forged(token): "cluster east has no such token",
             token.replace(":local:", ":mars:"): "the token is of region mars, this is region local",
             token.replace(":east:", ":west:"): "cluster west is not registered", "what": "this is no token"}
    for i, (text, words) in enumerate(wrong.items()):
        assert words in Operator(box, f"wrong-{i}", "--join", text).refusal()
    brief = box.json("cluster", "token", "create", "east", "--expires", "1ms")
    assert "token 2 of cluster east expired at" in Operator(box, "late", "--join", brief["secret"]).refusal()
    revoked = box.json("cluster", "token", "create", "east")
    box.cli("cluster", "token", "revoke", "east", 3)
    assert "token 3 of cluster east was revoked" in Operator(box, "revoked", "--join", revoked["secret"]).refusal()
    assert cluster(box, "east")["registration"]["operators"] == 0
    # By a file, as `ps` shows arguments.
    (box.dir / "token").write_text(token + "\n")
    east = Operator(box, "east", "--join", f"@{box.dir}/token")
    is_(box, "east", "ready")
    wait_until(lambda: box.json("cluster", "get", "east")["lead"]["active"] == f"127.0.0.1:{east.port()}",
               "it is shown where it is")
    assert cluster(box, "east")["region"] == "eu" and cluster(box, "east")["core_price_micros"] == 40000
    assert (os.stat(east.dir / "identity").st_mode & 0o777) == 0o600
    assert "token 1 of cluster east is used up" in Operator(box, "second", "--join", token).refusal()
    secret = (east.dir / "identity").read_text().split()[1]
    for daemon in box.daemons():
        assert token.split(":")[-1] not in box.log(daemon) and secret not in box.log(daemon)
    assert token.split(":")[-1] not in east.log.read_text() and secret not in east.log.read_text()
    # It comes back without a token, with the one that is used up, and when it died before it had heard the answer.
    east.stop(signal.SIGKILL)
    east.start()
    is_(box, "east", "ready")
    east.stop()
    east.start("--join", token)
    is_(box, "east", "ready")
    east.stop()
    kept = (east.dir / "identity").read_text().splitlines()
    (east.dir / "identity").write_text("\n".join(kept[:2] + ["cluster ", "region ", "labels ", "price 0"]) + "\n")
    east.start("--join", token)
    wait_until(east.is_ready, "it has joined again")
    is_(box, "east", "ready")
    assert [t["uses"] for t in cluster(box, "east")["registration"]["tokens"]] == [1, 0, 0]
    east.stop()


test_tokens.options = ("--shards", "3", "--clusters", "1")


def test_only_registered(box):
    """Where registration is required, and by a name that is another's, nobody is let in, whichever shard he asks."""
    strangers = [Operator(box, "stranger", cluster="nobody"), Operator(box, "thief", cluster="eu-1")]
    for operator, words in zip(strangers, ["start its operator with --join TOKEN", "start its operator with --join TOKEN"]):
        wait_until(lambda o=operator, w=words: o.log.read_text().count(w) >= 3, "each shard has refused it")
    assert [c["cluster"] for c in box.json("cluster", "list")] == ["eu-1"]
    assert box.cli("run", "--", "true").returncode == 0
    for operator in strangers:
        operator.stop()


test_only_registered.options = ("--shards", "3", "--clusters", "1")


def test_one_shard(box):
    """Without an etcd registrations outlive the shard, too; and whoever has no token may come, but not as another."""
    token = create(box, "east")
    box.kill("shard")
    box.restart("shard")
    wait_until(lambda: cluster(box, "east"), "it is still registered")
    east = Operator(box, "east", "--join", token, shards=[f'"{box.endpoint}"'])
    is_(box, "east", "ready")
    thief = Operator(box, "thief", cluster="east", shards=[f'"{box.endpoint}"'])
    wait_until(lambda: "it is registered, and its operator has no identity" in thief.log.read_text(), "it is refused")
    other = Operator(box, "other", cluster="other", shards=[f'"{box.endpoint}"'])
    is_(box, "other", "ready")
    assert is_(box, "east", "ready")
    for operator in (east, thief, other):
        operator.stop()


def ran(directory, action):
    """The clusters in which that task has begun, in that order."""
    path = pathlib.Path(directory) / action
    return path.read_text().split() if path.exists() else []


def test_delete(box):
    """A cluster that is deleted leaves no run behind: what ran there ends elsewhere at once, also when nobody is there to be told; and
    one that comes back is told so, and stops what it runs."""
    marks = box.dir / "marks"
    marks.mkdir()
    box.cli("create", "queue", "eu", "--cluster", EU)
    tasks = range(4)
    script = f'echo begun >>{marks}/$0; until [ -e {marks}/go ]; do sleep 0.05; done'
    run = box.json("run", "--detach", "--queue", "eu", "--each", *tasks, "--", "sh", "-c", script)["run"]
    wait_until(lambda: all(ran(marks, str(i)) for i in tasks), "all have begun")
    box.kill("operator-1")  # it does not come back before
    box.cli("update", "queue", "eu", "--cluster", "")
    began = next(c for c in box.json("cluster", "list") if c["cluster"] == EU)
    assert began["state"] in ("ready", "lost"), began
    assert box.cli("cluster", "delete", EU).stdout == f"cluster {EU} is deleted\n"
    assert [c["cluster"] for c in box.json("cluster", "list")] == [US]
    wait_until(lambda: all(len(ran(marks, str(i))) == 2 for i in tasks), "all have begun in the other one")
    # Its agent still runs them; its operator comes back, hears that it was deleted, and has the agent stop them.
    children = lambda: running_below(box.pid("agent-1-1"), f"{marks}/go")
    wait_until(lambda: children() == len(tasks), "all are there (a shell that has forked for `sleep` counts twice for a moment)")
    box.restart("operator-1")
    wait_until(lambda: f"cluster {EU} was deleted" in box.log("operator-1"), "it is told")
    wait_until(lambda: children() == 0, "nothing runs there")
    (marks / "go").touch()
    events = box.events(run)
    ends = [e for e in events if e["phase"] == "SUCCEEDED" and e["action"] != "a0"]
    assert len(ends) == len(tasks) and {e["cluster"] for e in ends} == {US}, ends
    assert all(len(ran(marks, str(i))) == 2 for i in tasks)
    # Its name is free; its old identity is not.
    token = create(box, EU)
    refusal = Operator(box, "other", "--join", token)
    is_(box, EU, "ready")
    assert "was deleted" in box.log("operator-1")
    refusal.stop()
    assert "is not registered" in box.cli("cluster", "delete", "nobody", check=False).stderr


def running_below(agent, text):
    """How many processes with that in their command line run below an agent."""
    count = 0
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            count += text.encode() in path.read_bytes() and agent_of(path.parent) == agent
        except (FileNotFoundError, ProcessLookupError):
            continue
    return count


def agent_of(process):
    """The agent above a process, 0: none."""
    while True:
        try:
            fields = (process / "stat").read_text().rsplit(") ", 1)[1].split()
            name = (process / "comm").read_text().strip()
        except (FileNotFoundError, ProcessLookupError):
            return 0
        if name == "switchyard-agen":
            return int(process.name)
        process = pathlib.Path("/proc") / fields[1]


test_delete.options = ("--shards", "3", "--clusters", "2")
test_delete.settings = ("shard.cluster_lease=10m",)  # it is not waited for
