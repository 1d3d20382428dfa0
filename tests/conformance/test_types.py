"""Values of all kinds through a parent and its child, files and directories between tasks."""
import asyncio
import enum
import os
import tempfile
import typing
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

import flyte
from flyte.io import Dir, File
from pydantic import BaseModel

env = flyte.TaskEnvironment("types")


class Color(enum.Enum):
    RED = "red"
    GREEN = "green"


@dataclass
class Point:
    x: int
    y: float
    tags: list[str] = field(default_factory=list)


class Model(BaseModel):
    name: str
    points: dict[str, int]


@env.task
async def simple(i: int, f: float, s: str, b: bool, t: datetime, d: timedelta) -> tuple[int, float, str, bool, datetime, timedelta]:
    return i + 1, f / 2, s.upper(), not b, t + d, d * 2


@env.task
async def containers(l: list[int], m: dict[str, list[float]], o: typing.Optional[str], u: int | str) -> str:
    return f"{sorted(l)} {m} {o} {u!r}"


@env.task
async def enums(c: Color) -> Color:
    return Color.GREEN if c == Color.RED else Color.RED


@env.task
async def move(p: Point, by: float) -> Point:
    return Point(p.x + 1, p.y + by, [*p.tags, "moved"])


@env.task
async def move_twice(p: Point) -> Point:
    return await move(await move(p, 1.0), 0.5)


@env.task
async def model(m: Model) -> Model:
    return Model(name=m.name + "!", points={k: v + 1 for k, v in m.points.items()})


@env.task
async def write_file(text: str) -> File:
    file = File.new_remote()
    async with file.open("wb") as stream:
        await stream.write(text.encode())
    return file


@env.task
async def write_dir(names: list[str]) -> Dir:
    path = tempfile.mkdtemp()  # on local storage the SDK refers to it and copies nothing
    for name in names:
        with open(os.path.join(path, name), "w") as stream:
            stream.write(name * 3)
    return await Dir.from_local(path)


@env.task
async def read_file(file: File) -> str:
    async with file.open("rb") as stream:
        return bytes(await stream.read()).decode()


@env.task
async def read_dir(directory: Dir) -> dict[str, str]:
    found = {}
    async for file in directory.walk():
        found[file.name] = await read_file(file)
    return found


@env.task
async def files(text: str) -> tuple[str, dict[str, str]]:
    file, directory = await asyncio.gather(write_file(text), write_dir(["a", "b"]))
    return await read_file(file), await read_dir(directory)


def test_simple(box):
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    got = box.run(simple, 1, 0.5, "abc", True, now, timedelta(hours=1))
    assert got == (2, 0.25, "ABC", False, now + timedelta(hours=1), timedelta(hours=2))


def test_containers(box):
    assert box.run(containers, [3, 1], {"a": [0.5]}, None, "x") == "[1, 3] {'a': [0.5]} None 'x'"
    assert box.run(containers, [], {}, "o", 7) == "[] {} o 7"


def test_enum(box):
    got = box.run(enums, Color.RED)
    assert getattr(got, "name", got) == "GREEN", got


def test_dataclass(box):
    got = box.run(move_twice, Point(1, 2.0, ["start"]))
    assert (got.x, got.y, list(got.tags)) == (3, 3.5, ["start", "moved", "moved"])


def test_pydantic(box):
    got = box.run(model, Model(name="m", points={"a": 1}))
    assert (got.name, dict(got.points)) == ("m!", {"a": 2})


def test_large_values(box):
    text = "0123456789" * 300_000
    assert box.run(read_file, box.run(write_file, text)) == text


def test_files(box):
    got = box.run(files, "some text")
    assert got == ("some text", {"a": "aaa", "b": "bbb"}), got
