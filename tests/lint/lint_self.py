#!/usr/bin/env python3
"""Shows each lint rule a tree that breaks it, and one that does not."""
import pathlib
import tempfile

import lint

CASES = [
    # rule, file, text, whether it is a breach
    ("layers", "scheduler/a.c", '#include "controlplane/store.h"\n', True),
    ("layers", "scheduler/a.c", '#include "base/error.h"\n', False),
    ("layers", "scheduler/a.c", '#include "switchyard/v1/common.pb-c.h"\n', True),
    ("layers", "agent/a.c", '#include "dataplane/operator.h"\n', True),
    ("layers", "controlplane/a.c", "#include <rocksdb/c.h>\n", True),
    ("layers", "controlplane/store_mem.c", "#include <rocksdb/c.h>\n", True),
    ("layers", "controlplane/store_rocksdb.c", "#include <rocksdb/c.h>\n", False),
    ("layers", "controlplane/store_rocksdb_open.c", "#include <rocksdb/c.h>\n", False),
    ("layers", "controlplane/store_rocksdb_impl.h", "#include <rocksdb/c.h>\n", False),
    ("layers", "controlplane/store_impl.h", "#include <rocksdb/c.h>\n", True),
    ("layers", "agent/a.c", "#include <grpc/grpc.h>\n", True),
    ("sizes", "base/a.c", "\n" * 801, True),
    ("sizes", "base/a.c", "\n" * 800, False),
    ("sizes", "agent/main.c", "\n" * 151, True),
    ("sizes", "base/a.c", "int x; /* " + "y" * 100 + " */\n", True),
    ("sizes", "base/a.c", "int f(void)\n{\n" + "    ;\n" * 71 + "}\n", True),
    ("sizes", "base/a.c", "int f(void)\n{\n" + "    ;\n" * 70 + "}\n", False),
    ("words", "base/a.c", "int x; /* TO" + "DO: later */\n", True),
    ("words", "controlplane/a.c", "now = time(NULL);\n", True),
    ("words", "base/a.c", "x = rand();\n", True),
    ("words", "base/a.c", 'puts("time(NULL)");\n', False),
]


def main():
    failed = 0
    for rule, name, text, is_breach in CASES:
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / name
            path.parent.mkdir(parents=True)
            path.write_text(text)
            found = list(lint.RULES[rule](pathlib.Path(folder)))
            if bool(found) != is_breach:
                failed += 1
                print(f"{rule}: {name}: {text[:40]!r}: expected {'a breach' if is_breach else 'none'}, got {found}")
    print(f"{len(CASES) - failed} passed, {failed} failed")
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
