"""What a task leaves beside its outputs: reports, checkpoints, logs."""
import re
import urllib.request

import flyte
import flyte.report

env = flyte.TaskEnvironment("leaves")


@env.task(report=True)
async def reporting(x: int) -> int:
    await flyte.report.replace.aio(f"<p>the report of {x}</p>")
    await flyte.report.flush.aio()
    return x


@env.task(retries=3)
def checkpointed(n: int) -> list[int]:
    checkpoint = flyte.ctx().checkpoint
    path = checkpoint.load_sync()
    done = path.read_bytes().decode() if path else ""
    if len(done) < n:
        checkpoint.save_sync((done + "x").encode())
        raise ValueError("goes on in the next attempt")
    return [len(done)]


@env.task
async def talking(n: int) -> int:
    for i in range(n):
        print(f"line {i} of the program", flush=True)
    return n


def test_report(box):
    run = box.submit(reporting, 5)
    box.finish(run)
    assert "the report of 5" in run.get_report()


def test_report_from_the_page(box):
    """The page that the SDK links to has a link to the report, which no script of it can leave."""
    run = box.submit(reporting, 6)
    box.finish(run)
    page = urllib.request.urlopen(run.url).read().decode()
    link = re.search(r'<dt>Report</dt><dd><a href="(http://[^"]*)">', page)
    report = urllib.request.urlopen(link[1])
    assert "the report of 6" in report.read().decode()
    assert report.headers["content-type"].startswith("text/html")
    assert report.headers["content-security-policy"].startswith("sandbox")



def test_checkpoint(box):
    assert box.run(checkpointed, 2) == [2]


def test_logs(box):
    run = box.submit(talking, 20)
    box.finish(run)
    lines = [line for line in run.get_logs() if "of the program" in line]
    assert len(lines) == 20 and "line 19 " in lines[-1], lines[-3:]
