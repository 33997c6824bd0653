"""Measures, in parts; see run.sh. Rounds are interleaved: each goes through all proxies, so that what the machine does
meanwhile hits all alike."""

import json
import platform
import shutil
import ssl
import statistics
import sys
import time

import load
import report
from counted import contention, instructions
from rig import BINARY, ROOT, Rig

RESULTS = ROOT / "target" / "bench" / "results"
PROXIES = ("auth-proxy", "nginx", "haproxy", "python")
# The same with one line of log for each request, as auth-proxy and Debian's nginx do unless told otherwise.
LOGGING = ("auth-proxy, logging", "nginx, logging")
LARGE = 100 << 20


def requests(rig):
    """Small POSTs over keep-alive connections: CPU per request, latency, throughput."""
    destination = rig.plain_destination()
    targets = {"direct": (None, f"https://127.0.0.1:{destination.port}/v1/chat/completions?api-version=1")}
    for name in PROXIES + LOGGING:
        proxy = rig.proxy(name, destination)
        targets[name] = (proxy, f"http://127.0.0.1:{proxy.port}/v1/chat/completions?api-version=1")
        load.wrk(targets[name][1], 32, 1)
    rows = []
    for connections, seconds, rounds in ((1, 1, 5), (32, 2, 4), (256, 2, 2)):
        for _ in range(rounds):
            for name, (proxy, url) in targets.items():
                before = proxy.cpu() if proxy else (0, 0)
                figures = load.wrk(url, connections, seconds)
                after = proxy.cpu() if proxy else (0, 0)
                user, kernel = (1e6 * (b - a) / figures["requests"] for a, b in zip(before, after, strict=True))
                rows.append({"name": name, "connections": connections, "user_us": user, "kernel_us": kernel,
                             "cpu_us": user + kernel, "p50_us": figures["p50"], "p99_us": figures["p99"],
                             "per_second": 1e6 * figures["requests"] / figures["us"]})  # fmt: skip
    return rows


def streams(rig):
    """The time from an event's writing to its reading, 1 to 1,000 streams."""
    destination = rig.stream_destination()
    direct = ssl.create_default_context(cafile=str(rig.ca))
    proxies = {name: rig.proxy(name, destination) for name in PROXIES}
    rows = []
    for count, period_ms, seconds, rounds in ((1, 5, 2, 3), (200, 500, 3, 2), (1000, 2000, 4, 1)):
        for _ in range(rounds):
            for name in ("direct", *PROXIES):
                port = proxies[name].port if name in proxies else destination.port
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


def memory(rig):
    """Idle, under 256 connections, after them, and with streams open."""
    plain, events = rig.plain_destination(), rig.stream_destination()
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
    """CPU and memory against the number of streams, each with one event a second."""
    events = rig.stream_destination()
    rows = []
    for name in ("auth-proxy", "nginx"):
        proxy = rig.proxy(name, events)
        with load.Streams(proxy.port) as readers:
            for count in (1, 100, 250, 500, 1000, 1500, 2000):
                readers.open(count - len(readers.sockets), 1000)
                readers.listen(1)
                before = sum(proxy.cpu())
                latencies, _ = readers.listen(4)
                cpu = sum(proxy.cpu()) - before
                rows.append({"name": name, "streams": count, "cpu_percent": 100 * cpu / 4, "memory": proxy.memory(),
                             "cpu_us_per_event": 1e6 * cpu / max(1, len(latencies))})  # fmt: skip
        proxy.stop()
    return rows


def bodies(rig):
    """100 MiB each way."""
    plain, sink = rig.plain_destination(), rig.stream_destination()
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
                before = sum(proxy.cpu()) if proxy else 0
                if way == "down":
                    took, size = load.download(port, "/large/file", context)
                    assert size == LARGE, size
                else:
                    try:
                        took = load.upload(port, "/upload", LARGE, context)
                    except ConnectionError as error:
                        # haproxy does, now and then: it reuses a connection that the destination has closed.
                        if name != "haproxy":
                            raise
                        print(f"{name}: an upload was cut: {error}")
                        continue
                cpu = sum(proxy.cpu()) - before if proxy else 0
                rows.append({"name": name, "way": way, "seconds": took, "cpu": cpu})
    return rows


def start(rig):
    """From exec to a port that accepts, and the size of the file."""
    plain = rig.plain_destination()
    rows = [{"name": "auth-proxy", "size": BINARY.stat().st_size}]
    for _ in range(9):
        for name in PROXIES:
            proxy = rig.proxy(name, plain)
            rows.append({"name": name, "seconds": proxy.until_listening})
            proxy.stop()
    return rows


PARTS = {part.__name__: part for part in (requests, instructions, contention, streams, memory, growth, bodies, start)}

NEEDS = {"instructions": ("valgrind",), "contention": ("strace",)}


def main(names):
    for name in names or PARTS:
        if name not in PARTS:
            raise SystemExit(f"bench: no part named {name}; there are: {' '.join(PARTS)}")
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in names or PARTS:
        tools = [tool for tool in NEEDS.get(name, ()) if not shutil.which(tool)]
        if tools:
            print(f"\n{name}: skipped, {' and '.join(tools)} missing")
            continue
        started = time.monotonic()
        with Rig() as rig:
            rows = PARTS[name](rig)
        (RESULTS / f"{name}.json").write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1))
        print(f"\n{name}, {time.monotonic() - started:.0f} s\n")
        print(report.TABLES[name](rows))
    report.write(RESULTS)


def machine():
    text = open("/proc/cpuinfo", encoding="utf-8").read()
    model = next((line.split(":")[1].strip() for line in text.splitlines() if line.startswith("model name")), "unknown")
    return {"cpu": model, "cores": text.count("processor\t"), "kernel": platform.release().split("-")[0],
            "architecture": platform.machine()}  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
