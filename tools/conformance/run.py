#!/usr/bin/env python3
"""run.py [PATTERN...]: sends hundreds of odd requests to auth-proxy, nginx and HAProxy, each before an upstream
that records, and prints where auth-proxy passes on what both others refuse, refuses what both pass on alike, or shows
its upstream something else. Differences that are meant are in expected.py; any other is a finding and exit code 1.

`-v` prints every request. Nothing is installed; what is missing is said. BINARY and SIM name other binaries.
"""

import fnmatch
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.dirname(__file__))
from expected import EXPECTED  # noqa: E402
from cases import requests  # noqa: E402
from rig import Fixture, Rig  # noqa: E402

OURS = "auth-proxy"


def main(arguments):
    verbose = "-v" in arguments
    patterns = [argument for argument in arguments if argument != "-v"]
    rows = [(f"c{i:03}", name, raw) for i, (name, raw) in enumerate(requests())]
    rows = [row for row in rows if not patterns or matches(row[1], patterns)]
    with Fixture() as fixture:
        rig = Rig(fixture)
        for name in rig.missing:
            print(f"skipped: {name} is not installed (Debian: apt-get install nginx-light haproxy)")
        others = [name for name in rig.ports if name != OURS]
        if not others:
            print("skipped: nothing to compare with")
            return
        start = time.monotonic()
        jobs = [(number, server, raw.replace(b"@@", number.encode())) for number, _, raw in rows for server in rig.ports]
        with ThreadPoolExecutor(48) as pool:
            responses = dict(pool.map(lambda job: ((job[0], job[1]), rig.send(job[1], job[2])), jobs))
        findings, used, stray = [], set(), rig.upstreams[OURS].seen.get("none", [])
        for number, name, _ in rows:
            seen = {server: rig.upstreams[server].seen.get(number, []) for server in rig.ports}
            kind = judge(seen, others)
            expected = next((i for i, row in enumerate(EXPECTED) if row[0] == kind and matches(name, row[2])), None)
            if verbose or kind and expected is None:
                print(f"{kind or 'same'}: {name}" + ("" if expected is None else f" ({EXPECTED[expected][1]})"))
                for server in rig.ports:
                    statuses, ended = responses[number, server]
                    print(f"    {server:<10} {statuses}{' end' if ended else ''}: {[show(r) for r in seen[server]]}")
            if expected is not None:
                used.add(expected)
            elif kind:
                findings.append(name)
        refused = {s: sum(not rig.upstreams[s].seen.get(number) for number, _, _ in rows) for s in rig.ports}
        print(f"{len(rows)} requests to {', '.join(rig.ports)} in {time.monotonic() - start:.0f} s; refused: {refused}")
        print(f"{len(findings)} findings, {len(used)} kinds of expected differences, {len(stray)} strays")
        for i, row in enumerate(EXPECTED):
            if not patterns and i not in used and not rig.missing:
                print(f"note: no such difference any more: {row[0]}, {row[1]}")
        sys.exit(bool(findings or stray))


def matches(name, patterns):
    return any(name == pattern or fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def judge(seen, others):
    """What sets auth-proxy's upstream apart; nothing when another saw the same."""
    views = {server: [(r["method"], r["target"], r["fields"], r["body"]) for r in requests] for server, requests in seen.items()}
    ours, theirs = views[OURS], [views[other] for other in others]
    if any(request["odd"] for request in seen[OURS]):
        return "ambiguous"
    if ours in theirs:
        return None
    if not any(theirs):
        return "looser"
    if not ours:
        # Where they differ among themselves, refusing is the safest there is.
        return "stricter" if all(view == theirs[0] for view in theirs) else None
    return "other"


def show(request):
    fields = b", ".join(name + b": " + value for name, value in request["fields"])
    return b" ".join([request["method"], request["target"], b"{" + fields + b"}", request["body"]])[:160].decode("latin-1")


main(sys.argv[1:])
