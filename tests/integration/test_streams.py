"""Many open watches, each on a connection of its own, over HTTP/1.1 and Connect: a change reaches all of them."""
import subprocess

from harness import BIN

STREAMS = 2000


def test_many_watches(box):
    box.cli("run", "--detach", "--name", "watched", "--", "sleep", "1000")
    watchers = subprocess.Popen([BIN / "switchyard-bench-watchers", box.endpoint, "default", "development", "watched",
                                 str(STREAMS)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert watchers.stdout.readline() == "open\n", watchers.stderr.read()
        box.cli("abort", "watched")
        told, problems = watchers.communicate(timeout=240)
    finally:
        watchers.kill()
    assert watchers.returncode == 0, problems
    assert len(told.split()) == STREAMS
