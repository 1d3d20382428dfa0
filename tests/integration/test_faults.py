"""kill -9 of each process in the middle of a fan-out: it ends complete, every result exactly once."""
import json
import pathlib
import time

from harness import NOTHING_IS_LOST, TASKS, marks, wait_until

COUNT = 10000


def fan_out(box, torment):
    directory = box.dir / "marks"
    directory.mkdir()
    lines = box.dir / "lines"
    lines.write_text(f"{directory}\n" * COUNT)
    run = box.background("run", "--name", "fan", "--function", f"{TASKS}:mark", "--cpu", "10m", "--lines", lines,
                         "-o", "json")
    wait_until(lambda: len(list(directory.iterdir())) > COUNT // 10, "a tenth of the tasks ran")
    torment(box)
    out, err = run.communicate(timeout=600)
    assert run.returncode == 0, f"exit {run.returncode}: {err}"
    check(box, directory)


def check(box, directory):
    """All ended well, each told once, and nothing ran that was not asked for."""
    actions = [a for a in box.json("get", "actions", "fan", "--limit", "0") if a["action"] != "a0"]
    assert len(actions) == COUNT, len(actions)
    assert len({a["action"] for a in actions}) == COUNT
    assert {a["phase"] for a in actions} == {"SUCCEEDED"}
    ran = marks(directory)
    assert set(ran) == {a["action"] for a in actions}
    finals = {}
    last = 0
    for line in box.cli("watch", "fan", "-o", "json").stdout.splitlines():
        event = json.loads(line)
        assert event["sequence"] == last + 1, f"{event['sequence']} after {last}"
        last = event["sequence"]
        if event["phase"] == "SUCCEEDED":
            finals[event["action"]] = finals.get(event["action"], 0) + 1
    assert len(finals) == COUNT + 1 and set(finals.values()) == {1}


def test_nothing_killed(box):
    fan_out(box, lambda box: None)
    ran = marks(box.dir / "marks")
    assert all(len(attempts) == 1 for attempts in ran.values())


test_nothing_killed.settings = NOTHING_IS_LOST


def test_kill_shard(box):
    def torment(box):
        box.kill("shard")
        time.sleep(0.5)
        box.restart("shard")

    fan_out(box, torment)


def test_kill_operator(box):
    def torment(box):
        box.kill("operator")
        time.sleep(0.5)
        box.restart("operator")

    fan_out(box, torment)


def test_kill_agent(box):
    def torment(box):
        box.kill("agent")
        time.sleep(0.5)
        box.restart("agent")

    fan_out(box, torment)


def test_kill_workers(box):
    def torment(box):
        for _ in range(5):
            box.kill_worker()
            time.sleep(0.1)

    fan_out(box, torment)


def test_kill_everything(box):
    def torment(box):
        for daemon in ("agent", "shard", "operator"):
            box.kill(daemon)
        for daemon in ("shard", "operator", "agent"):
            box.restart(daemon)

    fan_out(box, torment)


def test_parent_killed_finds_its_children(box):
    """The parent's worker dies in the middle; the retried parent must not run finished children again."""
    directory = box.dir / "marks"
    directory.mkdir()
    run = box.background("run", "--name", "tree", "--function", f"{TASKS}:parent", "--each", f"{directory} 2000",
                         "-o", "json")
    wait_until(lambda: len(list(directory.iterdir())) > 500, "some children ran")
    box.kill("agent")
    done = {name for name, _ in (p.name.rsplit("@", 1) for p in pathlib.Path(directory).iterdir())}
    box.restart("agent")
    out, err = run.communicate(timeout=600)
    assert run.returncode == 0, f"exit {run.returncode}: {err}"
    ran = marks(directory)
    assert len(ran) == 2001
    again = [name for name, attempts in ran.items() if len(attempts) > 1 and name.startswith("m-")]
    # What was under way when the agent died runs again; what had ended does not.
    assert len(again) < len(done) // 2, f"{len(again)} children ran twice"
