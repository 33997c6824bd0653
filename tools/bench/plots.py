"""Plots of the parts, as SVG. Each function takes the rows of a part and returns what the plot shows, and the plot."""

import collections
import math
import statistics

WIDTH, HEIGHT, LEFT, TOP = 340, 220, 60, 40
COLORS = {"auth-proxy": "#c0392b", "nginx": "#2c7a4b", "haproxy": "#2b5fa4", "caddy": "#b8860b", "python": "#7d3c98", "direct": "#666666"}


def pausing(rows):
    """Latency at each fixed rate, and CPU."""
    panels = []
    for figure, title in (("p50_us", "p50, µs"), ("p99_us", "p99, µs"), ("p999_us", "p99.9, µs"), ("cpu_us", "CPU, ms per 1,000 requests")):
        points = medians(rows, "connections", figure)
        rate = {(connections, name): median_of(rows, connections, name, "per_second") for connections, name in points}
        lines = collections.defaultdict(list)
        for (connections, name), value in points.items():
            lines[name].append((rate[connections, name], value))
        panels.append((title, "requests/s", lines))
    # Logarithmic: one program's figures are a hundred times another one's.
    return "latency and CPU time at fixed rates, on logarithmic axes", svg(panels, LogScale)


def streams(rows):
    panels = []
    for figure, title in (("p50_us", "p50 of an event, µs"), ("p99_us", "p99 of an event, µs")):
        lines = collections.defaultdict(list)
        for (count, name), value in medians(rows, "streams", figure).items():
            lines[name].append((count, value))
        panels.append((title, "streams", lines))
    return "what an event takes against the number of streams", svg(panels)


def growth(rows):
    panels = []
    parts = (("streams", "cpu_percent", 1, "CPU, % of one core", "streams, one event a second each"),
             ("streams", "memory", 1 << 20, "memory, MiB", "streams, one event a second each"),
             ("connections", "cpu_us", 1, "CPU, µs per request", "connections that share 500 requests/s"),
             ("connections", "memory", 1 << 20, "memory, MiB", "connections that share 500 requests/s"))  # fmt: skip
    for unit, figure, size, title, below in parts:
        lines = collections.defaultdict(list)
        for (count, name), value in medians([row for row in rows if unit in row], unit, figure).items():
            lines[name].append((count, value / size))
        if lines:
            panels.append((title, below, lines))
    return "CPU and memory against the number of streams and of connections", svg(panels)


def medians(rows, unit, figure):
    """The median of the rounds, for each number of `unit` and each program; without those that log."""
    groups = collections.defaultdict(list)
    for row in rows:
        if figure in row and row["name"] in COLORS:
            groups[row[unit], row["name"]].append(row[figure])
    return {key: statistics.median(values) for key, values in groups.items()}


def median_of(rows, connections, name, figure):
    return statistics.median(row[figure] for row in rows if (row["connections"], row["name"]) == (connections, name))


def svg(panels, up=None):
    """Panels of lines, two in a row; what goes up begins at zero unless another scale is given."""
    rows = (len(panels) + 1) // 2
    parts = [panel(*it, index % 2, index // 2, up) for index, it in enumerate(panels)]
    width, height = 2 * (WIDTH + LEFT) + 40, rows * (HEIGHT + 110)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def panel(title, below, lines, column, row, scale):
    x0, top_of = LEFT + column * (WIDTH + LEFT + 20), TOP + row * (HEIGHT + 110)
    y0 = top_of + HEIGHT
    points = [point for line in lines.values() for point in line]
    across, up = Scale([x for x, _ in points]), (scale or Scale)([y for _, y in points])
    x = lambda value: x0 + WIDTH * across.part(value)  # noqa: E731
    y = lambda value: y0 - HEIGHT * up.part(value)  # noqa: E731
    parts = [f'<text x="{x0}" y="{top_of - 15}" font-weight="bold">{title}</text>']
    for value in up.steps():
        parts.append(f'<line x1="{x0}" y1="{y(value):.1f}" x2="{x0 + WIDTH}" y2="{y(value):.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{x0 - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
    for value in across.steps():
        parts.append(f'<text x="{x(value):.1f}" y="{y0 + 18}" text-anchor="middle">{value:g}</text>')
    parts.append(f'<text x="{x0 + WIDTH / 2}" y="{y0 + 36}" text-anchor="middle">{below}</text>')
    for i, (name, line) in enumerate(sorted(lines.items(), key=lambda it: list(COLORS).index(it[0]))):
        color, line = COLORS[name], sorted(line)
        drawn = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in line)
        parts.append(f'<polyline points="{drawn}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts.extend(f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="3" fill="{color}"/>' for a, b in line)
        # Below, where no line is.
        parts.append(f'<text x="{x0 + WIDTH * (i + 0.5) / len(lines):.0f}" y="{y0 + 56}" fill="{color}" text-anchor="middle">{name}</text>')
    return "\n".join(parts)


class Scale:
    """From zero to a round number above the largest value."""

    def __init__(self, values):
        largest = max(values)
        self.step = nice(max(largest, 1e-9) / 4)
        self.count = 5 if largest > self.step * 4 else 4
        self.top = self.step * self.count

    def steps(self):
        return [self.step * number for number in range(self.count + 1)]

    def part(self, value):
        return value / self.top


class LogScale:
    """From one of 1, 2, 5 times a power of ten to another one, with room for all values."""

    def __init__(self, values):
        marks = [m * 10.0**power for power in range(-6, 10) for m in (1, 2, 5)]
        first = max(at for at, mark in enumerate(marks) if mark <= min(values))
        last = min(at for at, mark in enumerate(marks) if mark >= max(values))
        self.marks = marks[first : max(last, first + 1) + 1]

    def steps(self):
        return self.marks

    def part(self, value):
        return math.log(value / self.marks[0]) / math.log(self.marks[-1] / self.marks[0])


def nice(value):
    """The next of 1, 2, 5 times a power of ten."""
    power = 1.0
    while power * 10 <= value:
        power *= 10
    while power > value:
        power /= 10
    return next(power * m for m in (1, 2, 5, 10) if power * m >= value)


PLOTS = {f.__name__: f for f in (pausing, streams, growth)}
