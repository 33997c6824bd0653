"""Figures as tables, and docs/performance.md with them. What a person has written there stays: each table has its
place between two comments."""

import collections
import json
import re
import statistics

from plot import growth_plot
from rig import ROOT

DOCUMENT = ROOT / "docs" / "performance.md"
MIB = 1 << 20


def spread(values, digits=0):
    """The median, and the range in which the values lay."""
    middle = statistics.median(values)
    if len(values) == 1:
        return f"{middle:.{digits}f}"
    return f"{middle:.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def grouped(rows, *keys):
    groups = collections.defaultdict(list)
    for row in rows:
        groups[tuple(row[key] for key in keys)].append(row)
    return groups


def column(rows, key):
    return [row[key] for row in rows]


def median(rows, key):
    return statistics.median(column(rows, key))


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows])


def times(a, b):
    return f"{a / b:.2f}" if b > 0 else "–"


def requests(rows):
    groups, lines = grouped(rows, "connections", "name"), []
    for (connections, name), found in groups.items():
        direct, nginx = groups[connections, "direct"], groups[connections, "nginx"]
        added = median(found, "p50_us") - median(direct, "p50_us")
        of_nginx = median(nginx, "p50_us") - median(direct, "p50_us")
        proxy = name != "direct"
        lines.append([
            connections, name,
            spread(column(found, "cpu_us"), 1) if proxy else "",
            f"{median(found, 'user_us'):.1f} + {median(found, 'kernel_us'):.1f}" if proxy else "",
            times(median(found, "cpu_us"), median(nginx, "cpu_us")) if proxy else "",
            spread(column(found, "p50_us")), f"{added:.0f}" if proxy else "",
            times(added, of_nginx) if proxy else "",
            f"{median(found, 'p99_us') - median(direct, 'p99_us'):.0f}" if proxy else "",
            spread(column(found, "per_second")),
            times(median(found, "per_second"), median(nginx, "per_second")),
        ])  # fmt: skip
    head = ["connections", "", "CPU µs per request", "user + kernel", "× nginx", "p50 µs", "added p50", "× nginx",
            "added p99", "requests/s", "× nginx"]  # fmt: skip
    return table(head, lines)


def streams(rows):
    groups, lines = grouped(rows, "streams", "name"), []
    for (count, name), found in groups.items():
        direct = groups[count, "direct"]
        lines.append([
            count, name, spread(column(found, "p50_us")),
            "" if name == "direct" else f"{median(found, 'p50_us') - median(direct, 'p50_us'):.0f}",
            spread(column(found, "p99_us")),
            "" if name == "direct" else f"{median(found, 'p99_us') - median(direct, 'p99_us'):.0f}",
            sum(column(found, "events")), sum(column(found, "together")),
        ])  # fmt: skip
    return table(["streams", "", "p50 µs", "added p50", "p99 µs", "added p99", "events", "of which came together"], lines)


def memory(rows):
    head = ["", "idle MiB", "after 64 connections", "12 s later", "KiB per stream that begins", "per open stream"]
    mib = ("idle", "after", "settled")
    lines = [[row["name"], *(f"{row[key] / MIB:.1f}" for key in mib), f"{row['stream_begin'] / 1024:.0f}",
              f"{row['stream'] / 1024:.0f}"] for row in rows]  # fmt: skip
    return table(head, lines)


def growth(rows):
    lines = [[row["streams"], row["name"], f"{row['cpu_percent']:.1f}", f"{row['cpu_us_per_event']:.0f}",
              f"{row['memory'] / MIB:.1f}"] for row in rows]  # fmt: skip
    return table(["streams", "", "CPU %", "CPU µs per event", "memory MiB"], lines)


def bodies(rows):
    groups, lines = grouped(rows, "way", "name"), []
    for (way, name), found in groups.items():
        direct = median(groups[way, "direct"], "seconds")
        lines.append([way, name, spread(column(found, "seconds"), 3), times(median(found, "seconds"), direct),
                      "" if name == "direct" else spread(column(found, "cpu"), 2)])  # fmt: skip
    return table(["100 MiB", "", "seconds", "× direct", "CPU seconds"], lines)


def start(rows):
    groups = grouped([row for row in rows if "seconds" in row], "name")
    size = next(row["size"] for row in rows if "size" in row)
    lines = [[name, spread([1000 * s for s in column(found, "seconds")], 1)] for (name,), found in groups.items()]
    return table(["", "ms from exec to listening"], lines) + f"\n\nThe binary has {size:,} bytes."


def instructions(rows):
    nginx = next(row["instructions"] for row in rows if row["name"] == "nginx")
    lines = [[row["name"], f"{row['instructions']:,.0f}", times(row["instructions"], nginx)] for row in rows]
    return table(["", "instructions per request in user space", "× nginx"], lines)


def contention(rows):
    names = sorted({name for row in rows for name, n in row["calls"].items() if n >= 0.05})
    counts = [[row["calls"].get(name, 0) for name in names] for row in rows]
    lines = [[row["name"], row["connections"], f"{sum(row['calls'].values()):.1f}", *(f"{n:.2f}" for n in found)]
             for row, found in zip(rows, counts, strict=True)]  # fmt: skip
    return table(["", "connections", "system calls per request", *names], lines)


TABLES = {f.__name__: f for f in (requests, instructions, contention, streams, memory, growth, bodies, start)}


def write(results):
    """Puts the tables that there are into the document."""
    text = DOCUMENT.read_text(encoding="utf-8")
    for name, show in TABLES.items():
        file = results / f"{name}.json"
        if not file.exists():
            continue
        result = json.loads(file.read_text())
        machine = "{cpu}, {cores} cores, {architecture}, Linux {kernel}".format(**result["machine"])
        block = f"<!-- bench {name} -->\n{show(result['rows'])}\n\n({machine})\n<!-- end -->"
        text = re.sub(rf"<!-- bench {name} -->.*?<!-- end -->", lambda _, block=block: block, text, flags=re.DOTALL)
        if name == "growth":
            (DOCUMENT.parent / "performance.svg").write_text(growth_plot(result["rows"]), encoding="utf-8")
    DOCUMENT.write_text(text, encoding="utf-8")
    print(f"\n{DOCUMENT.relative_to(ROOT)} is written.")
