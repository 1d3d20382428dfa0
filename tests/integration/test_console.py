"""The console: pages of runs and metrics over plain HTTP, as a browser and a scraper ask for them."""
import http.client
import re
import socket
import subprocess
import threading
import urllib.parse

from harness import BIN, wait_until

RUNS = "/v2/domain/development/project/default/runs/"


def ask(address, path, method="GET"):
    connection = http.client.HTTPConnection(*address.split(":"), timeout=120)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer, body


def console(box):
    return urllib.parse.urlsplit(box.devbox("console").stdout.strip()).netloc


def test_page_of_a_run(box):
    done = box.cli("run", "--name", "bad", "--", "sh", "-c", "echo '<b>oops</b>' >&2; exit 3", check=False)
    # The link that `run` tells leads to the page, and so does the console's own port.
    link = re.search(r"^page: http://(\S+?)(/\S+)$", done.stderr, re.M)
    assert link and link[2] == RUNS + "bad", done.stderr
    for address in (link[1], console(box)):
        answer, page = ask(address, link[2])
        assert answer.status == 200, page
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert "<h1>bad</h1>" in page and "failed" in page
        assert "&#60;b&#62;oops&#60;/b&#62;" in page and "<b>oops" not in page, page
        assert "refresh" not in page
        head, body = ask(address, link[2], "HEAD")
        assert head.status == 200 and body == "" and head.headers["content-length"] == str(len(page.encode()))
    assert done.stdout.startswith("RUN"), done.stdout  # a script sees the table only


def test_live_run_and_fan_out(box):
    run = box.cli("run", "--detach", "--", "sleep", "600").stdout.strip()
    wait_until(lambda: "running" in ask(console(box), RUNS + run)[1], "it runs")
    assert 'http-equiv="refresh"' in ask(console(box), RUNS + run)[1]
    box.cli("abort", run, "--reason", "<seen>")
    wait_until(lambda: "Aborted: &#60;seen&#62;" in ask(console(box), RUNS + run)[1], "it ended")
    box.cli("run", "--name", "fan", "--each", *range(30), "--", "test", "7", "-ne", check=False)
    page = ask(console(box), RUNS + "fan?i=n0000009")[1]
    assert page.count("<svg") == 31 and "<h2>Action n0000009</h2>" in page
    assert page.count("ExitCode: the process exited with status 1") == 1


def test_root_and_metrics(box):
    box.cli("run", "--name", "first", "--", "true")
    answer, page = ask(console(box), "/")
    assert answer.status == 200 and f'href="{RUNS}first"' in page and "node-0" in page
    assert ask(box.endpoint, "/v2/")[1].count(RUNS) == page.count(RUNS)
    answer, text = ask(console(box), "/metrics")
    assert answer.status == 200 and answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert samples['switchyard_cluster_up{cluster="devbox"}'] == "1"
    assert samples['switchyard_actions_finished_total{partition="0"}'] == "1"
    assert int(samples['switchyard_commits_total{partition="0"}']) > 0
    assert int(samples["process_resident_memory_bytes"]) > 1 << 20


def test_what_is_not_there(box):
    for address in (console(box), box.endpoint):
        answer, page = ask(address, RUNS + "none")
        assert answer.status == 404 and "run default/development/none does not exist" in page
        for path in ("/v2/domain/x", RUNS + "..%2f..%2fetc%2fpasswd", "/v2/../../../../etc/passwd"):
            answer, page = ask(address, path)
            assert answer.status == 404 and "root:" not in page, path
    for method in ("POST", "PUT", "DELETE"):
        assert ask(console(box), RUNS + "none", method)[0].status >= 400
    # The services are not there.
    answer, text = ask(console(box), "/flyteidl2.workflow.RunService/ListRuns", "POST")
    assert answer.status >= 400, text


def test_report_that_is_not_there(box):
    operator = re.search(r"^listen: (.*)$", (box.dir / "operator.yaml").read_text(), re.M)[1]
    box.cli("run", "--name", "plain", "--", "true")
    for path, words in (("plain/a0/1", "no report"), ("plain/a1/1", "a1"), ("none/a0/1", "none does not exist"),
                        ("plain/a0/0", "expected"), ("plain/a0", "expected"), ("plain/..%2f..%2f/1", "expected")):
        answer, text = ask(operator, "/report/development/default/" + path)
        assert answer.status == 404 and words in text, (path, answer.status, text)
    assert "href=\"http" not in ask(console(box), RUNS + "plain")[1]  # it makes none


def start_shard(box, listen):
    config = box.dir / "second.yaml"
    config.write_text(f"listen: 127.0.0.1:0\nconsole_listen: '{listen}'\ndata_dir: {box.dir}/second\n")
    return subprocess.Popen([BIN / "switchyard-shard", "--config", config], text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)


def test_busy_port_and_no_console(box):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        shard = start_shard(box, address)
        error = shard.communicate(timeout=120)[1]
    assert shard.returncode == 1, error
    assert f"console_listen: address: cannot listen on {address}: Address already in use" in error, error
    shard = start_shard(box, "")
    words = shard.stdout.readline().split()
    assert words[-2:] == ["console", "0"], words
    assert ask(f"127.0.0.1:{words[words.index('port') + 1]}", RUNS + "any")[0].status == 404
    shard.terminate()
    assert shard.wait(120) == 0


def test_stop_under_load(box):
    """Pages that are asked for while the shard drains end, and so does the shard."""
    address, over = console(box), threading.Event()

    def browse():
        while not over.is_set():
            try:
                ask(address, "/")
                ask(box.endpoint, RUNS + "none")
            except (OSError, http.client.HTTPException):
                pass

    browsers = [threading.Thread(target=browse) for _ in range(6)]
    for one in browsers:
        one.start()
    try:
        for _ in range(3):
            assert "killing it" not in box.devbox("stop", "shard").stderr
            box.restart("shard")
            wait_until(lambda: status_of(address) == 200, "the console is back")
    finally:
        over.set()
        for one in browsers:
            one.join()
    for word in ("assert", "sanitizer"):
        assert word not in box.log("shard").lower(), box.log("shard")[-2000:]


def status_of(address):
    try:
        return ask(address, "/")[0].status
    except OSError:
        return None
