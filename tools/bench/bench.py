"""Measures, in parts; see run.sh. Rounds are interleaved: each goes through all proxies, in another order each time, so that
what the machine does meanwhile hits all alike.

bench.py [PART...]   measures, and writes docs/performance.md
bench.py --render    writes it again from the results that there are, and measures nothing
"""

import hashlib
import json
import os
import platform
import random
import shutil
import ssl
import statistics
import subprocess
import sys
import threading
import time

import load
import report
from counted import counts
from rig import BINARY, ROOT, Rig
from targets import numbered

RESULTS = ROOT / "target" / "bench" / "results"
PROXIES = tuple(name for name in ("auth-proxy", "nginx", "haproxy", "caddy", "python") if name != "caddy" or shutil.which(name))
# The same with one line of log for each request, as auth-proxy and Debian's nginx do by default.
LOGGING = ("auth-proxy, logging", "nginx, logging")
# Connections, and the mean of each one's pauses in ms: some 200, 900 and 2,000 requests a second.
PAUSING = ((1, 5), (32, 35), (100, 50))
PAUSING_SECONDS = int(os.environ.get("BENCH_SECONDS", "10"))
LARGE = 100 << 20


def pausing(rig):
    """Small POSTs as applications make them: each connection waits between two requests, so the rate is the clients'."""
    targets = endpoints(rig, PROXIES)
    rows = []
    for turn in range(3):
        for connections, pause_ms in PAUSING:
            for name in order(targets, turn):
                proxy, url = targets[name]
                # So that neither handshakes nor threads that start are measured.
                load.wrk(url, connections, 1, pause_ms)
                rows.append(measure(rig, turn, name, proxy, url, connections, PAUSING_SECONDS, pause_ms))
    return rows


def order(names, turn):
    """The names in the order of this round: another one in each, the same in every run."""
    names = list(names)
    if turn:
        random.Random(turn).shuffle(names)
    return names


def requests(rig):
    """Small POSTs over keep-alive connections: CPU per request, latency, throughput."""
    targets = endpoints(rig, PROXIES + LOGGING)
    for _, url in targets.values():
        load.wrk(url, 32, 1)
    rows = []
    for connections, seconds, rounds in ((1, 1, 5), (32, 2, 4), (256, 2, 3)):
        for turn in range(rounds):
            for name in order(targets, turn):
                rows.append(measure(rig, turn, name, *targets[name], connections, seconds))
    return rows


def endpoints(rig, names):
    """The direct line and these proxies: each process, and the URL of its chat completions."""
    upstream = rig.upstream = rig.plain_upstream()
    path = "/v1/chat/completions?api-version=1"
    proxies = {name: rig.proxy(name, upstream) for name in names}
    found = {"direct": (None, f"https://127.0.0.1:{upstream.port}{path}")}
    return found | {name: (proxy, f"http://127.0.0.1:{proxy.port}{path}") for name, proxy in proxies.items()}


def measure(rig, turn, name, proxy, url, connections, seconds, pause_ms=None):
    """One run of wrk as a row; CPU only where there is a proxy."""
    read = lambda: (proxy.cpu(), *proxy.cpu_split()) if proxy else ()  # noqa: E731
    opened = load.upstream_connections(rig.upstream.port, rig.ca)
    before = read()
    figures = load.wrk(url, connections, seconds, pause_ms)
    cpu = [1e6 * (b - a) / figures["requests"] for a, b in zip(before, read(), strict=True)]
    return {"name": name, "round": turn, "connections": connections,
            "per_second": 1e6 * figures["requests"] / figures["us"], "p50_us": figures["p50"], "p99_us": figures["p99"], "p999_us": figures["p999"],
            "requests": figures["requests"],
            # Without the connection that asks; at the direct line wrk opens them itself.
            "opened": load.upstream_connections(rig.upstream.port, rig.ca) - opened - 1,
            **dict(zip(("cpu_us", "user_us", "kernel_us"), cpu, strict=False))}  # fmt: skip


def streams(rig):
    """The time from an event's writing to its reading, 1 to 1,000 streams."""
    upstream = rig.stream_upstream()
    direct = ssl.create_default_context(cafile=str(rig.ca))
    proxies = {name: rig.proxy(name, upstream) for name in PROXIES}
    rows = []
    for count, period_ms, seconds, rounds in ((1, 5, 2, 3), (200, 500, 3, 3), (1000, 2000, 4, 3)):
        for turn in range(rounds):
            for name in order(("direct", *PROXIES), turn):
                port = proxies[name].port if name in proxies else upstream.port
                with load.Streams(port, None if name in proxies else direct) as readers:
                    try:
                        readers.open(count, period_ms)
                    except TimeoutError:
                        print(f"{name}: {len(readers.sockets)} of {count} streams have begun, and no more do")
                        continue
                    readers.listen(0.5)
                    latencies, together = readers.listen(seconds)
                cuts = statistics.quantiles(latencies, n=100)
                rows.append({"name": name, "round": turn, "streams": count, "p50_us": cuts[49], "p99_us": cuts[98],
                             "events": len(latencies), "together": together})  # fmt: skip
    return rows


def paced(rig):
    """Streams as a model writes them, an event every 25 ms: the time to the first event, and what each later one takes."""
    upstream = rig.stream_upstream()
    direct = ssl.create_default_context(cafile=str(rig.ca))
    ports = {"direct": upstream.port} | {name: rig.proxy(name, upstream).port for name in PROXIES}
    rows = []
    for count, (times, events) in report.PACED.items():
        for turn in range(3):
            for name in order(ports, turn):
                first, every = [], []
                for _ in range(times):
                    found = load.paced(ports[name], direct if name == "direct" else None, count, events, 25)
                    first, every = first + found[0], every + found[1]
                cut = lambda values, share: statistics.quantiles(values, n=1000, method="inclusive")[share - 1]  # noqa: E731
                rows.append({"name": name, "round": turn, "streams": count, "begun": len(first), "events": len(every),
                             "first_p50_us": cut(first, 500), "first_p99_us": cut(first, 990),
                             "p50_us": cut(every, 500), "p99_us": cut(every, 990), "p999_us": cut(every, 999)})  # fmt: skip
    return rows


def memory(rig):
    """Idle, after 64 connections without pauses, when what they needed has ended, with idle connections, and with streams open."""
    plain, events = rig.plain_upstream(), rig.stream_upstream()
    rows = []
    for name in PROXIES:
        proxy = rig.proxy(name, plain)
        time.sleep(0.5)
        row = {"name": name, "idle": proxy.memory()}
        load.wrk(f"http://127.0.0.1:{proxy.port}/v1/chat/completions", 64, 2)
        time.sleep(1)
        row["after"] = proxy.memory()
        # The threads and connections that nobody needs any more have ended by then.
        time.sleep(11)
        row["settled"] = proxy.memory()
        proxy.stop()
        proxy = rig.proxy(name, plain)
        time.sleep(0.5)
        before, opened = proxy.memory(), load.idle(proxy.port, 500)
        time.sleep(12)
        row["connection"] = (proxy.memory() - before) / 500
        for connection in opened:
            connection.close()
        proxy.stop()
        proxy = rig.proxy(name, events)
        time.sleep(0.5)
        before = proxy.memory()
        with load.Streams(proxy.port) as readers:
            readers.open(500, 1000)
            # At the first event or two, and when each has had ten.
            readers.listen(1.5)
            row["stream_begin"] = (proxy.memory() - before) / 500
            readers.listen(8)
            row["stream"] = (proxy.memory() - before) / 500
        proxy.stop()
        rows.append(row)
    return rows


def growth(rig):
    """CPU and memory as streams grow, each with one event a second, and as connections grow that share 500 requests/s."""
    events, plain = rig.stream_upstream(), rig.plain_upstream()
    rows = []
    for turn, name in ((turn, name) for turn in range(3) for name in order(("auth-proxy", "nginx"), turn)):
        proxy = rig.proxy(name, events)
        with load.Streams(proxy.port) as readers:
            for count in (1, 100, 500, 1000, 2000):
                readers.open(count - len(readers.sockets), 1000)
                readers.listen(1)
                before = proxy.cpu()
                latencies, _ = readers.listen(4)
                cpu = proxy.cpu() - before
                rows.append({"name": name, "round": turn, "streams": count, "cpu_percent": 100 * cpu / 4, "memory": proxy.memory(),
                             "cpu_us_per_event": 1e6 * cpu / max(1, len(latencies))})  # fmt: skip
        proxy.stop()
        proxy = rig.proxy(name, plain)
        url = f"http://127.0.0.1:{proxy.port}/v1/chat/completions"
        for count in (1, 100, 500, 1000):
            load.wrk(url, count, 1, 2 * count)
            with Sampled(proxy.memory) as memory:
                before = proxy.cpu()
                figures = load.wrk(url, count, 5, 2 * count)
                cpu = proxy.cpu() - before
            rows.append({"name": name, "round": turn, "connections": count,
                         "per_second": 1e6 * figures["requests"] / figures["us"], "cpu_us": 1e6 * cpu / figures["requests"], "memory": statistics.median(memory.values)})  # fmt: skip
        proxy.stop()
    return rows


class Sampled(threading.Thread):
    """What a function returns, twice a second."""

    def __init__(self, read):
        super().__init__(daemon=True)
        self.read, self.values, self.over = read, [], threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()

    def run(self):
        while not self.over.wait(0.5):
            self.values.append(self.read())


def bodies(rig):
    """100 MiB each way."""
    plain, sink = rig.plain_upstream(), rig.stream_upstream()
    (rig.folder / "large").mkdir()
    with open(rig.folder / "large" / "file", "wb") as file:
        file.truncate(LARGE)
    direct = ssl.create_default_context(cafile=str(rig.ca))
    down = {"direct": (None, plain.port)} | {n: (p := rig.proxy(n, plain), p.port) for n in PROXIES}
    up = {"direct": (None, sink.port)} | {n: (p := rig.proxy(n, sink), p.port) for n in PROXIES}
    rows = []
    for turn in range(5):
        for way, targets in (("down", down), ("up", up)):
            for name in order(targets, turn):
                proxy, port = targets[name]
                context = None if proxy else direct
                before = proxy.cpu() if proxy else 0
                if way == "down":
                    took, size = load.download(port, "/large/file", context)
                    assert size == LARGE, size
                else:
                    try:
                        took = load.upload(port, "/upload", LARGE, context)
                    except ConnectionError as error:
                        # haproxy does, now and then: it reuses a connection that the upstream has closed.
                        if name != "haproxy":
                            raise
                        print(f"{name}: an upload was aborted: {error}")
                        continue
                cpu = proxy.cpu() - before if proxy else 0
                rows.append({"name": name, "round": turn, "way": way, "seconds": took, "cpu": cpu})
    return rows


def start(rig):
    """From exec to a port that accepts, and the size of the file."""
    plain = rig.plain_upstream()
    rows = [{"name": "auth-proxy", "round": 0, "size": BINARY.stat().st_size}]
    for turn in range(9):
        for name in order(PROXIES, turn):
            proxy = rig.proxy(name, plain)
            rows.append({"name": name, "round": turn, "seconds": proxy.until_listening})
            proxy.stop()
    return rows


PARTS = {part.__name__: part for part in (pausing, requests, counts, streams, paced, memory, growth, bodies, start)}

NEEDS = {"counts": ("valgrind", "strace")}


def main(names):
    if names == ["--render"]:
        return render()
    for name in names or PARTS:
        if name not in PARTS:
            raise SystemExit(f"bench: no part named {name}; there are: {' '.join(PARTS)}")
    RESULTS.mkdir(parents=True, exist_ok=True)
    binary = hashlib.sha256(BINARY.read_bytes()).hexdigest()
    for name in names or PARTS:
        tools = [tool for tool in NEEDS.get(name, ()) if not shutil.which(tool)]
        if tools:
            print(f"\n{name}: skipped, {' and '.join(tools)} missing")
            continue
        started = time.monotonic()
        with Rig() as rig:
            rows = PARTS[name](rig)
        result = {"machine": machine(), "binary": binary, "run": run(), "rows": numbered(rows)}
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1))
        print(f"\n{name}, {time.monotonic() - started:.0f} s\n")
        print(report.TABLES[name](rows))
    render(binary)


def render(binary=None):
    """Writes the page from the results that there are. The targets are those of this binary: one that was built again since
    then is another one; unless given, that of the last result."""
    results = report.load(RESULTS, PARTS)
    if not results:
        raise SystemExit(f"bench: there are no results in {RESULTS}")
    if binary is None:
        last = max(results, key=lambda name: (RESULTS / f"{name}.json").stat().st_mtime)
        binary = results[last]["binary"]
    table = report.targets({name: it["rows"] for name, it in results.items() if it["binary"] == binary})
    report.write(results, table)
    print(f"\n{table}")


def run():
    """When, of which commit, with which programs, and how long one measurement of `pausing` takes."""
    def first_line(*command):
        found = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        return ((found.stdout + found.stderr).splitlines() or ["unknown"])[0].strip()

    versions = {"nginx": ("nginx", "-v"), "haproxy": ("haproxy", "-v"), "caddy": ("caddy", "version"), "wrk": ("wrk", "-v"),
                "valgrind": ("valgrind", "--version"), "strace": ("strace", "-V")}  # fmt: skip
    found = {name: first_line(*command) for name, command in versions.items() if shutil.which(name)}
    packages = (ROOT / "tools" / "bench" / "requirements.txt").read_text().split()
    return {"date": time.strftime("%Y-%m-%d %H:%M", time.gmtime()), "commit": first_line("git", "describe", "--always", "--dirty"),
            "versions": found | {"python": ", ".join([platform.python_version(), *packages])},
            "seconds": PAUSING_SECONDS}  # fmt: skip


def machine():
    text = open("/proc/cpuinfo", encoding="utf-8").read()
    model = next((line.split(":")[1].strip() for line in text.splitlines() if line.startswith("model name")), "unknown")
    return {"cpu": model, "cores": text.count("processor\t"), "kernel": platform.release().split("-")[0],
            "architecture": platform.machine()}  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
