"""Everything that lies in storage, behind S3: a real server process, whose keys only the daemons and tasks know."""
import asyncio
import os
import pathlib
import subprocess
import tempfile
import uuid

import flyte
import flyte.report
from flyte.io import Dir, File

ROOT = "s3://flyte/under/a/prefix"
SECRET_KEY = uuid.uuid4().hex  # another one wherever this file is loaded


def settings():
    import box  # not there where tasks run

    return box.s3_storage(ROOT, SECRET_KEY)


env = flyte.TaskEnvironment("s3")
warm = flyte.TaskEnvironment("s3_warm", reusable=flyte.ReusePolicy(replicas=1, idle_ttl=600))


@env.task
async def square(x: int) -> int:
    return x * x


@env.task
async def sum_of_squares(n: int) -> int:
    return sum(await asyncio.gather(*(square(i) for i in range(n))))


@env.task
async def write_file(text: str) -> File:
    path = pathlib.Path(tempfile.mkdtemp()) / "text"
    path.write_text(text)
    return await File.from_local(str(path))


@env.task
async def write_dir(names: list[str]) -> Dir:
    directory = pathlib.Path(tempfile.mkdtemp())
    for name in names:
        (directory / name).write_text(name * 3)
    return await Dir.from_local(str(directory))


@env.task
async def read_back(file: File, directory: Dir) -> tuple[str, str, dict[str, str]]:
    async with file.open("rb") as stream:
        text = bytes(await stream.read()).decode()
    found = {}
    async for one in directory.walk():
        async with one.open("rb") as stream:
            found[one.name] = bytes(await stream.read()).decode()
    return file.path, text, found


@env.task
async def files(text: str) -> tuple[str, str, dict[str, str]]:
    file, directory = await asyncio.gather(write_file(text), write_dir(["a", "b"]))
    return await read_back(file, directory)


@env.task(report=True)
async def reporting(x: int) -> int:
    await flyte.report.replace.aio(f"<p>the report of {x}</p>")
    await flyte.report.flush.aio()
    print("a line of its log", flush=True)
    return x


@env.task
async def raising(x: int) -> int:
    raise ValueError(f"there is no answer to {x}")


@env.task
async def catching(x: int) -> str:
    try:
        await raising(x)
    except flyte.errors.RuntimeUserError as error:
        return f"{error.code}: {error}"
    return "nothing was raised"


@env.task(retries=2)
def checkpointed() -> str:
    checkpoint = flyte.ctx().checkpoint
    path = checkpoint.load_sync()
    if path is None:
        checkpoint.save_sync(b"from the first attempt")
        raise ValueError("goes on in the next attempt")
    return path.read_bytes().decode()


@env.task
async def sizes(text: str) -> str:
    return text


@warm.task
async def pid_of(x: int) -> int:
    return os.getpid()


@env.task
async def two_warm() -> list[int]:
    return [await pid_of(1), await pid_of(2)]


def test_nested(box):
    assert box.run(sum_of_squares, 8) == sum(i * i for i in range(8))


def test_files(box):
    path, text, found = box.run(files, "some text")
    assert path.startswith(f"{ROOT}/"), path
    assert (text, found) == ("some text", {"a": "aaa", "b": "bbb"})


def test_report_and_logs(box):
    run = box.submit(reporting, 5)
    assert box.finish(run) == 5
    assert "the report of 5" in run.get_report()
    assert any("a line of its log" in line for line in run.get_logs())


def test_errors(box):
    assert box.run(catching, 7) == "ValueError: there is no answer to 7"
    assert "there is no answer to 8" in box.fail(raising, 8).error_message


def test_checkpoint(box):
    assert box.run(checkpointed) == "from the first attempt"


def test_large_values(box):
    text = "0123456789" * 300_000
    assert box.run(sizes, text) == text


def test_code_bundle(box):
    """Of this file: uploaded by the client, unpacked by the agent. Once more with the code as a pickle."""
    assert box.run(square, 3, context={"copy_style": "all"}) == 9
    assert box.run(square, 4, context={"interactive_mode": True}) == 16


def test_warm_worker(box):
    pids = box.run(two_warm)
    assert pids[0] == pids[1]


def test_nothing_beside_the_bucket(box):
    """Neither files in a directory nor the secret key."""
    assert not (box.dir / "data/store").exists() and not (box.dir / "data/operator/store").exists()
    found = subprocess.run(["grep", "-rl", SECRET_KEY, box.dir], capture_output=True, text=True).stdout
    assert found == "", f"the secret key lies in {found}"
