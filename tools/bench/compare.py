"""How far two runs agree: compare.py OLD NEW [--write]

OLD and NEW are folders of results, as target/bench/results is: copy it before the second run. Every figure of the page is
compared, by its median: two agree when the ranges of their rounds overlap, or when they differ by less than 15 %. Lists what
lies apart; with --write the table goes into docs/performance.md."""

import collections
import pathlib
import statistics
import sys

import report
from targets import TARGETS

WITHIN = 1.15
# What of a row says which one it is, and what is no figure of the page.
KEYS = ("name", "connections", "streams", "way")
NO_FIGURES = {*KEYS, "round", "requests", "events", "begun", "opened", "together"}
NOT_SHOWN = {"pausing": {"user_us", "kernel_us"}}


def figures(part, rows):
    """What is measured: the values of the rounds for each figure."""
    groups, found = collections.defaultdict(list), {}
    for row in rows:
        groups[tuple(row.get(key) for key in KEYS)].append(row)
    for key, group in groups.items():
        values = collections.defaultdict(list)
        for row in group:
            flat = {**row, **row.get("calls", {})} if part == "counts" else row
            for name, value in flat.items():
                if name not in NO_FIGURES | NOT_SHOWN.get(part, set()) and isinstance(value, int | float):
                    values[name].append(value)
        if part == "counts":
            values["system calls"] = [sum(row["calls"].values()) for row in group]
        for name, rounds in values.items():
            if not name.endswith("_us") or report.is_enough(group, name):
                found[(*key, name)] = rounds
    return found


def compare(old, new):
    """For each figure that both have: whether the ranges overlap, and by what factor the medians differ."""
    for key in sorted(old.keys() & new.keys(), key=str):
        a, b = old[key], new[key]
        overlap = len(a) > 1 and len(b) > 1 and min(a) <= max(b) and min(b) <= max(a)
        low, high = sorted((statistics.median(a), statistics.median(b)))
        yield key, overlap, high / low if low > 0 else float("inf") if high > 0 else 1.0


def shown_calls(old, new):
    """Without the system calls that fewer than one in twenty requests makes in both runs, as in the page's table; one that the
    other run has not at all is none there."""
    for key in old.keys() | new.keys():
        if key[-1] in ("instructions", "system calls"):
            continue
        if max(old.get(key, [0]) + new.get(key, [0])) < 0.05:
            old.pop(key, None), new.pop(key, None)
        else:
            old.setdefault(key, [0.0]), new.setdefault(key, [0.0])


def main(old_folder, new_folder, *options):
    olds, news = (report.load(pathlib.Path(folder), report.TABLES) for folder in (old_folder, new_folder))
    lines, apart, by_program, total = [], [], collections.Counter(), [0, 0, 0, 0]
    for part in olds:
        if part not in news:
            continue
        old, new = figures(part, olds[part]["rows"]), figures(part, news[part]["rows"])
        if part == "counts":
            shown_calls(old, new)
        found = list(compare(old, new))
        overlapping = sum(overlap for _, overlap, _ in found)
        near = sum(not overlap and factor <= WITHIN for _, overlap, factor in found)
        for key, overlap, factor in found:
            if not overlap and factor > WITHIN:
                what = " ".join(str(word) for word in key if word is not None)
                apart.append(f"{part}: {what}: {statistics.median(old[key]):g} and {statistics.median(new[key]):g}")
                by_program[key[0]] += 1
        numbers = (len(found), overlapping, near, len(found) - overlapping - near)
        total = [a + b for a, b in zip(total, numbers, strict=True)]
        lines.append([part, *numbers, f"{100 * (overlapping + near) / len(found):.0f} %"])
    lines.append(["all", *total, f"{100 * (total[1] + total[2]) / total[0]:.0f} %"])
    table = report.table(["", "figures", "ranges overlap", "else within 15 %", "apart", "agree"], lines)
    programs = "; ".join(f"{name}: {number}" for name, number in by_program.most_common())
    binaries = [", ".join(sorted({result["binary"][:12] for result in results.values()})) for results in (olds, news)]
    same = "the same binary" if binaries[0] == binaries[1] else "two binaries of auth-proxy"
    verdicts = [[target.is_met(value) for results in (olds, news) if target.part in results
                 and (value := target.measured(results[target.part]["rows"])) is not None] for target in TARGETS]  # fmt: skip
    both = [verdict for verdict in verdicts if len(verdict) == 2]
    said = (
        f"Apart, by program: {programs}. Of {len(both)} targets {sum(a == b for a, b in both)} came out the same in both runs. "
        f"Compared were {same}: {binaries[0]} and {binaries[1]}."
    )
    print(f"{table}\n\n{said}\n")
    print("\n".join(apart))
    if "--write" in options:
        text = report.DOCUMENT.read_text(encoding="utf-8")
        report.DOCUMENT.write_text(report.replace(text, "two runs", f"{table}\n\n{said}"), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
