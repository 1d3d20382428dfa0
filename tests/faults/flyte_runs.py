"""Programs of the Flyte SDK, one after another, each a parent with some children; started by flyte_load.py with the SDK's Python.

    flyte_runs.py ENDPOINT PROJECT DOMAIN DIR PREFIX      says "submit RUN", "ack RUN" a line; ends with its input

The tasks write what the auditor reads: the same lines as tasks/audited.c, to the same kind of files.
"""
import asyncio
import os
import pathlib
import sys
import threading
import time

import flyte

env = flyte.TaskEnvironment("faults-load")


def note(directory, kind, more=""):
    run = os.environ["SWITCHYARD_RUN"].rsplit("/", 1)[1]
    path = f"{directory}/{run}.{os.environ['SWITCHYARD_ACTION']}"
    token, attempt = os.environ["SWITCHYARD_FENCING_TOKEN"], os.environ["SWITCHYARD_ATTEMPT"]
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
    os.write(fd, f"{kind} {token} {attempt} {time.time_ns() // 1000000} {more}".rstrip().encode() + b"\n")
    os.fsync(fd)
    os.close(fd)


@env.task
async def leaf(directory: str, i: int) -> int:
    note(directory, "start")
    await asyncio.sleep(0.2)
    note(directory, "end")
    return i


@env.task
async def tree(directory: str, count: int) -> int:
    note(directory, "start")
    total = sum(await asyncio.gather(*[leaf(directory, i) for i in range(count)]))
    note(directory, "end")
    return total


def main():
    endpoint, project, domain, directory, prefix = sys.argv[1:]
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    flyte.init(endpoint=endpoint, insecure=True, project=project, domain=domain, root_dir=pathlib.Path(__file__).parent)
    number = 0
    while not over.is_set():
        number += 1
        name = f"{prefix}-{number}"
        print("submit", name, flush=True)
        try:
            flyte.with_runcontext(name=name).run(tree, directory, 3)
            print("ack", name, flush=True)
        except Exception as e:  # what became of it nobody knows
            print("lost", name, repr(e)[:200].replace("\n", " "), flush=True)
        over.wait(1)


if __name__ == "__main__":
    main()
