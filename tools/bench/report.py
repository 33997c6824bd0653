"""Figures as tables and a plot, and docs/performance.md with them. What a person has written there stays: each table has its
place between two comments."""

import collections
import re
import statistics

from rig import ROOT
from targets import TARGETS, limit, ratios

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


def pausing(rows):
    lines = []
    for (connections, name), found in grouped(rows, "connections", "name").items():
        line = [connections, name, spread(column(found, "per_second"))]
        for figure, digits in (("cpu_us", 1), ("p50_us", 0), ("p99_us", 0), ("p999_us", 0)):
            line.append(spread(column(found, figure), digits) if figure in found[0] else "")
            if name == "auth-proxy":
                where = {"connections": connections}
                line += [spread(ratios(rows, where, figure, "nginx"), 2), limit("pausing", where, figure)]
            else:
                line += ["", ""]
        # p99.9 has no target.
        lines.append(line[:-1])
    head = ["connections", "", "requests/s", "CPU µs per request", "× nginx", "target", "p50 µs", "× nginx", "target",
            "p99 µs", "× nginx", "target", "p99.9 µs", "× nginx"]  # fmt: skip
    return table(head, lines)


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


def counts(rows):
    names = sorted({name for row in rows for name, n in row["calls"].items() if n >= 0.05})
    nginx = next(row["instructions"] for row in rows if row["name"] == "nginx")
    lines = [[row["name"], row["connections"],
              *((f"{row['instructions']:,.0f}", times(row["instructions"], nginx)) if "instructions" in row else ("", "")),
              f"{sum(row['calls'].values()):.1f}", *(f"{row['calls'].get(name, 0):.2f}" for name in names)]
             for row in rows]  # fmt: skip
    return table(["", "connections", "instructions", "× nginx", "system calls", *names], lines)


def targets(results):
    """Every target beside what these results, the rows of each part, say of it."""
    lines = []
    for target in TARGETS:
        value = target.measured(results[target.part]) if target.part in results else None
        measured, met = ("not measured", "") if value is None else (f"{value:g}", "yes" if target.is_met(value) else "no")
        lines.append([target.name, target.shown(), measured, met])
    return table(["", "target", "measured", "met"], lines)


TABLES = {f.__name__: f for f in (pausing, requests, counts, streams, memory, growth, bodies, start)}


def write(results, targets_table):
    """Puts the tables that there are into the document."""
    text = replace(DOCUMENT.read_text(encoding="utf-8"), "targets", targets_table)
    for name, result in results.items():
        machine = "{cpu}, {cores} cores, {architecture}, Linux {kernel}".format(**result["machine"])
        text = replace(text, name, f"{TABLES[name](result['rows'])}\n\n({machine})")
        if name == "growth":
            (DOCUMENT.parent / "performance.svg").write_text(growth_plot(result["rows"]), encoding="utf-8")
    DOCUMENT.write_text(text, encoding="utf-8")
    print(f"\n{DOCUMENT.relative_to(ROOT)} is written.")


def replace(text, name, block):
    block = f"<!-- bench {name} -->\n{block}\n<!-- end -->"
    return re.sub(rf"<!-- bench {name} -->.*?<!-- end -->", lambda _: block, text, flags=re.DOTALL)


# The growth plot: two panels of lines, as SVG.
WIDTH, HEIGHT, LEFT, TOP = 340, 220, 60, 40
COLOURS = {"auth-proxy": "#c0392b", "nginx": "#2c7a4b"}


def growth_plot(rows):
    panels = [panel(rows, "cpu_percent", 1, "CPU, % of one core", 0), panel(rows, "memory", 1 << 20, "memory, MiB", 1)]
    total = 2 * (WIDTH + LEFT) + 40
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total} {HEIGHT + 100}" font-family="sans-serif" '
        f'font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(panels) + "\n</svg>\n"
    )


def panel(rows, key, unit, title, index):
    x0, y0 = LEFT + index * (WIDTH + LEFT + 20), TOP + HEIGHT
    most = max(row[key] / unit for row in rows)
    step = nice(most / 4)
    top = step * 5 if most > step * 4 else step * 4
    widest = max(row["streams"] for row in rows)
    x = lambda streams: x0 + WIDTH * streams / widest
    y = lambda value: y0 - HEIGHT * value / top
    parts = [f'<text x="{x0}" y="{TOP - 15}" font-weight="bold">{title}</text>']
    value = 0
    while value <= top:
        parts.append(f'<line x1="{x0}" y1="{y(value):.1f}" x2="{x0 + WIDTH}" y2="{y(value):.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{x0 - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
        value += step
    for streams in range(0, widest + 1, 500):
        parts.append(f'<text x="{x(streams):.1f}" y="{y0 + 18}" text-anchor="middle">{streams}</text>')
    parts.append(f'<text x="{x0 + WIDTH / 2}" y="{y0 + 36}" text-anchor="middle">streams, one event a second each</text>')
    for i, (name, colour) in enumerate(COLOURS.items()):
        points = [(x(row["streams"]), y(row[key] / unit)) for row in rows if row["name"] == name]
        line = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.extend(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in points)
        parts.append(f'<text x="{x0 + 10}" y="{TOP + 14 + 16 * i}" fill="{colour}">{name}</text>')
    return "\n".join(parts)


def nice(value):
    """The next of 1, 2, 5 times a power of ten."""
    power = 1.0
    while power * 10 <= value:
        power *= 10
    while power > value:
        power /= 10
    return next(power * m for m in (1, 2, 5, 10) if power * m >= value)
