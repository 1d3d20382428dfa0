"""configuration.py ROOT BIN [--write]: docs/configuration.md has what each daemon prints with --print-config."""
import re
import subprocess
import sys


def main():
    root, bin_dir = sys.argv[1:3]
    path = f"{root}/docs/configuration.md"
    with open(path, encoding="utf-8") as file:
        text = was = file.read()
    for daemon in ("switchyard-shard", "switchyard-operator", "switchyard-agent"):
        printed = subprocess.run([f"{bin_dir}/{daemon}", "--print-config"], check=True, capture_output=True, text=True).stdout
        section = re.compile(rf"(## {daemon}\n.*?```yaml\n).*?(```)", re.S)
        text, found = section.subn(lambda m, printed=printed: m[1] + printed + m[2], text, count=1)
        if not found:
            sys.exit(f"{path}: no section '## {daemon}' with a block of yaml")
    if text == was:
        return
    if "--write" not in sys.argv:
        sys.exit(f"{path}: not what the daemons print; {sys.argv[0]} {root} {bin_dir} --write mends it")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


main()
