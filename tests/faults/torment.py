"""What befalls one process of a region under load, and how long it was felt."""
import collections
import os
import signal
import time

from harness import wait_until

# How long until everything that it had was served again; the partitions that it had; until when it was felt, before it was there again.
Hit = collections.namedtuple("Hit", "daemon how at back partitions felt_until")
SETTLE_SECONDS = 180
STEADY_SECONDS = 0.5


def role_of(daemon):
    return daemon.split("-")[0]


class Torment:
    """`freeze` is for how long a SIGSTOP lasts, `down` for how long a process is not there at least."""

    def __init__(self, box, load, region, freeze=6.0, down=0.5):
        self.box, self.load, self.region, self.freeze, self.down = box, load, region, freeze, down
        self.shards = sum(role_of(daemon) == "shard" for daemon in box.daemons())
        self.nodes = {box.setting(daemon, "node") for daemon in box.daemons() if role_of(daemon) == "agent"}

    def settle(self):
        """Each partition is open, they are spread evenly, and all nodes are ready."""
        wait_until(lambda: self.region.is_spread(self.shards), "the partitions are spread evenly", SETTLE_SECONDS)
        wait_until(lambda: self.region.nodes_ready() >= self.nodes, "all nodes are ready", SETTLE_SECONDS)

    def hit(self, daemon, how):
        """`how`: kill, stop (SIGSTOP, then SIGCONT), restart (SIGTERM)."""
        owners = self.region.owners()
        if role_of(daemon) == "shard":
            partitions = [p for p, owner in enumerate(owners) if owner == self.box.setting(daemon, "name")]
        else:
            partitions = range(len(owners)) if role_of(daemon) == "etcd" else ()
        if role_of(daemon) == "shard" and how == "stop":
            self.load.avoid.add(self.box.setting(daemon, "listen"))  # who asks it waits, and tells nothing of the others
            time.sleep(0.5)
        at = time.monotonic()
        again = self.begin(daemon, how)
        try:
            away = self.load.away(partitions, at)
            time.sleep(max(0, at + (self.freeze if how == "stop" else self.down) - time.monotonic()))
        finally:
            again()
            self.load.avoid.clear()
        back = max(away.values(), default=0.0)
        felt_until = max(at + back, at + self.down)
        if role_of(daemon) in ("operator", "agent"):
            back = self.nodes_back(at) - at
            felt_until = at + back
        self.settle()
        return Hit(daemon, how, at, back, list(partitions) if role_of(daemon) == "shard" else [], felt_until)

    def begin(self, daemon, how):
        """Returns what takes it back."""
        if role_of(daemon) == "worker":
            self.box.kill_worker("agent" + daemon.removeprefix("worker"))
            return lambda: None  # its agent starts another
        if how == "restart":
            self.box.devbox("stop", daemon)
            return lambda: self.box.restart(daemon)
        pid = self.box.pid(daemon)
        os.kill(pid, signal.SIGSTOP if how == "stop" else signal.SIGKILL)
        if how == "stop":
            return lambda: os.kill(pid, signal.SIGCONT)
        return lambda: self.box.restart(daemon)

    def nodes_back(self, at):
        """When all nodes were ready, and stayed it for a moment."""
        since, deadline = None, at + SETTLE_SECONDS
        while since is None or time.monotonic() < since + STEADY_SECONDS:
            now = time.monotonic()
            ready = self.region.nodes_ready() >= self.nodes
            since = (since or now) if ready else None
            if now > deadline:
                raise AssertionError(f"not within {SETTLE_SECONDS} s: all nodes are ready")
            time.sleep(0.02)
        return since
