"""Wrong arguments, impossible requests, full disks: one clear sentence, and nothing acknowledged lost."""
import fcntl
import os
import pty
import struct
import subprocess
import termios

from harness import BIN, ROOT, wait_until


def refused(box, *args, code=None, words=()):
    done = box.cli(*args, check=False)
    assert done.returncode != 0, args
    assert code is None or done.returncode == code, f"{args}: exit {done.returncode}: {done.stderr}"
    text = done.stderr.strip()
    assert text and "Traceback" not in text, args
    assert len(text.splitlines()) <= 3, text
    for word in words:
        assert word in text, f"{args}: {word!r} is not in {text!r}"


def test_wrong_arguments(box):
    refused(box, "run", code=2)
    refused(box, "frobnicate", code=2, words=["frobnicate"])
    assert "\n  uncordon  take back" in box.cli("--help").stdout
    refused(box, "run", "--cpu", "many", "--", "true", words=["many"])
    refused(box, "get", "run", "no-such-run", code=3, words=["no-such-run"])
    refused(box, "logs", "no-such-run", code=3)
    refused(box, "abort", "no-such-run", code=3)
    refused(box, "run", "--name", "bad name\n", "--", "true")


def test_impossible_request(box):
    # Nobody is refused while the operator still waits for agents that it may not know yet.
    wait_until(lambda: box.cli("run", "--detach", "--gpu", "64:H100", "--", "true", check=False).returncode != 0,
               "the cluster's nodes are known")
    refused(box, "run", "--gpu", "64:H100", "--", "true", words=["H100"])
    refused(box, "run", "--memory", "900Ti", "--", "true")


def test_unreachable(box):
    done = subprocess.run([BIN / "switchyard", "--endpoint", "127.0.0.1:1", "status"], text=True, capture_output=True,
                          timeout=120)
    assert done.returncode == 4, done
    assert "127.0.0.1:1" in done.stderr


def test_configuration_typo(box):
    bad = box.dir / "bad.yaml"
    bad.write_text("nam: x\nlisten: 127.0.0.1:0\npartitions: many\ndata_dir: /nonexistent\n")
    for daemon in ("shard", "operator", "agent"):
        done = subprocess.run([BIN / f"switchyard-{daemon}", "--config", bad], text=True, capture_output=True,
                              timeout=120)
        assert done.returncode != 0
        assert "nam" in done.stderr, done.stderr
    done = subprocess.run([BIN / "switchyard-shard", "--config", bad], text=True, capture_output=True, timeout=120)
    assert "name" in done.stderr and "partitions" in done.stderr and "many" in done.stderr, done.stderr


def test_corrupted_store(box):
    box.cli("run", "--name", "before", "--", "true")
    box.kill("shard")
    good = {path: path.read_text() for path in (box.dir / "data/shard").rglob("CURRENT")}
    assert good
    for path in good:
        path.write_text("garbage\n")
    # It is ready only when all partitions are served: nobody waits for that.
    starting = subprocess.Popen([ROOT / "tools/devbox", "restart", "shard", "--dir", box.dir], stderr=subprocess.DEVNULL)
    wait_until(lambda: "is damaged" in box.log("shard"), "the shard has read its store")
    done = box.cli("get", "run", "before", check=False)
    assert done.returncode == 4
    assert "is damaged" in done.stderr and "CURRENT" in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    partition = box.json("status")["partitions"][0]
    assert partition["state"] == "failed" and "is damaged" in partition["reason"], partition
    box.kill("shard")  # and nothing was thrown away
    starting.wait()
    for path, text in good.items():
        path.write_text(text)
    box.restart("shard")
    assert box.json("get", "run", "before")["phase"] == "SUCCEEDED"


def test_one_shard_does_not_start(box):
    """`devbox restart` starts what can be started, and says of the others why they cannot."""
    box.kill("shard")
    config = box.dir / "shard-1.yaml"
    config.write_text(config.read_text().replace("partitions: 6", "partitions: 7"))
    done = box.devbox("restart", "shard", check=False)
    assert done.returncode != 0
    assert "the shard-1 did not start: switchyard-shard: region local has 6 partitions, shard shard-1 is configured for 7" in done.stderr
    lines = box.devbox("status").stdout.splitlines()
    assert "shard-1 stopped" in lines and any(line.startswith("shard-2 running") for line in lines), lines
    box.endpoint = box.setting("shard-2", "listen")
    assert box.cli("run", "--", "true").returncode == 0


test_one_shard_does_not_start.options = ("--shards", "2", "--clusters", "1")


def test_missing_library_is_a_clear_error(box):
    done = box.cli("run", "--name", "nolib", "--function", "/no/such.so:fn", "--lines", "-", input="x\n", check=False)
    assert done.returncode == 1
    assert "/no/such.so" in done.stderr + done.stdout + str(box.json("get", "actions", "nolib"))


def test_missing_program_is_a_clear_error(box):
    done = box.cli("run", "--name", "noprog", "--", "/no/such/program", check=False)
    assert done.returncode == 1
    assert "/no/such/program" in done.stderr + done.stdout + str(box.json("get", "run", "noprog"))


def on_a_terminal(box, columns, *args):
    """The lines that are shown on one so narrow."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    child = subprocess.Popen([BIN / "switchyard", "--endpoint", box.endpoint, *args], stdin=theirs, stdout=theirs,
                             stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 65536):
            shown += piece
    except OSError:  # its end
        pass
    os.close(ours)
    child.wait(timeout=60)
    return shown.decode().splitlines()


def test_narrow_terminal(box):
    """What tells rows apart, and what is wrong with one, is not what is left out."""
    for name in ("nightly", "hourly"):
        box.cli("create", "queue", name)
    lines = on_a_terminal(box, 60, "get", "queues")
    assert all(len(line) <= 60 for line in lines), lines
    for name in ("nightly", "hourly"):
        assert any(line.startswith(f"default/development/{name} ") for line in lines), lines
    box.cli("run", "--name", "broken", "--", "/no/such/program", check=False)
    lines = on_a_terminal(box, 60, "explain", "broken")
    assert all(len(line) <= 60 for line in lines), lines
    assert any("SystemRetriesExhausted: " in line for line in lines), lines
    box.kill("shard")
    for path in (box.dir / "data/shard").rglob("CURRENT"):
        path.write_text("garbage\n")
    with subprocess.Popen([ROOT / "tools/devbox", "restart", "--dir", box.dir, "shard"],
                          stderr=subprocess.DEVNULL) as restart:
        wait_until(lambda: " failed " in box.cli("status", check=False).stdout, "the partition has failed")
        restart.terminate()  # it waits for one that serves
    lines = on_a_terminal(box, 60, "status")
    assert all(len(line) <= 60 for line in lines), lines
    assert any("failed" in line and "does not serve" in line for line in lines), lines
