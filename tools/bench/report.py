"""Figures as tables and a plot, and docs/performance.md with them. What a person has written there stays: each table has its
place between two comments."""

import collections
import re
import statistics

import plots
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
        lines.append([*line[:-1], reuse(found)])
    head = ["connections", "", "requests/s", "CPU µs per request", "× nginx", "target", "p50 µs", "× nginx", "target",
            "p99 µs", "× nginx", "target", "p99.9 µs", "× nginx", "requests per upstream connection"]  # fmt: skip
    return table(head, lines)


def reuse(rows):
    """How many requests an upstream connection served, of those that were opened meanwhile."""
    total, opened = sum(column(rows, "requests")), sum(column(rows, "opened"))
    return f"{total / opened:,.0f}" if opened else f"all {total:,}"


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
            f"{median(found, 'p999_us') - median(direct, 'p999_us'):.0f}" if proxy else "",
            spread(column(found, "per_second")),
            times(median(found, "per_second"), median(nginx, "per_second")),
            reuse(found) if proxy else "",
        ])  # fmt: skip
    head = ["connections", "", "CPU µs per request", "user + kernel", "× nginx", "p50 µs", "added p50", "× nginx",
            "added p99", "added p99.9", "requests/s", "× nginx", "requests per upstream connection"]  # fmt: skip
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


def paced(rows):
    groups, lines = grouped(rows, "streams", "name"), []
    figures = ("first_p50_us", "first_p99_us", "p50_us", "p99_us", "p999_us")
    for (count, name), found in groups.items():
        direct = groups[count, "direct"]
        line = [count, name]
        for figure in figures:
            added = f"{median(found, figure) - median(direct, figure):.0f}"
            line += [spread(column(found, figure)), "" if name == "direct" else added]
        lines.append(line)
    names = ("first event p50 µs", "first event p99 µs", "later event p50 µs", "later event p99 µs", "later event p99.9 µs")
    return table(["streams", "", *(cell for name in names for cell in (name, "added"))], lines)


def memory(rows):
    head = ["", "idle MiB", "after 64 connections", "12 s later", "KiB per idle connection", "per stream that begins",
            "per open stream"]  # fmt: skip
    mib = ("idle", "after", "settled")
    kib = ("connection", "stream_begin", "stream")
    lines = [[row["name"], *(f"{row[key] / MIB:.1f}" for key in mib), *(f"{row[key] / 1024:.0f}" for key in kib)]
             for row in rows]  # fmt: skip
    return table(head, lines)


def growth(rows):
    """Both tables, and the straight line through each program's memory: what one more costs, and how well the line fits."""
    streams = [row for row in rows if "streams" in row]
    connections = [row for row in rows if "connections" in row]
    lines = [[row["streams"], row["name"], f"{row['cpu_percent']:.1f}", f"{row['cpu_us_per_event']:.0f}",
              f"{row['memory'] / MIB:.1f}"] for row in streams]  # fmt: skip
    text = table(["streams", "", "CPU %", "CPU µs per event", "memory MiB"], lines)
    lines = [[row["connections"], row["name"], f"{row['per_second']:.0f}", f"{row['cpu_us']:.0f}", f"{row['memory'] / MIB:.1f}"]
             for row in connections]  # fmt: skip
    text += "\n\n" + table(["connections", "", "requests/s", "CPU µs per request", "memory MiB"], lines)
    lines = []
    for unit, found in (("streams", streams), ("connections", connections)):
        for (name,), rows_of in grouped(found, "name").items():
            counts, values = column(rows_of, unit), column(rows_of, "memory")
            slope, _ = statistics.linear_regression(counts, values)
            fit = statistics.correlation(counts, values) ** 2
            lines.append([unit, name, f"{slope / 1024:.1f}", f"{fit:.3f}"])
    return text + "\n\n" + table(["", "", "memory: KiB for one more", "R² of a straight line"], lines)


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


TABLES = {f.__name__: f for f in (pausing, requests, counts, streams, paced, memory, growth, bodies, start)}


def write(results, targets_table):
    """Puts the tables and plots that there are into the document."""
    text = replace(DOCUMENT.read_text(encoding="utf-8"), "targets", targets_table)
    text = replace(text, "cores", cores({name: result["rows"] for name, result in results.items()}))
    for name, result in results.items():
        machine = "{cpu}, {cores} cores, {architecture}, Linux {kernel}".format(**result["machine"])
        image = ""
        if name in plots.PLOTS:
            file = "performance.svg" if name == "growth" else f"performance-{name}.svg"
            title, svg = plots.PLOTS[name](result["rows"])
            (DOCUMENT.parent / file).write_text(svg, encoding="utf-8")
            image = f"![{title}]({file})\n\n"
        text = replace(text, name, f"{image}{TABLES[name](result['rows'])}\n\n({machine})")
    DOCUMENT.write_text(text, encoding="utf-8")
    print(f"\n{DOCUMENT.relative_to(ROOT)} is written.")


# Of a request's instructions in user space, what the allocator takes (callgrind with symbols; the lab notebook has it). musl's
# has one lock, and counts as wholly inside it here, which is more than it is.
ALLOCATOR_SHARE = 0.20


def cores(results):
    """What more cores would serve, by Amdahl's law: a model from measured CPU time, not a measurement."""
    rows = [row for row in results.get("requests", []) if row["name"] == "auth-proxy" and row["connections"] == 32]
    if not rows:
        return "Not measured yet on a machine with nothing else to do."
    user, kernel = median(rows, "user_us"), median(rows, "kernel_us")
    serial, whole = user * ALLOCATOR_SHARE, user + kernel
    futex = next((row["calls"].get("futex", 0) for row in results.get("counts", [])
                  if row["name"].startswith("auth-proxy") and row["connections"] == 32), None)  # fmt: skip
    lines = [[count, f"{1e6 / (serial + (whole - serial) / count):,.0f}", f"{whole / (serial + (whole - serial) / count):.1f}"]
             for count in (1, 2, 4, 8, 16)]  # fmt: skip
    said = f"Model: of {whole:.0f} µs of CPU time per request, {serial:.1f} µs one after the other."
    if futex is not None:
        said += f" Threads wait for one another in {futex:.1f} system calls (`futex`) per request at 32 connections."
    return table(["cores", "requests/s at most", "× one core"], lines) + f"\n\n{said}"


def replace(text, name, block):
    block = f"<!-- bench {name} -->\n{block}\n<!-- end -->"
    return re.sub(rf"<!-- bench {name} -->.*?<!-- end -->", lambda _: block, text, flags=re.DOTALL)
