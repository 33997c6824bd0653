"""Compares Autobahn's verdicts case by case: compare.py INDEX.json AGENT OTHER_AGENT..."""

import json
import sys
from collections import Counter

KEYS = ("behavior", "behaviorClose", "remoteCloseCode")
# Octets sent one by one, the last of them illegal: whether the echo of those before it comes first is a matter of how
# many of them one read takes, with a proxy and without. Both are right (RFC 6455 section 7.1.7).
CHANCE = dict.fromkeys(("3.4", "4.1.5", "4.2.5"), ("OK", "NON-STRICT"))


def verdict(case, result):
    behavior, *close = (result[key] for key in KEYS)
    allowed = CHANCE.get(case, ())
    return (" or ".join(allowed) if behavior in allowed else behavior, *close)


index, (first, *others) = json.load(open(sys.argv[1])), sys.argv[2:]
print(f"{first}: {len(index[first])} cases, {dict(Counter(r['behavior'] for r in index[first].values()))}")
different = 0
for other in others:
    cases = sorted(set(index[first]) | set(index[other]), key=lambda case: [int(n) for n in case.split(".")])
    for case in cases:
        pair = [verdict(case, index[agent][case]) if case in index[agent] else None for agent in (first, other)]
        if pair[0] != pair[1]:
            different += 1
            print(f"case {case}: {first} {pair[0]}, {other} {pair[1]}")
    print(f"{other}: {len(index[other])} cases compared with {first}")
print(f"{different} differences")
sys.exit(different > 0)
