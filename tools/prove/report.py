"""The rows as lines, and as a table of docs/reliability.md, between the two comments of their form."""

import datetime
import os
import pathlib
import platform
import re
import shutil
import subprocess
import typing

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DOCUMENT = ROOT / "docs" / "reliability.md"


class Row(typing.NamedTuple):
    """What was seen while an event happened. Times in seconds."""

    name: str
    verdict: str
    remark: str
    sent: int = 0
    failed: int = 0
    repeated: int = 0
    slowest: float = 0
    streams: int = 0
    cut: int = 0
    seconds: float = 0
    control: float = 0
    lag: float = 0
    allowed: str = ""

    def line(self):
        figures = (
            f"{self.sent} requests, {self.failed} failed, {self.repeated} sent again, slowest {self.slowest:.2f} s; "
            f"{self.streams} streams ended, {self.cut} cut; without the proxy {self.control:.2f} s, load late {self.lag:.2f} s"
        )
        return f"  {self.verdict:<8} {self.name} ({self.seconds:.0f} s): {figures if self.sent else ''} {self.remark}"


def table(rows):
    lines = ["| event | requests | failed | sent again | slowest | the machine | streams ended | cut | |", "| --- " + "| --: " * 7 + "| --- |"]
    for row in rows:
        if row.verdict == "skipped":
            lines.append(f"| {row.name} | | | | | | | | not tried: {row.remark} |")
            continue
        remark = "; ".join(part for part in (row.remark, row.allowed and f"expected: {row.allowed}") if part)
        mark = "" if row.verdict == "ok" else f"**{row.verdict}** "
        lines.append(
            f"| {row.name} | {row.sent:,} | {row.failed} | {row.repeated} | {milliseconds(row.slowest)} "
            f"| {milliseconds(max(row.control, row.lag))} | {row.streams} | {row.cut} | {mark}{remark} |"
        )
    return "\n".join(lines)


def milliseconds(seconds):
    return f"{1000 * seconds:,.0f} ms"


def write(rows, is_long, load):
    git = lambda *arguments: subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    version = git("rev-parse", "--short=12", "HEAD") or "unknown"
    dirty = ", with changes" if git("status", "--porcelain", "--untracked-files=no", "src", "Cargo.lock") else ""
    form = "long" if is_long else "short"
    about = (
        f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}, {form} form, commit {version}{dirty}; {os.cpu_count()} cores, "
        f"{platform.machine()}, Linux {platform.release().split('-')[0]}. Load: {load.rate} requests/s, {load.streams} streams."
    )
    block = f"<!-- prove {form} -->\n{table(rows)}\n\n{about}\n<!-- end -->"
    text = DOCUMENT.read_text(encoding="utf-8")
    text, count = re.subn(rf"<!-- prove {form} -->.*?<!-- end -->", lambda _: block, text, flags=re.DOTALL)
    assert count == 1, f"{DOCUMENT} has no place for the {form} form"
    DOCUMENT.write_text(text, encoding="utf-8")
    print(f"\n{DOCUMENT.relative_to(ROOT)} is written.")


def keep(rig, name):
    """The logs of a row that failed, for whoever looks for the cause."""
    folder = ROOT / "target" / "prove" / re.sub(r"\W+", "-", name)
    folder.mkdir(parents=True, exist_ok=True)
    for file in rig.dir.glob("*.log"):
        shutil.copy(file, folder)
    print(f"           logs: {folder.relative_to(ROOT)}")
