"""Figures as tables and a plot, and docs/performance.md with them. What a person has written there stays: each table has its
place between two comments."""

import collections
import json
import statistics

import plots
from rig import ROOT
from targets import TARGETS, limit, numbered, pairs, ratios

DOCUMENT = ROOT / "docs" / "performance.md"
MIB = 1 << 20
# So many streams at once: how often one after the other in a round, and the events of each.
PACED = {1: (10, 10), 50: (1, 80)}
# A percentile of fewer samples, all rounds together, would be chance and is left out.
LEAST_SAMPLES = {"p99": 1_000, "p999": 10_000}
NOTHING = "–"


def load(folder, names):
    """The results that are in a folder."""
    found = {name: json.loads(file.read_text()) for name in names if (file := folder / f"{name}.json").exists()}
    for result in found.values():
        numbered(result["rows"])
    return found


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
    return f"{a / b:.2f}" if b > 0 else NOTHING


def middle(values, digits=2):
    """The median of the rounds' ratios or differences."""
    return f"{statistics.median(values):.{digits}f}" if values else NOTHING


def samples(rows, figure):
    """How many samples these rounds had for a percentile."""
    total = 0
    for row in rows:
        if "requests" in row:
            total += row["requests"]
        elif figure.startswith("first_"):
            turns, _ = PACED[row["streams"]]
            total += row.get("begun", turns * row["streams"])
        elif "events" in row:
            total += row["events"]
        else:
            turns, events = PACED[row["streams"]]
            total += turns * events * row["streams"]
    return total


def is_enough(rows, figure):
    least = next((number for part, number in LEAST_SAMPLES.items() if f"{part}_us" in figure), 0)
    return not least or samples(rows, figure) >= least


def without_chance(rows):
    """The rows without the percentiles that had too few samples."""
    left = []
    for found in grouped([row | {"of": row.get("connections", row.get("streams"))} for row in rows], "of", "name").values():
        left += [{key: value for key, value in row.items() if is_enough(found, key)} for row in found]
    return left


def percentile(rows, figure):
    """With its range, if there were enough samples."""
    return spread(column(rows, figure)) if is_enough(rows, figure) else NOTHING


def added(rows, where, name, figure="p50_us"):
    """What each round had more than the direct line: with the one direct line, where only one was measured."""
    found = [ours - direct for ours, direct in pairs(rows, where, figure, name, "direct")]
    directs = [row[figure] for row in rows if row["name"] == "direct" and all(row[key] == where[key] for key in where)]
    if len(directs) == 1:
        found = [row[figure] - directs[0] for row in rows if row["name"] == name and all(row[key] == where[key] for key in where)]
    return found


def added_ratios(rows, where, name):
    """What this one adds to the median latency by what nginx adds, round by round."""
    triples = zip(added(rows, where, name), added(rows, where, "nginx"), strict=True)
    return [ours / nginx for ours, nginx in triples if nginx > 0]


def pausing(rows):
    lines = []
    for (connections, name), found in grouped(rows, "connections", "name").items():
        where = {"connections": connections}
        proxy = name != "direct"
        line = [connections, name, f"{samples(found, '')}", spread(column(found, "per_second"))]
        for figure, digits in (("cpu_us", 1), ("p50_us", 0), ("p99_us", 0)):
            shown = figure in found[0] and is_enough(found, figure)
            line.append(spread(column(found, figure), digits) if shown else "" if figure not in found[0] else NOTHING)
            if figure == "p50_us":
                line.append(spread(added(rows, where, name)) if proxy else "")
            if name == "auth-proxy":
                line += [spread(ratios(rows, where, figure, "nginx"), 2) if shown else NOTHING, limit("pausing", where, figure)]
            else:
                line += ["", ""]
        lines.append([*line, percentile(found, "p999_us"), reuse(found) if proxy else ""])
    head = ["connections", "", "samples", "requests/s", "CPU µs per request", "× nginx", "target", "p50 µs", "added p50",
            "p50 × nginx", "target", "p99 µs", "× nginx", "target", "p99.9 µs", "requests per upstream connection"]  # fmt: skip
    return table(head, lines)


def reuse(rows):
    """How many requests an upstream connection served, of those that were opened meanwhile."""
    total, opened = sum(column(rows, "requests")), sum(column(rows, "opened"))
    return f"{total / opened:,.0f}" if opened else f"all {total:,}"


def requests(rows):
    lines = []
    for (connections, name), found in grouped(rows, "connections", "name").items():
        where = {"connections": connections}
        proxy = name != "direct"
        lines.append([
            connections, name, samples(found, ""),
            spread(column(found, "cpu_us"), 1) if proxy else "",
            f"{median(found, 'user_us'):.1f} + {median(found, 'kernel_us'):.1f}" if proxy else "",
            middle(ratios(rows, where, "cpu_us", "nginx", name)) if proxy else "",
            spread(column(found, "p50_us")),
            spread(added(rows, where, name)) if proxy else "",
            middle(added_ratios(rows, where, name)) if proxy else "",
            percentile(found, "p99_us"), percentile(found, "p999_us"),
            spread(column(found, "per_second")),
            middle(ratios(rows, where, "per_second", "nginx", name)),
            reuse(found) if proxy else "",
        ])  # fmt: skip
    head = ["connections", "", "samples", "CPU µs per request", "user + kernel", "× nginx", "p50 µs", "added p50", "× nginx",
            "p99 µs", "p99.9 µs", "requests/s", "× nginx", "requests per upstream connection"]  # fmt: skip
    return table(head, lines)


def streams(rows):
    lines = []
    for (count, name), found in grouped(rows, "streams", "name").items():
        where = {"streams": count}
        lines.append([
            count, name, spread(column(found, "p50_us")), "" if name == "direct" else spread(added(rows, where, name)),
            percentile(found, "p99_us"), sum(column(found, "events")), sum(column(found, "together")),
        ])  # fmt: skip
    return table(["streams", "", "p50 µs", "added p50", "p99 µs", "events", "of which came together"], lines)


def paced(rows):
    lines = []
    for (count, name), found in grouped(rows, "streams", "name").items():
        where = {"streams": count}
        line = [count, name]
        for part, figures in (("first_", ("p50_us", "p99_us")), ("", ("p50_us", "p99_us", "p999_us"))):
            line.append(samples(found, part))
            for figure in figures:
                line.append(percentile(found, part + figure))
                if figure == "p50_us":
                    line.append("" if name == "direct" else spread(added(rows, where, name, part + figure)))
        lines.append(line)
    head = ["streams", "", "first events", "p50 µs", "added p50", "p99 µs", "all events", "p50 µs", "added p50", "p99 µs", "p99.9 µs"]
    # A column in which nothing could be said is left out.
    kept = [at for at in range(len(head)) if any(line[at] != NOTHING for line in lines)]
    return table([head[at] for at in kept], [[line[at] for at in kept] for line in lines])


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

    def mib(found):
        return spread([row["memory"] / MIB for row in found], 1)

    lines = [[count, name, spread(column(found, "cpu_percent"), 1), spread(column(found, "cpu_us_per_event")), mib(found)]
             for (name, count), found in grouped(streams, "name", "streams").items()]  # fmt: skip
    text = table(["streams", "", "CPU %", "CPU µs per event", "memory MiB"], lines)
    lines = [[count, name, spread(column(found, "per_second")), spread(column(found, "cpu_us")), mib(found)]
             for (name, count), found in grouped(connections, "name", "connections").items()]  # fmt: skip
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
    lines = []
    for (way, name), found in grouped(rows, "way", "name").items():
        lines.append([way, name, spread(column(found, "seconds"), 3), middle(ratios(rows, {"way": way}, "seconds", "direct", name)),
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
    runs = [result["run"] for result in results.values() if "run" in result]
    # Older results do not say what they were made with: then the text stays that a person has written.
    if len(runs) == len(results):
        text = replace(text, "made with", made_with(runs))
    for name, result in results.items():
        image = ""
        if name in plots.PLOTS:
            file = "performance.svg" if name == "growth" else f"performance-{name}.svg"
            title, svg = plots.PLOTS[name](without_chance(result["rows"]))
            (DOCUMENT.parent / file).write_text(svg, encoding="utf-8")
            image = f"![{title}]({file})\n\n"
        text = replace(text, name, f"{image}{TABLES[name](result['rows'])}\n\n({note(name, result)})")
    DOCUMENT.write_text(text, encoding="utf-8")
    print(f"\n{DOCUMENT.relative_to(ROOT)} is written.")


def note(name, result):
    """How often and how long this was measured, when, with which binary and on which machine."""
    said = [how_often(name, result)]
    run = result.get("run")
    if run:
        said.append(f"{run['date']} UTC, commit {run['commit']}")
    said.append("{cpu}, {cores} cores, {architecture}, Linux {kernel}".format(**result["machine"]))
    said.append(f"binary {result['binary'][:12]}")
    return "; ".join(said)


def how_often(name, result):
    """The rounds, where they differ for each number of connections or streams, and the seconds of each measurement."""
    rows = result["rows"]
    unit = next((unit for unit in ("connections", "streams") if unit in rows[0]), None)
    found = [row for row in rows if row["name"] == "auth-proxy"]
    rounds = {key: len({row["round"] for row in some}) for (key,), some in grouped([r for r in found if unit in r], unit).items()}
    if not unit or name == "growth":
        rounds = {None: len({row["round"] for row in found})}
    seconds = {key: round(median(some, "requests") / median(some, "per_second"))
               for (key,), some in grouped([r for r in found if "requests" in r], unit or "name").items()}  # fmt: skip

    if set(rounds.values()) == {1}:
        text = "measured once"
    elif len(set(rounds.values())) == 1:
        text = f"{next(iter(rounds.values()))} rounds"
    else:
        text = f"rounds: {', '.join(f'{value} at {key}' for key, value in rounds.items())} {unit}"
    if seconds:
        text += (f" of {next(iter(seconds.values()))} s each" if len(set(seconds.values())) == 1 else
                 f"; seconds of each: {', '.join(f'{value} at {key}' for key, value in seconds.items())} {unit}")  # fmt: skip
    if set(rounds.values()) != {1}:
        text += ", each in another order" if "run" in result else ", all in the order of the table"
    return text


def made_with(runs):
    """What the results have in common, or the range of it."""
    dates = sorted(run["date"] for run in runs)
    commits = sorted({run["commit"] for run in runs})
    versions = {name: sorted({run["versions"][name] for run in runs if name in run["versions"]})
                for run in runs for name in run["versions"]}  # fmt: skip
    seconds = sorted({run["seconds"] for run in runs})
    lines = [["date (UTC)", f"{dates[0]} to {dates[-1]}"], ["commit", ", ".join(commits)],
             ["`BENCH_SECONDS`", ", ".join(map(str, seconds))]]  # fmt: skip
    return table(["", ""], lines + [[name, "; ".join(found)] for name, found in versions.items()])


# Of a request, as the lab notebook has it: how often the allocator's lock is taken at least and at most (allocations alone, or
# every free, too: musl frees most slots without the lock), and the instructions that it is held for.
LOCKS = (39, 80)
HELD = (30, 100)
CORES = (2, 4, 8, 16)


def cores(results):
    """What more cores would serve: a model from measured CPU time and counted locks and system calls."""
    rows, counted = results.get("requests", []), results.get("counts", [])

    def of(name, figure, connections=32):
        found = [row[figure] for row in rows if row["name"] == name and row["connections"] == connections]
        return statistics.median(found) if found else None

    # Without a line of log where that was counted, else with it.
    busy = next((row for name in ("auth-proxy", "auth-proxy, logging") for row in counted
                 if row["name"] == name and row["connections"] == 32), None)  # fmt: skip
    alone = next((row for row in counted if row["name"] == "auth-proxy" and "instructions" in row), None)
    if not rows or busy is None or alone is None:
        return "Not measured yet: it takes the parts `requests` and `counts`."

    # What is known at two cores: CPU per request, and what of two cores is left for load and upstream at most.
    direct = 2e6 / of("direct", "per_second")
    lines = []
    for name in ("auth-proxy", "nginx", "haproxy", "caddy"):
        if (cpu := of(name, "cpu_us")) is None:
            continue
        rate = of(name, "per_second")
        expected = 2e6 / (cpu + direct)
        lines.append([name, f"{cpu:.1f}", f"{expected:,.0f}", f"{rate:,.0f}", f"{rate / expected:.2f}", f"{2e6 / rate - cpu:.1f}"])
    check = table(["", "CPU µs per request", "requests/s expected", "measured", "measured / expected", "µs for load, upstream and idle"], lines)

    cpu, rate = of("auth-proxy", "cpu_us"), of("auth-proxy", "per_second")
    rest = 2e6 / rate - cpu
    futex, calls = busy["calls"].get("futex", 0), sum(busy["calls"].values())
    call = of(busy["name"], "kernel_us") / calls
    per_us = alone["instructions"] / of("auth-proxy", "user_us", 1)
    held = [n * instructions / per_us for n, instructions in zip(LOCKS, HELD, strict=True)]
    lines = []
    for count in CORES:
        waiting = futex * (count - 2) * call
        least, several = count * 1e6 / (cpu + rest + waiting), count / 2 * rate
        most = min(count * 1e6 / cpu, 1e6 / held[0])
        lines.append([count, f"{futex * (count - 1):.1f}", f"{least:,.0f}", f"{several:,.0f}", f"{least / several:.2f}", f"{most:,.0f}"])
    model = table(["cores", "`futex` per request in one process", "requests/s, one process, at least",
                   "one process for each two cores, at least", "one / several", "either, at most"], lines)  # fmt: skip
    met = [2 * n * hold / cpu for n, hold in zip(LOCKS, held, strict=True)]
    user = of("auth-proxy", "user_us", 1)
    taken = table(["what the model takes", "", "from"], [
        ["CPU time of a request", f"{cpu:.1f} µs", "`requests`, 32 connections"],
        ["load, upstream and idle time beside it", f"{rest:.1f} µs", "2 cores / requests per second - CPU time"],
        ["`futex` calls of a request", f"{futex:.1f} of {calls:.1f} system calls", f"`counts`, {busy['name']}, 32 connections"],
        ["kernel time of a system call, on average", f"{call:.1f} µs", "kernel time / system calls, of the same"],
        ["instructions in a µs", f"{per_us:,.0f}", f"{alone['instructions']:,.0f} in {user:.1f} µs of user time, one connection"],
        ["the allocator's lock, taken by a request", f"{LOCKS[0]} to {LOCKS[1]} times, for {HELD[0]} to {HELD[1]} instructions each",
         "[the notebook](#a-node-with-64-cores), not this run"],
        ["so held for", f"{held[0]:.1f} to {held[1]:.1f} µs of a request", "the two above"],
        ["which alone would allow one process", f"{1e6 / held[1]:,.0f} to {1e6 / held[0]:,.0f} requests/s", "1 / that"],
        ["and lead two threads that run all the time to", f"{met[0]:.1f} to {met[1]:.1f} `futex` calls per request",
         f"2 × times × held / CPU time; {futex:.1f} were counted"],
    ])  # fmt: skip
    return f"{check}\n\n{model}\n\n{taken}"


def replace(text, name, block):
    """The text with this block in its place, which must be there once."""
    begin, end = f"<!-- bench {name} -->\n", "<!-- end -->"
    if text.count(begin) != 1:
        raise SystemExit(f"bench: {DOCUMENT} has {text.count(begin)} places for {name}, not one")
    before, rest = text.split(begin)
    if end not in rest:
        raise SystemExit(f"bench: {DOCUMENT}: the place for {name} has no end")
    return before + begin + block + "\n" + end + rest.split(end, 1)[1]
