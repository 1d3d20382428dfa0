"""What befalls a region under load, a function each. After it everything must be whole again, and the auditor find nothing.

`full`: only when asked for; `settings` of its region; `shimmed`: net.py; `mixed`: its region begins with the programs of --older. Those
with the same ones share a region and an audit.
"""
import collections
import contextlib
import os
import signal
import subprocess
import tempfile
import threading
import time

from auditor import Records
from harness import Skipped, wait_until
from load import Kind

LONG = Kind("audited", 0, 0, 0, "SUCCEEDED")
ALONE = Kind("audited_alone", 50, 0, 0, "SUCCEEDED", "stop-on-agent")


SCENARIOS = []


def scenario(full=False, settings=None, shimmed=False, mixed=False):
    def mark(function):
        function.full, function.settings, function.shimmed, function.mixed = full, settings, shimmed, mixed
        SCENARIOS.append(function)
        return function

    return mark


# processes

@scenario()
def kill_each_role(world):
    for daemon in ("shard-2", "etcd-1", "operator-1", "agent-2-1", "worker-3-1"):
        world.tell(world.torment.hit(daemon, "kill"))


@scenario(full=True)
def restart_each_role(world):
    for daemon in ("shard-1", "etcd-2", "operator-2", "agent-1-2"):
        world.tell(world.torment.hit(daemon, "restart"))


@scenario()
def owner_stands_still_and_goes_on(world):
    """Past its lease: others have its partitions by then, and what it writes and says late counts for nothing."""
    hit = world.torment.hit("shard-3", "stop")
    world.tell(hit)
    assert hit.partitions and hit.back < 60, hit


@scenario(full=True)
def each_process_stands_still(world):
    for daemon in ("etcd-3", "operator-3", "agent-3-2", "shard-1"):
        world.tell(world.torment.hit(daemon, "stop"))


@scenario()
def quorum_of_etcd_is_lost(world):
    members = ("etcd-1", "etcd-2")
    for member in members:
        os.kill(world.box.pid(member), signal.SIGKILL)
    time.sleep(5)
    for member in members:
        world.box.restart(member)
    world.answered("the quorum of etcd was back")


# links

def cut_for(world, one, other, seconds, forth=True, back=True):
    arrow = {(True, True): "<->", (True, False): "->", (False, True): "<-"}[forth, back]
    with world.net.cut(one, other, forth, back):
        time.sleep(seconds)
    world.answered(f"{one} {arrow} {other} was cut for {seconds} s")
    world.torment.settle()


@scenario()
def links_are_cut(world):
    cut_for(world, "shard-1", "etcd", 5, back=False)
    cut_for(world, "shard-2", "shard-3", 3)
    cut_for(world, "operator-1", "agent", 4, forth=False)


PAIRS = (("shard-1", "etcd"), ("shard-1", "shard"), ("shard-2", "operator"), ("operator-2", "shard"), ("operator-3", "agent"),
         ("agent-1-1", "operator"), ("etcd-1", "etcd"))


@scenario(full=True)
def every_link_is_cut_every_way(world):
    for one, other in PAIRS:
        for forth, back in ((True, True), (True, False), (False, True)):
            cut_for(world, one, other, 8, forth, back)


@scenario(full=True)
def a_host_is_cut_off(world):
    for host in ("shard-3", "operator-2", "etcd-3", "agent-2-2"):
        others = [role for role in ("etcd", "shard", "operator", "agent", ".")]
        for other in others:
            world.net.links(host, other, loss=1000)
            world.net.links(other, host, loss=1000)
        time.sleep(8)
        world.net.link("*", "*")
        world.answered(f"{host} was cut off for 8 s")
        world.torment.settle()


@scenario()
def links_are_slow_and_lose(world, seconds=8, **how):
    how = how or {"loss": 20, "delay": 0.01, "jitter": 0.01}
    before = world.load.acknowledged()
    with world.net.everywhere(**how):
        time.sleep(seconds)
        made = world.load.acknowledged() - before
    assert made > 0, "nothing was acknowledged meanwhile"
    print(f"    {how}: {made} runs acknowledged in {seconds} s", flush=True)
    world.torment.settle()


@scenario(full=True)
def links_are_very_slow_and_lose(world):
    links_are_slow_and_lose(world, 60, loss=50, delay=0.05, jitter=0.05)


@scenario()
def a_link_flaps(world, times=4):
    for i in range(times):
        with world.net.cut("shard-2", "etcd"), world.net.cut("shard-2", "operator"), world.net.cut("operator-3", "agent"):
            time.sleep(0.3 + 0.2 * (i % 4))
        time.sleep(0.5)
    world.answered("the links of shard-2 and operator-3 flapped")
    world.torment.settle()


@scenario(full=True)
def a_link_flaps_for_long(world):
    a_link_flaps(world, 40)


# blindness

def in_blindness(world, seconds, meanwhile=lambda: None):
    """Operators see no shard. What runs goes on, is killed by nobody, and its first attempt is the one that counts."""
    with world.submitters_pause():
        runs = world.submit([LONG._replace(ms=round(seconds * 1000) + 4000)] * 12)
        wait_until(lambda: all(world.starts(run) == 1 for run in runs), "the long tasks run", 120)
        with world.net.cut("operator", "shard"):
            begin = time.monotonic()
            meanwhile()
            time.sleep(max(0, begin + seconds - time.monotonic()))
        world.ended(runs, 120)
    again = {run: count for run in runs if (count := world.starts(run)) != 1}
    assert not again, f"began again: {again}"
    killed = [one for one in Records.read(world.records).begun_and_not_ended() if one[0] in runs]
    assert not killed, f"killed: {killed}"
    world.torment.settle()


@scenario()
def blind_for_a_moment(world):
    in_blindness(world, 20)


@scenario(full=True)
def blind_for_a_minute(world):
    in_blindness(world, 60)


@scenario(full=True)
def control_plane_is_restarted_in_an_outage(world):
    def restart():
        time.sleep(5)
        world.box.kill("shard")
        time.sleep(3)
        world.box.restart("shard")

    in_blindness(world, 25, restart)


# what must not run twice at a time

@contextlib.contextmanager
def short_leases():
    """Nobody stops when he is asked to: what is not heard of is killed by its agent, or runs twice."""
    yield ["operator.node_lease=4s", "operator.heartbeat=100ms", "agent.cancel_grace=60s", "shard.cluster_lease=6s", "shard.heartbeat=100ms"]


def begun_elsewhere(world, one, other):
    """What runs beyond a link is begun elsewhere while it is cut, once its agent has killed it; the auditor compares the times. `one` is
    the agent that has most, or its operator."""
    of = {world.box.setting(daemon, "node"): daemon for daemon in world.box.daemons() if daemon.startswith("agent-")}
    for forth, back, arrow in ((True, True, "<->"), (True, False, "->"), (False, True, "<-")):
        runs = world.submit([ALONE] * 12)
        wait_until(lambda: all(world.node(run) for run in runs), "the tasks run", 120)
        agents = {run: of[world.node(run)] for run in runs}
        agent = collections.Counter(agents.values()).most_common(1)[0][0]
        cluster = agent.split("-")[1]
        daemon = agent if one == "agent" else f"{one}-{cluster}"
        there = [run for run in runs if agents[run] == daemon or one == "operator" and agents[run].startswith(f"agent-{cluster}-")]
        at = time.monotonic()
        with world.net.cut(daemon, f"operator-{cluster}" if one == "agent" else other, forth, back):
            wait_until(lambda: all(world.starts(run) > 1 for run in there), f"what {daemon} had runs elsewhere", 120)
            print(f"    {daemon} {arrow} {other}: {len(there)} of {len(runs)} run elsewhere after {time.monotonic() - at:.2f} s", flush=True)
            time.sleep(4)  # who was not killed would go on
        world.torment.settle()
        world.go(runs)
        world.ended(runs, 120)


@scenario(settings=short_leases)
def an_agent_is_cut_off_from_what_must_run_once(world):
    begun_elsewhere(world, "agent", "operator")


@scenario(full=True, settings=short_leases)
def an_operator_is_cut_off_from_what_must_run_once(world):
    begun_elsewhere(world, "operator", "shard")


# clusters

@scenario(full=True)
def a_cluster_that_never_returns_is_deleted(world):
    """Its operator and agents are cut off and go on. What they have begins elsewhere; when they are back after all they are told."""
    operator, hosts = "operator-3", ("operator-3", "agent-3-1", "agent-3-2")
    name = world.box.setting(operator, "cluster")
    runs = world.submit([LONG._replace(ms=10000)] * 24)
    wait_until(lambda: all(world.starts(run) > 0 for run in runs), "the long tasks run", 60)
    with contextlib.ExitStack() as cuts:
        for host in hosts:
            for other in ("etcd", "shard", "operator-1", "operator-2", "agent-1", "agent-2", "."):
                cuts.enter_context(world.net.cut(host, other))
        time.sleep(1)
        at = time.monotonic()
        assert world.box.cli("cluster", "delete", name).stdout == f"cluster {name} is deleted\n"
        print(f"    {name} was deleted within {time.monotonic() - at:.2f} s", flush=True)
        assert name not in [cluster["cluster"] for cluster in world.box.json("cluster", "list")]
        world.ended(runs, 120)
        again = sum(world.starts(run) > 1 for run in runs)
        assert again > 0, "nothing had run there"
        print(f"    {again} of {len(runs)} long tasks began elsewhere; all ended {time.monotonic() - at:.2f} s after it", flush=True)
        nodes = world.torment.nodes - {world.box.setting(host, "node") for host in hosts[1:]}
        wait_until(lambda: world.region.nodes_ready() == nodes, "only the nodes of the others are there", 30)
    wait_until(lambda: f"cluster {name} was deleted" in world.box.log(operator), "it is told", 60)
    world.box.join_anew(operator)
    world.torment.settle()


# disks and clocks

@scenario(full=True, shimmed=True)
def a_disk_is_slow(world):
    """10 s for each sync of one shard: what it has acknowledged stays true, others take what it has, and it takes nothing until its
    disk has been well for a minute."""
    with world.box.believing("shard-2", sync=10):
        at = time.monotonic()
        wait_until(lambda: "shard-2" not in world.region.owners(), "shard-2 has given up what it had", 60)
        world.answered(f"syncs of shard-2 took 10 s; after {time.monotonic() - at:.2f} s others had all that it had")
        owners = world.region.owners()
        before = world.load.acknowledged()
        time.sleep(15)
        assert world.region.owners() == owners, f"{owners} became {world.region.owners()}"
        assert world.load.acknowledged() > before + 10, "the others do not go on"
    begin = time.monotonic()
    wait_until(lambda: "shard-2" in world.region.owners(), "shard-2 takes partitions again", 120)
    waited = time.monotonic() - begin
    assert waited > 40, f"after {waited:.1f} s"
    world.torment.settle()


@scenario(full=True, shimmed=True)
def wall_clocks_are_stepped(world):
    for daemon in ("shard-1", "operator-2", "agent-3-1"):
        for wall in (3600, -3600):
            before = world.load.acknowledged()
            with world.box.believing(daemon, wall=wall):
                time.sleep(6)
            assert world.load.acknowledged() > before, f"nothing was acknowledged while the clock of {daemon} was {wall} s off"
            world.answered(f"the clock of {daemon} was {wall:+} s off")
    world.torment.settle()


class SmallDisk:
    """For the region's storage."""

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="switchyard-disk.")
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", self.path]).returncode != 0:
            raise Skipped("mounting a tmpfs is not permitted here")
        return [f"shard.data_dir={self.path}/region"]

    def __exit__(self, *_):
        subprocess.run(["umount", "-l", self.path], check=True)
        os.rmdir(self.path)


@scenario(full=True, settings=SmallDisk)
def the_disk_is_full(world):
    disk = os.path.dirname(world.box.setting("shard-1", "data_dir"))
    filler = f"{disk}/filler"
    for _ in range(2):
        stop = threading.Event()

        def fill():
            with open(filler, "wb", buffering=0) as file:
                while not stop.wait(0.01):  # again whenever there is room
                    try:
                        while True:
                            file.write(os.urandom(1 << 16))
                    except OSError:
                        pass

        thread = threading.Thread(target=fill)
        thread.start()
        time.sleep(8)
        stop.set()
        thread.join()
        os.unlink(filler)
        before = world.load.acknowledged()
        wait_until(lambda: world.load.acknowledged() > before + 10, "runs are acknowledged when there is room again", 30)
        world.answered("the disk was full for 8 s")
        world.torment.settle()


# versions

@scenario(full=True, mixed=True)
def versions_are_mixed(world):
    """Each process in turn is restarted with the newer programs, then with the older ones again, so that every role talks to both; one
    dies in the middle."""
    daemons = [f"{role}{of}" for i in (1, 2, 3) for role, of in (("shard-", i), ("operator-", i), ("agent-", f"{i}-1"), ("agent-", f"{i}-2"))]
    for newer in (True, False):
        for daemon in daemons:
            world.box.replace(daemon, newer)
            world.answered(f"{daemon} was replaced by the {'newer' if newer else 'older'} one")
            world.torment.settle()
            if daemon == "shard-2":
                world.tell(world.torment.hit("shard-1", "kill"))
