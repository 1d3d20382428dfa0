#!/usr/bin/env python3
"""Checks the rules of docs/style.md that a machine can check.

    lint.py layers|sizes|words ROOT

Prints one line for each breach and exits 1, or prints what it checked and exits 0.
"""
import pathlib
import re
import sys

# A folder may include its own headers and those of the folders named here.
LAYERS = {
    "base": [],
    "proto": ["base"],
    "scheduler": ["base"],
    "controlplane": ["base", "proto", "scheduler"],
    "dataplane": ["base", "proto", "scheduler"],
    "agent": ["base", "proto", "scheduler"],
    "tools": ["base", "proto", "scheduler"],
    "tests": ["base", "proto", "scheduler", "controlplane", "dataplane", "agent", "tools"],
}

# A third-party header appears in its adapter only (patterns of file names).
FENCES = {
    r"grpc/.*": [r"base/rpc_grpc[a-z_]*\.[ch]"],
    r"rocksdb/.*": [r"controlplane/store_(rocksdb\w*|backup)\.c",
                     r"controlplane/store_rocksdb_impl\.h"],
    r"liburing\.h": [r"agent/loop_uring\.c"],
    r"yaml\.h": [r"base/config[a-z_]*\.c"],
    r"curl/.*": [r"base/blob_s3\.c"],
    r"microhttpd\.h": [r"base/rpc_http_mhd\.c"],
    r"openssl/.*": [r"base/digest\.c", r"dataplane/seal\.c"],
    r"cuda\.h|nvml\.h|nccl\.h": [],
    r"jansson\.h": [r"tools/src/.*\.[ch]", r"proto/json[a-z_]*\.[ch]"],
    r"zlib\.h": [r"tools/src/demo[a-z_]*\.c", r"base/gzip\.c"],
    r"uthash\.h|utlist\.h": [r"scheduler/.*\.[ch]", r"controlplane/.*\.[ch]", r"dataplane/.*\.[ch]",
                             r"base/.*\.[ch]"],
    r"check\.h": [r"tests/.*\.[ch]"],
}

# What the worker and the spawner may be built from: they start in half a millisecond.
LIGHT = {"agent/worker": ["agent/worker", "agent/include"], "agent/spawner_main": ["agent/spawner"]}

FILE_LINES_MAX = 800
MAIN_LINES_MAX = 150
FUNCTION_LINES_MAX = 70
COLUMNS_MAX = 100

INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.M)
GENERATED = re.compile(r".*\.pb-c\.h$|^version\.h$")


def sources(root):
    for folder in LAYERS:
        for path in sorted((root / folder).rglob("*.[ch]")):
            yield path.relative_to(root).as_posix(), path


def layer_breaches(root):
    for name, path in sources(root):
        folder = name.split("/")[0]
        for header in INCLUDE.findall(path.read_text()):
            target = header.split("/")[0]
            if GENERATED.match(header):
                if folder in ("base", "scheduler") and header != "version.h":
                    yield f"{name}: includes {header}: {folder}/ knows no messages"
                continue
            if target in LAYERS and target != folder and target not in LAYERS[folder]:
                yield f"{name}: includes {header}: {folder}/ may include {LAYERS[folder] or 'nothing else'}"
            for pattern, allowed in FENCES.items():
                if re.fullmatch(pattern, header) and not any(re.fullmatch(a, name) for a in allowed):
                    yield f"{name}: includes {header}: only its adapter may ({', '.join(allowed) or 'none'})"


def function_lengths(text):
    """(name, first line, lines) of each function body: from a line '{' to the next line '}'."""
    lines = text.split("\n")
    start = None
    for number, line in enumerate(lines):
        if line == "{" and start is None:
            start = number
        elif line == "}" and start is not None:
            head = next((l for l in reversed(lines[:start]) if re.match(r"\w", l)), "?")
            match = re.search(r"(\w+)\s*\(", head)
            yield (match.group(1) if match else "?"), start + 1, number - start - 1
            start = None


def size_breaches(root):
    for name, path in sources(root):
        text = path.read_text()
        lines = text.split("\n")
        limit = MAIN_LINES_MAX if name.endswith("/main.c") else FILE_LINES_MAX
        if len(lines) - 1 > limit:
            yield f"{name}: {len(lines) - 1} lines, at most {limit}"
        for number, line in enumerate(lines, 1):
            if len(line) > COLUMNS_MAX:
                yield f"{name}:{number}: {len(line)} columns, at most {COLUMNS_MAX}"
        for function, number, length in function_lengths(text):
            if length > FUNCTION_LINES_MAX:
                yield f"{name}:{number}: {function} has {length} lines, at most {FUNCTION_LINES_MAX}"


# Randomness and clocks come in through ports; left-over markers do not land.
WORDS = [
    (r"\b(TODO|FIXME|XXX|HACK)\b", r".*", "left-over marker"),
    (r"\b(rand|srand|random|drand48)\s*\(", r".*", "use base/rng.h"),
    (r"\b(time|gettimeofday)\s*\(\s*(NULL|&)", r"(base|scheduler|controlplane|dataplane)/.*", "use base/clock.h"),
    (r"\bclock_gettime\s*\(", r"(scheduler|controlplane|dataplane)/.*", "use the loop's time"),
    (r"\b(strcpy|strcat|sprintf|gets)\s*\(", r".*", "unbounded"),
    (r"\bassert\s*\(", r"(base|scheduler|controlplane|dataplane|agent)/.*", "use SY_ASSERT"),
]


def word_breaches(root):
    for name, path in sources(root):
        for number, line in enumerate(path.read_text().split("\n"), 1):
            code = re.sub(r'"([^"\\]|\\.)*"', '""', line)
            for pattern, where, why in WORDS:
                if re.fullmatch(where, name) and re.search(pattern, code):
                    yield f"{name}:{number}: {re.search(pattern, code).group(0)!r}: {why}"


RULES = {"layers": layer_breaches, "sizes": size_breaches, "words": word_breaches}


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in RULES:
        sys.exit(f"usage: lint.py {'|'.join(RULES)} ROOT")
    root = pathlib.Path(sys.argv[2])
    breaches = list(RULES[sys.argv[1]](root))
    for breach in breaches:
        print(breach)
    files = sum(1 for _ in sources(root))
    print(f"{sys.argv[1]}: {files} files, {len(breaches)} breaches")
    sys.exit(1 if breaches or files == 0 else 0)


if __name__ == "__main__":
    main()
