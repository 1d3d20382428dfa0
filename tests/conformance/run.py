#!/usr/bin/env python3
"""Runs programs of the real Flyte SDK against a devbox:  run.py [FILE[.NAME-PART]...]

Every file test_*.py has tasks and functions test_*(box), and gets a process and a devbox of its own; `options` in it are of tools/devbox
start, `needs` a program without which it is skipped, `settings` the devbox's, or a function that gives a context manager of them: what they need is there until the devbox is gone. The SDK comes from a virtual environment (tools/flyte-venv): $FLYTE_VENV, or build/flyte-venv.
"""
import contextlib
import importlib
import inspect
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SECONDS_MAX = 240  # one test
VENV = pathlib.Path(os.environ.get("FLYTE_VENV", ROOT / "build/flyte-venv"))


def start_box(settings, options):
    import flyte
    from box import Box

    box = Box(settings, VENV, options)
    flyte.init(endpoint=box.endpoint, insecure=True, project="conformance", domain="development", root_dir=HERE)
    return box


def too_long(*_):
    raise TimeoutError(f"not within {SECONDS_MAX} s")


def run_one(box, name, function):
    start = time.monotonic()
    signal.alarm(SECONDS_MAX)
    try:
        function(box)
        signal.alarm(0)
        print(f"ok      {name}  {time.monotonic() - start:.1f} s", flush=True)
        return True
    except Exception:
        traceback.print_exc()
        print(f"FAILED  {name}  {time.monotonic() - start:.1f} s", flush=True)
        return False


def run_file(stem, part):
    module = importlib.import_module(stem)
    functions = inspect.getmembers(module, inspect.isfunction)
    functions = [(name, f) for name, f in functions if name.startswith("test_") and part in name]
    functions.sort(key=lambda pair: pair[1].__code__.co_firstlineno)
    settings = getattr(module, "settings", ())
    with settings() if callable(settings) else contextlib.nullcontext(settings) as settings:
        if settings is None:
            print(f"SKIPPED conformance_{stem} what it needs cannot be had here", flush=True)
            return True
        if not shutil.which(getattr(module, "needs", "true")):
            print(f"SKIPPED conformance_{stem} {module.needs} is not installed: tools/install-deps test")
            return True
        return run_functions(start_box(settings, getattr(module, "options", ())), stem, functions)


def run_functions(box, stem, functions):
    signal.signal(signal.SIGALRM, too_long)
    results = [run_one(box, f"{stem}.{name}", function) for name, function in functions]
    if False in results:
        for daemon in box.daemons():
            print(f"--- {daemon}\n" + "\n".join(box.log(daemon).splitlines()[-15:]))
        print(f"--- kept in {box.dir}")
    box.close(keep=False in results)
    return results and False not in results


def main():
    wanted = sys.argv[1:] or sorted(path.stem for path in HERE.glob("test_*.py"))
    if not (VENV / "bin/a0").exists():
        for name in wanted:
            print(f"SKIPPED conformance_{name} there is no Flyte SDK in {VENV}; tools/flyte-venv installs it")
        sys.exit(0)
    if len(wanted) == 1 and pathlib.Path(sys.prefix) == VENV:
        stem, _, part = wanted[0].partition(".")
        sys.exit(0 if run_file(stem, part) else 1)
    command = [VENV / "bin/python", HERE / "run.py"]
    failed = [name for name in wanted if subprocess.run([*command, name]).returncode != 0]
    print(f"{len(wanted) - len(failed)} files passed, {len(failed)} failed {' '.join(failed)}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
