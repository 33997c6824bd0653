"""syscalls.py UNIT TRACE: whether the unit's SystemCallFilter allows every call in a trace of `strace -f`."""

import re
import subprocess
import sys


def expand(name):
    """The calls of a name or of a group, such as @system-service."""
    if not name.startswith("@"):
        return {name}
    text = subprocess.run(["systemd-analyze", "syscall-filter", name], check=True, capture_output=True, text=True).stdout
    calls = set()
    for line in text.splitlines()[1:]:
        line = re.sub(r"\x1b\[[0-9;]*m", "", line).strip()
        if line and not line.startswith("#"):
            calls |= expand(line)
    return calls


def main(unit, trace):
    allowed = set()
    for filters in re.findall(r"^SystemCallFilter=(.*)$", open(unit, encoding="utf-8").read(), re.MULTILINE):
        calls = {call for name in filters.lstrip("~").split() for call in expand(name)}
        allowed = allowed - calls if filters.startswith("~") else allowed | calls
    # The first call is made by the one who starts the program.
    used = set(re.findall(r"^\d+ +(?:\d+:\d+:\d+ )?([a-z0-9_]+)\(", open(trace, encoding="utf-8").read(), re.MULTILINE))
    denied = sorted(used - allowed - {"execve"})
    print(f"{len(used)} calls used", f"denied: {' '.join(denied)}" if denied else "none denied")
    return bool(denied)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
