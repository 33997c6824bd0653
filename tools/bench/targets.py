"""What the program may cost: every target, as data, and what a run's figures are beside them.

A ratio is of two figures of the same round, since the machine differs from round to round by more than the programs do; of
the rounds' ratios the median counts, here and in the tables. Figures are compared as they are shown. Nothing fails: the bench reports."""

import statistics
import typing

UNITS = {"×": (1, 2), "KB": (1000, 1), "MB": (1_000_000, 2)}


class Target(typing.NamedTuple):
    """`figure` of the rows of `part` that have all of `where`, at most (or at least) `limit`."""

    name: str
    part: str
    where: dict
    figure: str
    relation: str
    limit: float
    unit: str = "×"
    beside: str | None = None

    def is_met(self, value):
        return value <= self.limit if self.relation == "≤" else value >= self.limit

    def shown(self):
        return f"{self.relation} {self.limit:g} {self.unit}" + (f" {self.beside}" if self.beside else "")

    def measured(self, rows):
        """The median of the rounds, in the target's unit; None without a figure."""
        values = ratios(rows, self.where, self.figure, self.beside) if self.beside else of(
            rows, self.where, self.figure, "auth-proxy")  # fmt: skip
        size, digits = UNITS[self.unit]
        return round(statistics.median(values) / size, digits) if values else None


def of(rows, where, figure, name):
    """One program's figures, in the order of the rounds."""
    where = {**where, "name": name}
    return [row[figure] for row in rows if figure in row and all(row.get(key) == where[key] for key in where)]


def numbered(rows):
    """The rows, each with the number of its round. Older results lack it: there a round began where a program was
    measured again."""
    number, seen = 0, set()
    for row in rows:
        key = tuple(row.get(key) for key in ("name", "connections", "streams", "way", "size"))
        if key in seen:
            number, seen = number + 1, set()
        seen.add(key)
        row.setdefault("round", number)
    return rows


def pairs(rows, where, figure, name, beside):
    """One program's figure and another one's, for each round in which both were measured."""
    def rounds(name):
        wanted = {**where, "name": name}
        return {row["round"]: row[figure] for row in rows if figure in row and all(row.get(key) == wanted[key] for key in wanted)}

    ours, others = rounds(name), rounds(beside)
    return [(ours[number], others[number]) for number in ours if number in others]


def ratios(rows, where, figure, beside, name="auth-proxy"):
    """auth-proxy's figure (or that of `name`) by the other one's, round by round."""
    return [ours / other for ours, other in pairs(rows, where, figure, name, beside) if other > 0]


ONE, FEW, MANY = {"connections": 1}, {"connections": 32}, {"connections": 100}

TARGETS = (
    Target("CPU, one connection with pauses", "pausing", ONE, "cpu_us", "≤", 1.0, beside="nginx"),
    Target("p50, one connection with pauses", "pausing", ONE, "p50_us", "≤", 1.05, beside="nginx"),
    Target("p99, one connection with pauses", "pausing", ONE, "p99_us", "≤", 1.0, beside="nginx"),
    Target("CPU at 900 requests/s", "pausing", FEW, "cpu_us", "≤", 1.05, beside="nginx"),
    Target("p50 at 900 requests/s", "pausing", FEW, "p50_us", "≤", 1.05, beside="nginx"),
    Target("p99 at 900 requests/s", "pausing", FEW, "p99_us", "≤", 1.0, beside="nginx"),
    Target("CPU at 2,000 requests/s", "pausing", MANY, "cpu_us", "≤", 1.35, beside="nginx"),
    Target("p50 at 2,000 requests/s", "pausing", MANY, "p50_us", "≤", 1.05, beside="nginx"),
    Target("p99 at 2,000 requests/s", "pausing", MANY, "p99_us", "≤", 1.0, beside="nginx"),
    Target("requests/s, 32 connections without pauses", "requests", FEW, "per_second", "≥", 0.75, beside="nginx"),
    Target("CPU, 32 connections without pauses", "requests", FEW, "cpu_us", "≤", 1.6, beside="nginx"),
    Target("memory per open stream", "memory", {}, "stream", "≤", 34, "KB"),
    Target("memory when idle", "memory", {}, "idle", "≤", 3.2, "MB"),
    Target("the binary", "start", {}, "size", "≤", 4.2, "MB"),
    Target("100 MiB down", "bodies", {"way": "down"}, "seconds", "≤", 1.5, beside="direct"),
    Target("100 MiB up", "bodies", {"way": "up"}, "seconds", "≤", 1.5, beside="direct"),
)


def limit(part, where, figure):
    """What the target says of such a figure, or nothing."""
    found = [target for target in TARGETS if (target.part, target.where, target.figure) == (part, where, figure)]
    return f"{found[0].relation} {found[0].limit:g}" if found else ""
