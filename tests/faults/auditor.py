"""The auditor: what a region promised, held against what it did. It believes three witnesses, none of them the region's own state:
what clients were told (submits acknowledged, every later answer about an action), what the workers wrote while they ran
(tasks/audited.c), and, once all faults are over, what the API says of each run from its first change on.

Checked: nothing acknowledged is lost; each action has one accepted outcome, of an attempt that a worker really finished; attempt
numbers and fencing tokens grow, and none starts twice; of an action whose attempts say all the time that they run (`beat`: a task that
must not run twice at a time) no two do at one time; terminal is final, for whoever reads after somebody saw it, also through
another shard; an effect that is guarded by the fencing token ends up being that of the accepted attempt.
"""
import collections
import pathlib
import threading

TERMINAL = ("SUCCEEDED", "FAILED", "ABORTED", "TIMED_OUT")
ROOT = "a0"
WITHOUT_TOKEN = "-"  # of a worker that is not told its token

Line = collections.namedtuple("Line", "kind token attempt ms more")
Event = collections.namedtuple("Event", "sequence action phase attempt")
# phase None: the answer was that there is no such run
Seen = collections.namedtuple("Seen", "begin end phase attempt")


def parse_line(text):
    words = text.split()
    kind, token, attempt, ms = words[:4]
    return Line(kind, token, int(attempt), int(ms), words[4] if len(words) > 4 else None)


class Records:
    """What the workers wrote: lines of each (run, action), in their order, and the effect that is left."""

    def __init__(self):
        self.lines, self.effects, self.unreadable = {}, {}, []

    @classmethod
    def read(cls, directory):
        records = cls()
        for path in pathlib.Path(directory).iterdir():
            run, action, *rest = path.name.split(".")
            if rest == ["go"]:
                continue  # the test's word to the worker
            if rest == ["effect"]:
                records.effects[run, action] = path.read_text()
            else:
                records.add(run, action, path.read_text())
        return records

    def add(self, run, action, text):
        lines = self.lines.setdefault((run, action), [])
        for line in text.splitlines():
            try:
                lines.append(parse_line(line))
            except (ValueError, IndexError):
                self.unreadable.append(f"{run} {action}: {line!r}")

    @staticmethod
    def of(kind, lines):
        return [line for line in lines if line.kind == kind]

    def begun_and_not_ended(self):
        """Attempts that something ended: (run, action, attempt)."""
        for (run, action), lines in self.lines.items():
            ended = {(line.token, line.attempt) for line in lines if line.kind in ("end", "fail", "cancelled")}
            for line in self.of("start", lines):
                if (line.token, line.attempt) not in ended:
                    yield run, action, line.attempt


class Auditor:
    """Clients call submitted, acknowledged and seen while it all happens, from any thread; then answer, once for each run, and verdict."""

    def __init__(self):
        self.lock = threading.Lock()
        self.sent, self.acks, self.sightings, self.answers = set(), {}, {}, {}

    def submitted(self, run):
        """It may come to be from now on."""
        with self.lock:
            self.sent.add(run)

    def acknowledged(self, run, when, phase="SUCCEEDED"):
        """At `when` (monotonic); the phase is how it must end."""
        with self.lock:
            self.acks[run] = (when, phase)

    def seen(self, run, begin, end, phase, attempt=0, action=ROOT):
        """An answer that was asked for at `begin` and had at `end`, monotonic."""
        with self.lock:
            self.sightings.setdefault((run, action), []).append(Seen(begin, end, phase, attempt))

    def answer(self, run, events, outputs):
        """What the API says in the end: each change of the run, or None where it knows no such run; {action: output}."""
        with self.lock:
            self.answers[run] = (events, outputs)

    def runs(self):
        with self.lock:
            return sorted(self.sent)

    def verdict(self, records):
        return Verdict(self, records)


class Verdict:
    def __init__(self, auditor, records):
        self.auditor, self.records, self.violations = auditor, records, []
        self.counts = collections.Counter()
        self.finals = {}  # (run, action): Event
        for line in records.unreadable:
            self.violation("unreadable record", line)
        for run in auditor.runs():
            self.check_run(run)
        for (run, action), lines in records.lines.items():
            self.check_record(run, action, lines)
        for (run, action), seen in auditor.sightings.items():
            self.check_sightings(run, action, seen)
        self.counts["killed"] = sum(1 for _ in records.begun_and_not_ended())

    def violation(self, rule, what):
        self.violations.append(f"{rule}: {what}")

    # what the API says

    def check_run(self, run):
        ack = self.auditor.acks.get(run)
        events, outputs = self.auditor.answers.get(run, (None, {}))
        if ack:
            self.counts["acknowledged"] += 1
        if events is None:
            if ack:
                self.violation("lost", f"run {run} was acknowledged, and is not there")
            return
        self.counts["runs"] += 1
        self.check_events(run, events)
        root = self.finals.get((run, ROOT))
        if root is None:
            self.violation("lost", f"run {run} has not ended")
        elif ack and root.phase != ack[1]:
            self.violation("wrong end", f"run {run} is {root.phase}, not {ack[1]}")
        for action in {event.action for event in events}:
            self.check_outcome(run, action, outputs.get(action))

    def check_events(self, run, events):
        last, attempts = 0, {}
        for event in events:
            if event.sequence != last + 1:
                self.violation("gap", f"run {run}: change {event.sequence} follows {last}")
            last = event.sequence
            final = self.finals.get((run, event.action))
            if final:
                rule = "two outcomes" if event.phase in TERMINAL else "not final"
                self.violation(rule, f"{run} {event.action}: {event.phase} after {final.phase}")
            elif event.phase in TERMINAL:
                self.finals[run, event.action] = event
                self.counts["outcomes"] += 1
            if event.attempt < attempts.get(event.action, 0):
                self.violation("attempts shrink", f"{run} {event.action}: {event.attempt} after {attempts[event.action]}")
            attempts[event.action] = max(event.attempt, attempts.get(event.action, 0))

    def check_outcome(self, run, action, output):
        """Its outcome is that of one attempt, which a worker finished, and no newer one began."""
        final = self.finals.get((run, action))
        lines = self.records.lines.get((run, action))
        if final is None or final.phase != "SUCCEEDED" or lines is None:
            if final and final.phase == "SUCCEEDED":
                self.violation("no worker", f"{run} {action} SUCCEEDED, and no worker wrote of it")
            return
        accepted = [line for line in self.records.of("end", lines) if line.attempt == final.attempt]
        if not accepted:
            self.violation("no worker", f"{run} {action}: attempt {final.attempt} is accepted, and no worker finished it")
            return
        token = output if output in {line.token for line in accepted} else accepted[-1].token
        if output is not None and output != token:
            self.violation("another output", f"{run} {action}: its output is of {output}, its outcome of {token}")
        newer = [line for line in self.records.of("start", lines) if line.token > token]
        if newer:
            self.violation("superseded", f"{run} {action}: {token} is accepted, and {newer[0].token} had begun")
        wrote = self.records.of("wrote", lines)
        if wrote and (wrote[-1].token != token or self.records.effects.get((run, action)) != token):
            self.violation("effect", f"{run} {action}: {token} is accepted, and the effect is of {wrote[-1].token}")

    # what the workers wrote

    def check_record(self, run, action, lines):
        if not lines:
            return  # it was about to write the first one
        self.counts["attempts"] += len(self.records.of("start", lines))
        self.counts["refused effects"] += len(self.records.of("refused", lines))
        events, _ = self.auditor.answers.get(run, (None, None))
        known = {event.action for event in events or ()}
        if run not in self.auditor.sent:
            self.violation("not asked for", f"run {run} ran, and nobody submitted it")
        elif action not in known:
            self.violation("lost", f"{run} {action} ran, and is not there")
        for line in self.records.of("asked", lines):
            if line.more not in known:
                self.violation("lost", f"{run} {line.more} was acknowledged to its parent, and is not there")
            elif (run, line.more) not in self.finals:
                self.violation("lost", f"{run} {line.more} has not ended")
        self.check_tokens(run, action, lines)
        if self.records.of("beat", lines):
            self.check_alone(run, action, lines)

    def check_tokens(self, run, action, lines):
        starts = sorted((line.token, line.attempt) for line in self.records.of("start", lines) if line.token != WITHOUT_TOKEN)
        for one, next_one in zip(starts, starts[1:]):
            if one[0] == next_one[0]:
                self.violation("started twice", f"{run} {action}: attempt {one[1]}, {one[0]}")
            elif one[1] > next_one[1]:  # of a later epoch it may be the same: only the two together are unique
                self.violation("attempts shrink", f"{run} {action}: {next_one} was issued after {one}")
        wrote = [line.token for line in self.records.of("wrote", lines)]
        for one, next_one in zip(wrote, wrote[1:]):
            if next_one < one:
                self.violation("effect", f"{run} {action}: the effect of {one} was written over by {next_one}")

    def check_alone(self, run, action, lines):
        """From its first line to its last one an attempt ran; no other began before that was over."""
        lives = {}
        for line in lines:
            begin, _ = lives.get(line.token, (line.ms, line.ms))
            lives[line.token] = begin, line.ms
        self.counts["attempts alone"] += len(lives)
        in_order = sorted(lives.items(), key=lambda life: life[1])
        for (one, (_, end)), (other, (begin, _)) in zip(in_order, in_order[1:]):
            if begin < end:
                self.violation("two at a time", f"{run} {action}: {other} began {end - begin} ms before {one} was last heard")

    # what clients were told

    def check_sightings(self, run, action, seen):
        """Who asks after somebody had an answer hears the same or something later."""
        ack = self.auditor.acks.get(run)
        final = self.finals.get((run, action))
        newest = None  # the latest of what was known before the one that is looked at was asked for
        by_end, at = sorted(seen, key=lambda s: s.end), 0
        self.counts["answers"] += len(seen)
        for one in sorted(seen, key=lambda s: s.begin):
            while at < len(by_end) and by_end[at].end <= one.begin:
                if newest is None or self.rank(by_end[at]) > self.rank(newest):
                    newest = by_end[at]
                at += 1
            if one.phase is None:
                if newest and newest.phase or ack and ack[0] <= one.begin:
                    self.violation("lost", f"run {run} was there, and then an answer said that it is not")
            elif newest and newest.phase in TERMINAL and one.phase != newest.phase:
                self.violation("not final", f"{run} {action}: {one.phase} was told after {newest.phase}")
            elif newest and newest.phase and one.attempt < newest.attempt:
                self.violation("attempts shrink", f"{run} {action}: {one.attempt} was told after {newest.attempt}")
            if one.phase in TERMINAL and final and (one.phase, one.attempt) != (final.phase, final.attempt):
                self.violation("not final", f"{run} {action}: {one.phase} of attempt {one.attempt} was told, and in the end it is "
                               f"{final.phase} of {final.attempt}")

    @staticmethod
    def rank(seen):
        return (seen.phase in TERMINAL, seen.phase is not None, seen.attempt)

    def __bool__(self):
        """Nothing was found, and there was something to look at."""
        return not self.violations and self.counts["acknowledged"] > 0

    def text(self):
        c = self.counts
        lines = [f"audit: {c['acknowledged']} runs acknowledged; {c['outcomes']} outcomes of {c['attempts']} attempts,",
                 f"       {c['killed']} of which were killed; {c['answers']} answers compared, {c['refused effects']} late effects refused"]
        if c["attempts alone"]:
            lines.append(f"       {c['attempts alone']} attempts of tasks that must not run twice at a time")
        by_rule = collections.Counter(v.split(":")[0] for v in self.violations)
        lines += [f"  VIOLATION {count} x {rule}" for rule, count in by_rule.items()]
        lines += [f"    {violation}" for violation in self.violations[:20]]
        if not self.violations:
            lines.append("       nothing is lost, nothing has two outcomes" if self else "       nothing was acknowledged: nothing is shown")
        return "\n".join(lines)
