"""What tasks see and what people see of them."""
from harness import TASKS, marks, wait_until


def test_process_output_and_exit_code(box):
    good = box.cli("run", "--name", "good", "--", "/bin/sh", "-c", "echo out; echo err >&2")
    assert good.returncode == 0
    log = box.cli("logs", "good")
    assert log.stdout == "out\n" and log.stderr == "err\n"
    bad = box.cli("run", "--name", "bad", "--", "/bin/sh", "-c", "exit 7", check=False)
    assert bad.returncode == 1
    assert "7" in bad.stderr + bad.stdout


def test_function_logs_are_its_own(box):
    lines = box.dir / "lines"
    lines.write_text("x\n" * 50)
    box.cli("run", "--name", "p", "--function", f"{TASKS}:printer", "--lines", lines)
    for a in box.json("get", "actions", "p"):
        if a["action"] == "a0":
            continue
        done = box.cli("logs", "p", a["action"])
        log = done.stdout + done.stderr
        for stream in ("stdout", "stderr", "the log"):
            assert f"to {stream} from {a['action']}" in log, log
        assert log.count("from ") == 3, log


def test_crash_is_retried_and_user_error_is_not_a_system_failure(box):
    box.cli("run", "--name", "crash", "--function", f"{TASKS}:crash_once", "--lines", "-", input="x\n")
    directory = box.dir / "marks"
    directory.mkdir()
    failed = box.cli("run", "--name", "unlucky", "--function", f"{TASKS}:fail_always", "--retries", "2",
                     "--lines", "-", input=f"{directory}\n", check=False)
    assert failed.returncode == 1
    assert [sorted(a) for a in marks(directory).values()] == [[1, 2, 3]]
    assert "NoLuck" in failed.stdout + failed.stderr + str(box.json("get", "actions", "unlucky"))


def test_timeout_kills(box):
    done = box.cli("run", "--name", "slow", "--timeout", "1s", "--", "/bin/sleep", "600", check=False)
    assert done.returncode != 0
    assert box.json("get", "run", "slow")["phase"] == "TIMED_OUT"


def test_abort_reaches_the_process(box):
    box.cli("run", "--name", "long", "--detach", "--", "/bin/sh", "-c", "echo $$; exec sleep 600")
    wait_until(lambda: box.json("get", "run", "long")["phase"] == "RUNNING", "it runs")
    box.cli("abort", "long", "--reason", "enough")
    wait_until(lambda: box.json("get", "run", "long")["phase"] == "ABORTED", "it is aborted")
    wait_until(lambda: all(n["running"] == 0 for n in box.json("get", "nodes")), "its room is free")


def test_large_output_travels_by_reference(box):
    box.cli("run", "--name", "big", "--function", f"{TASKS}:large", "--lines", "-", input="x\n")
    objects = [p for p in (box.dir / "data/operator").rglob("*") if p.is_file() and p.stat().st_size == 1 << 20]
    assert objects, "no object of 1 MiB in the store"


def test_out_of_memory_is_told(box):
    hog = "a=x; while true; do a=$a$a; done"
    done = box.cli("run", "--name", "hog", "--memory", "64Mi", "--", "/bin/sh", "-c", hog, check=False)
    assert done.returncode == 1
    said = done.stdout + done.stderr + str(box.json("get", "run", "hog"))
    assert "memory" in said.lower() or "killed" in said.lower(), said


def test_nested_fan_out(box):
    directory = box.dir / "marks"
    directory.mkdir()
    box.cli("run", "--name", "tree", "--function", f"{TASKS}:parent", "--each", f"{directory} 500")
    assert len(marks(directory)) == 501
