"""Tasks tell what they did by files: a test reads which ran, and how often. Travels with the code of every test."""
import pathlib
import time
import uuid


def note(directory, name):
    (pathlib.Path(directory) / f"{name}@{time.time():.3f}@{uuid.uuid4().hex}").touch()


def noted(directory):
    """{name: [times], oldest first}"""
    found = {}
    for path in pathlib.Path(directory).iterdir():
        name, when, _ = path.name.split("@")
        found.setdefault(name, []).append(float(when))
    return {name: sorted(times) for name, times in found.items()}


def until(condition, what, seconds=120):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(0.05)
    return value


def wait_for(directory, name):
    until(lambda: name in noted(directory), name)
