"""The growth plot: two panels of lines, as SVG."""

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
