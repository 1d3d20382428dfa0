"""A steady load of runs through every shard of a region, told to an auditor; and which partition did not answer for how long."""
import collections
import contextlib
import itertools
import random
import threading
import time

from auditor import TERMINAL, Event
from client import ACTIONS, REGION, Client, Refused, create_run, get_run, output_of, partition_of, run_id

# What a region says that cannot just now; anything else that it refuses is a failure.
NOT_NOW = ("unavailable", "deadline_exceeded", "aborted", "resource_exhausted", "cancelled", "unknown")
Call = collections.namedtuple("Call", "begin end partition kind")
Kind = collections.namedtuple("Kind", "function ms count retries phase policy", defaults=[None])
KINDS = (
    *[Kind("audited", 20, 0, 0, "SUCCEEDED")] * 6,
    Kind("audited", 20, 1, 2, "SUCCEEDED"),  # its first attempt fails
    Kind("audited", 10, 99, 0, "FAILED"),
    Kind("audited", 3000, 0, 0, "SUCCEEDED"),
    Kind("audited_parent", 10, 5, 0, "SUCCEEDED"),
)


PARENTS_MAX = 8  # each holds a worker while it waits for its children: as many as there are workers would wait for ever


def percentile(values, part):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * part))] if values else None


class Shards:
    """One thread's connections to all shards; a call goes round until one of them answers."""

    def __init__(self, endpoints, seed=0, timeout=30):
        self.clients = [Client(endpoint, timeout) for endpoint in endpoints]
        self.random, self.tries_failed = random.Random(seed), 0

    def call(self, body, over=None, seconds=120, avoid=()):
        """(begin, end, what body(client) gave) of the try that was answered. None: there was none in that time, or before it is over."""
        deadline = time.monotonic() + seconds
        first = self.random.randrange(len(self.clients))
        for at in itertools.count(first):
            begin, client = time.monotonic(), self.clients[at % len(self.clients)]
            if client.endpoint in avoid:
                continue
            try:
                given = body(client)
                return begin, time.monotonic(), given
            except OSError:
                self.tries_failed += 1
            except Refused as e:
                if e.code not in NOT_NOW:
                    raise
                self.tries_failed += 1
            if time.monotonic() > deadline or over is not None and over.is_set():
                return None
            if (at - first) % len(self.clients) == len(self.clients) - 1:
                time.sleep(0.02)  # none of them did


class Region:
    """What it says of itself, through any of its shards."""

    def __init__(self, endpoints):
        self.shards = Shards(endpoints, timeout=5)

    def ask(self, method, seconds):
        answer = self.shards.call(lambda client: client.json(f"{REGION}/{method}", {}), seconds=seconds)
        return answer[2] if answer else {}

    def owners(self, seconds=30):
        """[the shard that has partition 0, ...]; None where it is with nobody, or on its way."""
        partitions = self.ask("GetRegionMap", seconds).get("partitions", ())
        return [None if p.get("opening") or p.get("target") else p.get("shard") for p in partitions]

    def is_spread(self, shards):
        owners = self.owners(1)
        return bool(owners) and None not in owners and len(set(owners)) == shards

    def nodes_ready(self, seconds=1):
        return {node["name"] for node in self.ask("ListNodes", seconds).get("nodes", ()) if node["state"] == "ready"}


class Load:
    """While the `with` lasts: submitters, one that looks after runs, and one for each partition that asks it all the time."""

    def __init__(self, endpoints, library, directory, auditor, submitters=3, pause=0.1, seed=1, kinds=KINDS, prefix="run"):
        self.endpoints, self.library, self.directory, self.auditor = list(endpoints), library, directory, auditor
        self.submitters, self.pause, self.seed, self.kinds, self.prefix = submitters, pause, seed, kinds, prefix
        self.over, self.threads, self.raised = threading.Event(), [], []
        self.pause_over = threading.Event()  # unset while nobody submits
        self.pause_over.set()
        self.lock, self.numbers = threading.Lock(), itertools.count()
        self.live, self.ended, self.calls, self.tries_failed = [], collections.deque(maxlen=1000), [], 0
        self.parents = set()  # that live
        self.partitions = len(Region(self.endpoints).owners())
        self.probes = {}  # partition: a run in it
        self.avoid = set()  # endpoints that are not asked for them

    def __enter__(self):
        self.find_probes()
        for i in range(self.submitters):
            self.start(self.submit, i)
        self.start(self.look, self.submitters)
        for partition in self.probes:
            self.start(self.probe, partition)
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self, body, *args):
        def run():
            try:
                body(*args)
            except Exception as e:  # comes out of stop()
                self.raised.append(e)

        self.threads.append(threading.Thread(target=run, daemon=True))
        self.threads[-1].start()

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join()
        self.threads = []
        if self.raised:
            raise self.raised.pop()

    @contextlib.contextmanager
    def paused(self):
        """Nobody submits, but by make()."""
        self.pause_over.clear()
        try:
            yield
        finally:
            self.pause_over.set()

    def acknowledged(self):
        return len(self.auditor.acks)

    # submits

    def find_probes(self):
        shards = Shards(self.endpoints, self.seed)
        while len(self.probes) < self.partitions:
            run = self.make(shards, self.kinds[0])
            self.probes.setdefault(partition_of(run, self.partitions), run)

    def make(self, shards, kind):
        """A run that is acknowledged, however often that takes; or None, when it is over first."""
        with self.lock:
            run = f"{self.prefix}-{next(self.numbers)}"
            if kind.function == "audited_parent":
                if len(self.parents) < PARENTS_MAX:
                    self.parents.add(run)
                else:
                    kind = self.kinds[0]
        text = f"{self.directory} {kind.ms} {kind.count}"
        self.auditor.submitted(run)
        first = time.monotonic()

        def create(client):
            try:
                create_run(client, run, self.library, kind.function, text, kind.retries, kind.policy)
            except Refused as e:
                if e.code != "already_exists":  # an earlier try did it, and its answer was lost
                    raise

        answer = shards.call(create, self.over)
        if answer is None:
            return None
        self.auditor.acknowledged(run, answer[1], kind.phase)
        with self.lock:
            self.calls.append(Call(first, answer[1], partition_of(run, self.partitions), "submit"))
            self.live.append(run)
        return run

    def submit(self, number):
        shards, kinds = Shards(self.endpoints, self.seed + number), random.Random(self.seed + number)
        while not self.over.wait(self.pause):
            self.pause_over.wait()
            self.make(shards, kinds.choice(self.kinds))
        self.tries_failed += shards.tries_failed

    # looks

    def look(self, number):
        """Asks for one that lives, and for one whose end was told before."""
        shards, choice = Shards(self.endpoints, self.seed + number), random.Random(self.seed + number)
        while not self.over.wait(0.02):
            with self.lock:
                live = self.live[choice.randrange(len(self.live))] if self.live else None
                ended = choice.choice(self.ended) if self.ended else None
            if live and self.see(shards, live) in TERMINAL:
                with self.lock:
                    self.live.remove(live)
                    self.parents.discard(live)
                    self.ended.append(live)
            if ended:
                self.see(shards, ended)

    def see(self, shards, run, avoid=()):
        def ask(client):
            try:
                return get_run(client, run)
            except Refused as e:
                if e.code != "not_found":
                    raise
                return None, 0

        answer = shards.call(ask, self.over, avoid=avoid)
        if answer is None:
            return None
        begin, end, (phase, attempt) = answer
        self.auditor.seen(run, begin, end, phase, attempt)
        return phase

    def probe(self, partition):
        shards = Shards(self.endpoints, self.seed + partition)
        while not self.over.wait(0.05):
            first = time.monotonic()
            if self.see(shards, self.probes[partition], self.avoid):
                with self.lock:
                    self.calls.append(Call(first, time.monotonic(), partition, "read"))

    def away(self, partitions, since, seconds=60):
        """How long from `since` until each of them answered a call that began after it: {partition: s}; inf: not within that time."""
        found = dict.fromkeys(partitions, float("inf"))
        deadline = since + seconds
        while time.monotonic() < deadline and float("inf") in found.values():
            time.sleep(0.02)
            with self.lock:
                recent = list(itertools.takewhile(lambda call: call.end >= since, reversed(self.calls)))
            for call in recent:
                if call.begin >= since and call.partition in found:
                    found[call.partition] = min(found[call.partition], call.end - since)
        return found

    def times(self, begin, end, but=(), kinds=("read", "submit")):
        """How long the calls took that were begun in that time, without those of some partitions."""
        with self.lock:
            return [call.end - call.begin for call in self.calls
                    if begin <= call.begin < end and call.partition not in but and call.kind in kinds]

    # the end

    def collect(self, seconds=120, threads=4):
        """After the load: what the region says of each run is the auditor's."""
        deadline, runs = time.monotonic() + seconds, collections.deque(self.auditor.runs())

        def work(number):
            shards = Shards(self.endpoints, number, timeout=10)
            while True:
                try:
                    run = runs.popleft()
                except IndexError:
                    return
                self.auditor.answer(run, *history(shards, run, deadline, run.startswith(self.prefix)))

        for number in range(threads):
            self.start(work, number)
        self.stop()


def history(shards, run, deadline, native):
    """(each change of the run, or None where it is not there; {action: output} of native ones); incomplete when it does not end in
    time."""
    events = []

    def take(message):
        for event in message.get("events", ()):
            events.append(Event(int(event["sequence"]), event["action"], event["phase"].removeprefix("PHASE_"), event.get("attempt", 0)))

    def watch(client):
        events.clear()
        try:
            client.stream(f"{ACTIONS}/WatchRun", {"run": run_id(run)}, take)
        except Refused as e:
            if e.code == "not_found":
                return False
            raise
        return True

    answer = shards.call(watch, seconds=max(0, deadline - time.monotonic()))
    if answer and not answer[2]:
        return None, {}
    good = [event.action for event in events if event.phase == "SUCCEEDED"]
    outputs = {}
    for action in good if answer and native else ():
        given = shards.call(lambda client, action=action: output_of(client, run, action))
        if given:
            outputs[action] = given[2]
    return events, outputs


