#!/usr/bin/env python3
"""Runs the tests of this folder:  run.py [NAME-PART...]   Each gets a devbox of its own."""
import importlib
import inspect
import pathlib
import shutil
import sys
import time
import traceback

import harness


def tests(parts):
    for path in sorted(pathlib.Path(__file__).parent.glob("test_*.py")):
        module = importlib.import_module(path.stem)
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if name.startswith("test_") and function.__module__ == path.stem:
                full = f"{path.stem}.{name}"
                if not parts or any(part in full for part in parts):
                    yield full, function


def run(name, function):
    start = time.monotonic()
    box = None
    missing = [program for program in getattr(function, "needs", ()) if not shutil.which(program)]
    if missing:
        print(f"SKIPPED {name}  {', '.join(missing)}: not installed (tools/install-deps test)", flush=True)
        return None
    try:
        box = harness.Devbox(settings=getattr(function, "settings", ()), options=getattr(function, "options", ()))
        function(box)
        box.close()
        print(f"ok      {name}  {time.monotonic() - start:.1f} s", flush=True)
        return True
    except harness.Skipped as why:
        box.close()
        print(f"SKIPPED {name}  {why}", flush=True)
        return None
    except Exception:
        traceback.print_exc()
        if box is not None:
            for daemon in box.daemons():
                print(f"--- {daemon}\n" + "\n".join(box.log(daemon).splitlines()[-15:]))
            box.close(keep=True)
            print(f"--- kept in {box.dir}")
        print(f"FAILED  {name}  {time.monotonic() - start:.1f} s", flush=True)
        return False


def main():
    results = [run(name, function) for name, function in tests(sys.argv[1:])]
    print(f"{results.count(True)} passed, {results.count(False)} failed, {results.count(None)} skipped")
    sys.exit(0 if results and False not in results else 1)


if __name__ == "__main__":
    main()
