"""Measures, in parts; see run.sh. Rounds are interleaved: each goes through all proxies, so that what the machine does
meanwhile hits all alike."""

import hashlib
import json
import os
import platform
import shutil
import ssl
import statistics
import sys
import threading
import time

import load
import report
from counted import counts
from rig import BINARY, ROOT, Rig

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
            for name, (proxy, url) in targets.items():
                # Nothing is compared with the direct line: once is enough.
                if proxy or turn == 0:
                    # So that neither handshakes nor threads that start are measured.
                    load.wrk(url, connections, 1, pause_ms)
                    rows.append(measure(rig, name, proxy, url, connections, PAUSING_SECONDS, pause_ms))
    return rows


def requests(rig):
    """Small POSTs over keep-alive connections: CPU per request, latency, throughput."""
    targets = endpoints(rig, PROXIES + LOGGING)
    for _, url in targets.values():
        load.wrk(url, 32, 1)
    rows = []
    for connections, seconds, rounds in ((1, 1, 5), (32, 2, 4), (256, 2, 2)):
        for _ in range(rounds):
            for name, (proxy, url) in targets.items():
                rows.append(measure(rig, name, proxy, url, connections, seconds))
    return rows


def endpoints(rig, names):
    """The direct line and these proxies: each process, and the URL of its chat completions."""
    upstream = rig.upstream = rig.plain_upstream()
    path = "/v1/chat/completions?api-version=1"
    proxies = {name: rig.proxy(name, upstream) for name in names}
    found = {"direct": (None, f"https://127.0.0.1:{upstream.port}{path}")}
    return found | {name: (proxy, f"http://127.0.0.1:{proxy.port}{path}") for name, proxy in proxies.items()}


def measure(rig, name, proxy, url, connections, seconds, pause_ms=None):
    """One run of wrk as a row; CPU only where there is a proxy."""
    read = lambda: (proxy.cpu(), *proxy.cpu_split()) if proxy else ()  # noqa: E731
    opened = load.upstream_connections(rig.upstream.port, rig.ca)
    before = read()
    figures = load.wrk(url, connections, seconds, pause_ms)
    cpu = [1e6 * (b - a) / figures["requests"] for a, b in zip(before, read(), strict=True)]
    return {"name": name, "connections": connections, "per_second": 1e6 * figures["requests"] / figures["us"],
            "p50_us": figures["p50"], "p99_us": figures["p99"], "p999_us": figures["p999"],
            "requests": figures["requests"],
            # Without the one that asks.
            "opened": load.upstream_connections(rig.upstream.port, rig.ca) - opened - 1,
            **dict(zip(("cpu_us", "user_us", "kernel_us"), cpu, strict=False))}  # fmt: skip


def streams(rig):
    """The time from an event's writing to its reading, 1 to 1,000 streams."""
    upstream = rig.stream_upstream()
    direct = ssl.create_default_context(cafile=str(rig.ca))
    proxies = {name: rig.proxy(name, upstream) for name in PROXIES}
    rows = []
    for count, period_ms, seconds, rounds in ((1, 5, 2, 3), (200, 500, 3, 2), (1000, 2000, 4, 1)):
        for _ in range(rounds):
            for name in ("direct", *PROXIES):
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
                rows.append({"name": name, "streams": count, "p50_us": cuts[49], "p99_us": cuts[98],
                             "events": len(latencies), "together": together})  # fmt: skip
    return rows


def paced(rig):
    """Streams as a model writes them, an event every 25 ms: the time to the first event, and what each later one takes."""
    upstream = rig.stream_upstream()
    direct = ssl.create_default_context(cafile=str(rig.ca))
    ports = {"direct": upstream.port} | {name: rig.proxy(name, upstream).port for name in PROXIES}
    rows = []
    for count in (1, 50):
        # As many of one as of the others.
        for _ in range(3):
            for name, port in ports.items():
                first, later = [], []
                for _ in range(10 if count == 1 else 1):
                    found = load.paced(port, direct if name == "direct" else None, count, 10 if count == 1 else 80, 25)
                    first, later = first + found[0], later + found[1]
                cut = lambda values, share: statistics.quantiles(values, n=1000, method="inclusive")[share - 1]  # noqa: E731
                rows.append({"name": name, "streams": count, "first_p50_us": cut(first, 500), "first_p99_us": cut(first, 990),
                             "p50_us": cut(later, 500), "p99_us": cut(later, 990), "p999_us": cut(later, 999)})  # fmt: skip
    return rows


def memory(rig):
    """Idle, under 256 connections, after them, with idle connections, and with streams open."""
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
    for name in ("auth-proxy", "nginx"):
        proxy = rig.proxy(name, events)
        with load.Streams(proxy.port) as readers:
            for count in (1, 100, 250, 500, 1000, 1500, 2000):
                readers.open(count - len(readers.sockets), 1000)
                readers.listen(1)
                before = proxy.cpu()
                latencies, _ = readers.listen(4)
                cpu = proxy.cpu() - before
                rows.append({"name": name, "streams": count, "cpu_percent": 100 * cpu / 4, "memory": proxy.memory(),
                             "cpu_us_per_event": 1e6 * cpu / max(1, len(latencies))})  # fmt: skip
        proxy.stop()
        proxy = rig.proxy(name, plain)
        url = f"http://127.0.0.1:{proxy.port}/v1/chat/completions"
        for count in (1, 50, 100, 250, 500, 1000):
            load.wrk(url, count, 1, 2 * count)
            with Sampled(proxy.memory) as memory:
                before = proxy.cpu()
                figures = load.wrk(url, count, 5, 2 * count)
                cpu = proxy.cpu() - before
            rows.append({"name": name, "connections": count, "per_second": 1e6 * figures["requests"] / figures["us"],
                         "cpu_us": 1e6 * cpu / figures["requests"], "memory": statistics.median(memory.values)})  # fmt: skip
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
    for _ in range(5):
        for way, targets in (("down", down), ("up", up)):
            for name, (proxy, port) in targets.items():
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
                rows.append({"name": name, "way": way, "seconds": took, "cpu": cpu})
    return rows


def start(rig):
    """From exec to a port that accepts, and the size of the file."""
    plain = rig.plain_upstream()
    rows = [{"name": "auth-proxy", "size": BINARY.stat().st_size}]
    for _ in range(9):
        for name in PROXIES:
            proxy = rig.proxy(name, plain)
            rows.append({"name": name, "seconds": proxy.until_listening})
            proxy.stop()
    return rows


PARTS = {part.__name__: part for part in (pausing, requests, counts, streams, paced, memory, growth, bodies, start)}

NEEDS = {"counts": ("valgrind", "strace")}


def main(names):
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
        result = {"machine": machine(), "binary": binary, "rows": rows}
        (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1))
        print(f"\n{name}, {time.monotonic() - started:.0f} s\n")
        print(report.TABLES[name](rows))
    results = {name: json.loads(file.read_text()) for name in PARTS if (file := RESULTS / f"{name}.json").exists()}
    # A binary that was built again since then is another one.
    targets = report.targets({name: it["rows"] for name, it in results.items() if it.get("binary") == binary})
    report.write(results, targets)
    print(f"\n{targets}")


def machine():
    text = open("/proc/cpuinfo", encoding="utf-8").read()
    model = next((line.split(":")[1].strip() for line in text.splitlines() if line.startswith("model name")), "unknown")
    return {"cpu": model, "cores": text.count("processor\t"), "kernel": platform.release().split("-")[0],
            "architecture": platform.machine()}  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
