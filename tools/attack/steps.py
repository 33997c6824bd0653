"""The attacks. Each is a function that raises when something is wrong, and returns figures for the report."""

import os
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

from harness import BINARY, SIM, Fixture, Skipped, eventually, free_port, mb, receive

# Where a bound is on memory, the issue is growth: this much is noise.
SLACK_KB = 6 * 1024
SECONDS = int(os.environ.get("ATTACK_SECONDS", "20"))
ATTACKS = {
    "headers": ["-H", "-i", "5", "-x", "32", "-t", "GET"],
    "body": ["-B", "-i", "5", "-s", "8192", "-x", "16", "-t", "POST"],
    "read": ["-X", "-w", "512", "-y", "1024", "-n", "5", "-z", "32", "-k", "2", "-t", "GET"],
}


class Watch(threading.Thread):
    """Once a second, while an attack lasts: a probe, /health, a kept connection; all along, an event stream."""

    def __init__(self, proxy, overloaded):
        super().__init__()
        self.proxy, self.overloaded = proxy, overloaded
        self.kept = proxy.connect()
        proxy.ask(self.kept, "/sim/echo")
        self.stream = proxy.connect()
        self.stream.sendall(b"GET /sim/sse?events=100000&pause_ms=100 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        receive(self.stream)
        self.over, self.faults, self.count = threading.Event(), [], 0
        self.slowest, self.refused, self.events, self.peak = 0.0, 0, 0, 0

    def run(self):
        reader = threading.Thread(target=self.read)
        reader.start()
        while not self.over.wait(1):
            self.count += 1
            self.peak = max(self.peak, self.proxy.figures()[0])
            for target in ("/sim/echo", "/health"):
                status, head, took = self.proxy.get(target)
                self.slowest = max(self.slowest, took)
                refusal = status == 503 and "retry-after:" in head and target != "/health" and self.overloaded
                self.refused += refusal
                if status != 200 and not refusal:
                    self.faults.append(f"{target}: {status} {head}")
            try:
                status, _, took = self.proxy.ask(self.kept, "/sim/echo")
                self.slowest = max(self.slowest, took)
                if status != 200:
                    self.faults.append(f"kept connection: {status}")
            except OSError as error:
                self.faults.append(f"kept connection: {error}")
                break
        reader.join()

    def read(self):
        self.stream.settimeout(5)
        while not self.over.is_set():
            try:
                self.events += receive(self.stream).count(b"data:")
            except OSError as error:
                self.faults.append(f"stream: {error}")
                return

    def end(self):
        self.over.set()
        self.join()
        self.kept.close()
        self.stream.close()
        assert not self.faults, self.faults[:5]
        assert self.count >= SECONDS // 2 and self.events > self.count * 2
        assert self.slowest < 2, f"a probe took {self.slowest:.1f} s"


def slow(kind, count, cap):
    """slowhttptest with `count` connections against a proxy that serves `cap`."""
    if not shutil.which("slowhttptest"):
        raise Skipped("no slowhttptest (package slowhttptest)")
    overloaded = cap < count
    with Fixture() as fixture:
        proxy = fixture.proxy({"MAX_CONNECTIONS": str(cap), "LOG_LEVEL": "info"})
        baseline = proxy.warm_up()
        watch = Watch(proxy, overloaded)
        watch.start()
        path = {"headers": "/", "body": "/sim/upload", "read": "/sim/bytes/10000000"}[kind]
        url = f"http://127.0.0.1:{proxy.address[1]}{path}"
        command = ["slowhttptest", *ATTACKS[kind], "-c", str(count), "-r", str(max(200, count // 5)), "-l", str(SECONDS)]
        fixture.start([*command, "-p", "5", "-u", url], "slowhttptest.log").wait(SECONDS + 60)
        watch.end()
        after = proxy.back_to(baseline, SLACK_KB)
        lines = fixture.text(proxy.log).count("\n")
        return (
            f"{watch.count} probes, slowest {watch.slowest * 1000:.0f} ms, {watch.refused} with 503; peak {mb(watch.peak)}; "
            f"RSS, threads, fds {figures(baseline)} before, {figures(after)} after; {lines} log lines"
        )


def figures(found):
    return f"{mb(found[0])}/{found[1]}/{found[2]}"


def descriptors():
    """`ulimit -n 64`, 200 connections, then none: 20 times."""
    with Fixture() as fixture:
        limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        proxy = fixture.proxy(preexec_fn=limit)
        burst_of(proxy, 30)
        eventually(30, "the first burst to be gone", lambda: proxy.get("/sim/echo")[0] == 200)
        eventually(30, "threads to end", lambda: proxy.figures()[1] <= 8)
        baseline = proxy.figures()
        for _ in range(20):
            burst_of(proxy, 200)
            eventually(30, "to be served again", lambda: proxy.get("/sim/echo")[0] == 200)
        after = proxy.back_to(baseline, SLACK_KB)
        return f"RSS, threads, fds {figures(baseline)} before, {figures(after)} after"


def burst_of(proxy, count):
    opened = []
    for _ in range(count):
        try:
            stream = socket.create_connection(proxy.address, timeout=5)
            stream.sendall(b"GET /sim/echo HTTP/1.1\r\nHost: localhost\r\n\r\n")
            opened.append(stream)
        except OSError:
            pass
    for stream in opened:
        stream.close()


def threads():
    """No thread is to be had (RLIMIT_NPROC): connections get 503, not silence; the log stays short."""
    if os.geteuid() != 0:
        raise Skipped("needs root, to run the proxy as a user with a limit of its own")
    with Fixture() as fixture:
        # Nobody else runs as this user; root has no such limit.
        user, cap = 61234, 24
        binary = os.path.join(fixture.dir, "auth-proxy")
        shutil.copy(BINARY, binary)
        limit = lambda: resource.setrlimit(resource.RLIMIT_NPROC, (cap, cap))
        proxy = fixture.proxy(command=[binary], preexec_fn=limit, user=user, group=user)
        before = proxy.figures()
        held = [proxy.connect() for _ in range(cap)]
        for stream in held:
            stream.sendall(b"GET /sim/slow?ms=20000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        eventually(20, "no thread to be left", lambda: proxy.figures()[1] >= cap)
        responses = [proxy.get("/sim/echo") for _ in range(200)]
        health = proxy.get("/health")[0]
        for stream in held:
            stream.close()
        refused = sum(status == 503 and "retry-after:" in head for status, head, _ in responses)
        assert refused == 200 and health == 200, (refused, health, responses[0])
        eventually(30, "to be served again", lambda: proxy.get("/sim/echo")[0] == 200)
        lines = fixture.text(proxy.log).count("cannot start a thread")
        assert 1 <= lines <= 5, f"{lines} lines"
        after = proxy.back_to(before, SLACK_KB)
        return f"{refused} of 200 got 503 and /health 200 with {cap} threads, {lines} log lines; {figures(after)} after"


def memory():
    """No more memory is to be had (RLIMIT_AS): connections get 503, and it lives."""
    limit, report = 100 << 20, []
    with Fixture() as fixture:
        proxy = fixture.proxy(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))
        idle, first_round = proxy.figures(), None
        large = b"".join(b"X-%d: %s\r\n" % (i, b"x" * 1000) for i in range(40))
        body = b"POST /sim/slow?ms=60000 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 65536\r\n\r\n" + b"x" * 60000
        bursts = (("silent", b""), ("large heads", b"GET / HTTP/1.1\r\nHost: localhost\r\n" + large), ("bodies", body))
        for name, text in bursts * 2:
            # What the allocator keeps of the first round serves the second: it must not become more.
            if len(report) == len(bursts):
                first_round = (proxy.back_to(idle, 2 * SLACK_KB)[0], *idle[1:])
            opened = []
            for _ in range(600):
                stream = proxy.connect()
                stream.sendall(text)
                opened.append(stream)
            eventually(20, "no memory to be left", lambda: "cannot start a thread" in fixture.text(proxy.log))
            responses = [proxy.get("/sim/echo") for _ in range(20)]
            health = [proxy.get("/health")[0] for _ in range(20)]
            assert health == [200] * 20, health
            assert all(status in (200, 503) for status, *_ in responses), responses
            report.append(f"{name}: {proxy.figures()[1]} threads, {sum(status == 503 for status, *_ in responses)} of 20 got 503")
            for stream in opened:
                stream.close()
            eventually(30, "to be served again", lambda: proxy.get("/sim/echo")[0] == 200)
        after = proxy.back_to(first_round, SLACK_KB)
        return f"{'; '.join(report)}; {figures(after)} after"


def requests():
    """Single requests that mean harm, each while others are served."""
    with Fixture() as fixture:
        proxy = fixture.proxy()
        baseline = proxy.warm_up()
        watch = Watch(proxy, False)
        watch.start()
        report = []
        for name, attack in (
            ("Content-Length of 50 TB", absurd_length),
            ("head of 100 MB", endless_head),
            ("endless chunk size", endless_chunk),
            ("400,000 pipelined requests", pipelined),
            ("1,000 HTTP/2 prefaces", prefaces),
            ("1,000 resets before accept", resets),
        ):
            attack(proxy)
            rss = proxy.figures()[0]
            watch.peak = max(watch.peak, rss)
            assert proxy.get("/sim/echo")[0] == 200, name
            report.append(f"{name} {mb(rss)}")
        while watch.count < SECONDS // 2:
            time.sleep(0.1)
        watch.end()
        assert watch.peak < 64 * 1024, mb(watch.peak)
        after = proxy.back_to(baseline, SLACK_KB)
        return f"{', '.join(report)}; peak {mb(watch.peak)}, slowest probe {watch.slowest * 1000:.0f} ms, {figures(after)} after"


def absurd_length(proxy):
    with proxy.connect() as stream:
        stream.sendall(b"POST /sim/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50000000000000\r\n\r\n" + b"x" * 100000)


def write_until_blocked(proxy, head, filler, limit):
    """Sends until the proxy has enough of it."""
    with proxy.connect() as stream:
        stream.sendall(head)
        sent = 0
        try:
            while sent < limit:
                stream.sendall(filler)
                sent += len(filler)
        except OSError:
            return
        raise AssertionError(f"all {limit} bytes were taken")


def endless_head(proxy):
    write_until_blocked(proxy, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ", b"x" * (1 << 20), 100 << 20)


def endless_chunk(proxy):
    head = b"POST /sim/upload HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    write_until_blocked(proxy, head, b"0" * (1 << 16), 100 << 20)


def pipelined(proxy):
    many, rounds = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n" * 10000, 40
    with proxy.connect() as stream:
        writer = threading.Thread(target=lambda: [stream.sendall(many) for _ in range(rounds)])
        writer.start()
        responses, rest = 0, b""
        while responses < 10000 * rounds:
            data = rest + receive(stream)
            responses += data.count(b'{"status":"ok"}')
            rest = data[-14:]
        writer.join()


def prefaces(proxy):
    for _ in range(1000):
        with proxy.connect() as stream:
            stream.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")


def resets(proxy):
    for _ in range(1000):
        stream = proxy.connect()
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.close()


def burst_of_large_requests():
    """As many connections as there may be, each with as much head and body as it likes, to an upstream that is slow."""
    report = []
    for fields, size in ((60, 60000), (14, 60000), (0, 60000)):
        with Fixture() as fixture:
            proxy = fixture.proxy({"LOG_LEVEL": "warn"})
            baseline = proxy.warm_up()
            filler = b"".join(b"X-%d: %s\r\n" % (i, b"x" * 1000) for i in range(fields))
            head = b"POST /sim/slow?ms=60000 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 65536\r\n" + filler + b"\r\n"
            opened, peak = [], 0
            for _ in range(1020):
                stream = proxy.connect()
                # Without its last bytes: it is held until the end.
                stream.sendall(head + b"x" * size)
                opened.append(stream)
            end = time.monotonic() + 10
            while time.monotonic() < end:
                peak = max(peak, proxy.figures()[0])
                time.sleep(0.2)
            assert proxy.get("/health")[0] == 200
            for stream in opened:
                stream.close()
            after = proxy.back_to(baseline, 2 * SLACK_KB)
            report.append(f"heads of {fields} kB, bodies of {size // 1000} kB: peak {mb(peak)}, {figures(after)} after")
            assert peak < 192 * 1024, report
    return "; ".join(report)


def streams(count=1000, seconds=None):
    """1,000 event streams; plain requests beside them."""
    with Fixture() as fixture:
        proxy = fixture.proxy({"MAX_CONNECTIONS": "1200", "LOG_LEVEL": "warn"})
        proxy.warm_up()
        seconds = seconds or SECONDS
        idle = latencies(proxy)
        opened = []
        for _ in range(count):
            stream = proxy.connect()
            stream.sendall(b"GET /sim/sse?events=%d&pause_ms=1000 HTTP/1.1\r\nHost: localhost\r\n\r\n" % (seconds + 30))
            opened.append(stream)
        for stream in opened:
            receive(stream)
        time.sleep(2)
        busy, peak, end = [], 0, time.monotonic() + seconds
        while time.monotonic() < end:
            busy += latencies(proxy, 50)
            peak = max(peak, proxy.figures()[0])
        for stream in opened:
            stream.setblocking(False)
            seen = b""
            try:
                while True:
                    data = stream.recv(1 << 20)
                    assert data, "a stream has ended"
                    seen += data
            except BlockingIOError:
                pass
            assert seen.count(b"data:") >= seconds // 2, seen.count(b"data:")
            stream.close()
        ratio = median(busy) / median(idle)
        assert peak < 100 * 1024, mb(peak)
        return (
            f"{count} streams for {seconds} s: peak {mb(peak)} ({peak / count:.0f} kB each); plain requests: median "
            f"{median(idle) * 1000:.2f} ms idle, {median(busy) * 1000:.2f} ms beside them: ratio {ratio:.2f}; p99 "
            f"{p99(idle) * 1000:.2f} and {p99(busy) * 1000:.2f} ms"
        )


def latencies(proxy, count=300):
    with proxy.connect() as stream:
        proxy.ask(stream, "/sim/echo")
        return [proxy.ask(stream, "/sim/echo")[2] for _ in range(count)]


def median(values):
    return sorted(values)[len(values) // 2]


def p99(values):
    return sorted(values)[len(values) * 99 // 100]


def drain():
    """200 streams, SIGTERM: whoever ends within the grace is whole, nobody new, exit code 0; and 1 when some do not end."""
    report = []
    for name, grace, events, code in (("all end in time", "20s", 40, 0), ("none ends in time", "1s", 100000, 1)):
        with Fixture() as fixture:
            proxy = fixture.proxy({"SHUTDOWN_GRACE": grace})
            wholes, opened = [], []
            for _ in range(200):
                stream = proxy.connect()
                stream.sendall(b"GET /sim/sse?events=%d&pause_ms=100 HTTP/1.1\r\nHost: localhost\r\n\r\n" % events)
                opened.append(stream)
            for stream in opened:
                receive(stream)
            readers = [threading.Thread(target=read_whole, args=(stream, wholes)) for stream in opened]
            for reader in readers:
                reader.start()
            proxy.process.send_signal(signal.SIGTERM)
            start = time.monotonic()
            eventually(5, "new connections to be refused", lambda: proxy.get("/health")[0] == 0)
            refused = time.monotonic() - start
            found = proxy.process.wait(60)
            for reader in readers:
                reader.join()
            assert found == code, found
            assert sum(wholes) == (200 if code == 0 else 0), sum(wholes)
            report.append(f"{name}: {sum(wholes)} of 200 whole, refusing after {refused * 1000:.0f} ms, exit code {found}")
    return "; ".join(report)


def read_whole(stream, wholes):
    data = b""
    try:
        while True:
            data = data[-64:] + receive(stream)
    except OSError:
        wholes.append(data.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n"))


def first_process():
    """As PID 1, as in a container: without a handler the kernel would not even deliver SIGTERM."""
    if not shutil.which("unshare") or subprocess.run(["unshare", "--pid", "--fork", "true"], check=False).returncode:
        raise Skipped("no new PID namespace (unshare --pid --fork, as root)")
    with Fixture() as fixture:
        proxy = fixture.proxy(command=["unshare", "--pid", "--fork", BINARY])
        with open(f"/proc/{proxy.pid}/task/{proxy.pid}/children") as file:
            inner = int(file.read().split()[0])
        stream = proxy.connect()
        stream.sendall(b"GET /sim/sse?events=20&pause_ms=50 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        receive(stream)
        os.kill(inner, signal.SIGTERM)
        wholes = []
        read_whole(stream, wholes)
        assert proxy.process.wait(30) == 0 and wholes == [True]
        return "SIGTERM drained a stream, exit code 0"


def blocked_log():
    """Standard error is a pipe that nobody reads."""
    with Fixture() as fixture:
        reader, writer = os.pipe()
        port = free_port()
        env = {**fixture.settings, "PORT": str(port)}
        process = subprocess.Popen([BINARY], env=env, stdin=subprocess.DEVNULL, stderr=writer)
        fixture.processes.append(process)
        os.close(writer)
        served = 0

        def ask():
            with socket.create_connection(("127.0.0.1", port), timeout=5) as stream:
                stream.sendall(b"GET /sim/echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                return receive(stream).startswith(b"HTTP/1.1 200")

        def first():
            try:
                return ask()
            except OSError:
                return False

        eventually(30, "the proxy to serve", first)
        start = time.monotonic()
        # 64 KiB hold some 350 lines.
        while served < 2000:
            assert ask(), served
            served += 1
        took = time.monotonic() - start
        lines = bytearray()
        os.set_blocking(reader, False)
        while True:
            try:
                lines += os.read(reader, 1 << 20)
            except BlockingIOError:
                break
        ask()
        eventually(5, "the log to go on", lambda: (lines.extend(read_some(reader)), b"lines of log were dropped" in lines)[1])
        process.terminate()
        assert process.wait(30) == 0
        return f"2,000 requests in {took:.1f} s, {lines.count(b' request ')} in the log, the others counted in it"


def read_some(reader):
    try:
        return os.read(reader, 1 << 20)
    except BlockingIOError:
        return b""


def soak():
    """Traffic of all kinds for a while: memory, threads and descriptors have no slope."""
    with Fixture() as fixture:
        proxy = fixture.proxy({"LOG_LEVEL": "warn"})
        proxy.warm_up()
        over = threading.Event()
        count = [0]

        def client(target):
            while not over.is_set():
                try:
                    with proxy.connect() as stream:
                        for _ in range(20):
                            proxy.ask(stream, target)
                            count[0] += 1
                except (OSError, IndexError):
                    pass

        targets = ["/sim/echo", "/sim/bytes/200000", "/sim/status/500", "/health", "/sim/echo?q=1", "/sim/bytes/10"]
        clients = [threading.Thread(target=client, args=(target,)) for target in targets]
        for thread in clients:
            thread.start()
        seconds = int(os.environ.get("SOAK_SECONDS", "180"))
        samples, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(seconds / 12)
            samples.append(proxy.figures())
        over.set()
        for thread in clients:
            thread.join()
        # The first quarter warms up.
        early, late = samples[3][0], samples[-1][0]
        assert late <= early + 2048, samples
        return f"{count[0]} requests in {seconds} s; RSS {', '.join(mb(sample[0]) for sample in samples)}"


def endless():
    """One client that sends without end, a connection ten times a second: memory and processor do not care."""
    head = b"POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    feeds = [
        (b"", b"\r\n"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n", b"X: y\r\n"),
        (head + b"5\r\nABCDE", b"x"),
        (head + b"0\r\n", b"X: y\r\n"),
        (head + b"0\r\n", b"garbage\r\n"),
        (head + b"5;", b"x"),
        (head, b"0"),
    ]
    report = []
    for limit in (None, 64 << 20):
        limited = lambda: limit and resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        with Fixture() as fixture:
            proxy = fixture.proxy({"LOG_LEVEL": "info"}, preexec_fn=limited)
            for before, feed in feeds:
                write_until_blocked(proxy, before, feed * (65536 // len(feed)), 64 << 20)
            rss, cpu, refused = proxy.figures()[0], cpu_seconds(proxy), 0
            end, count = time.monotonic() + SECONDS, 0
            while time.monotonic() < end:
                before, feed = feeds[count % len(feeds)]
                count += 1
                write_until_blocked(proxy, before, feed * (65536 // len(feed)), 64 << 20)
                status, _, took = proxy.get("/health")
                assert status == 200 and took < 2, (status, took)
                time.sleep(0.1)
            grown, used = proxy.figures()[0] - rss, cpu_seconds(proxy) - cpu
            assert grown <= 1024, f"{grown} kB more"
            assert used < SECONDS / 60, f"{used:.2f} s of processor time in {SECONDS} s"
            report.append(f"{count} connections, {grown} kB more, {used:.2f} s of processor time in {SECONDS} s")
    return "; ".join(report)


def prove():
    """The short form of `make prove`: nothing fails while certificates, keys, names and processes are replaced."""
    program = os.path.join(os.path.dirname(__file__), "..", "prove", "prove.py")
    ran = subprocess.run([sys.executable, "-B", program], env=os.environ | {"BINARY": BINARY, "SIM": SIM}, check=False)
    if ran.returncode == 3:
        raise Skipped("this machine was too busy to judge; see the rows above")
    assert ran.returncode == 0, "rows above failed"
    return "nothing failed but what may; see the rows above"


def cpu_seconds(proxy):
    with open(f"/proc/{proxy.pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


STEPS = {
    "endless": endless,
    **{
        f"slow-{kind}-{count}-{'below' if cap < count else 'above'}": lambda k=kind, n=count, c=cap: slow(k, n, c)
        for kind in ATTACKS
        for count, cap in ((300, 600), (300, 100), (4000, 4500), (4000, 1024))
    },
    "descriptors": descriptors,
    "threads": threads,
    "memory": memory,
    "requests": requests,
    "large-requests": burst_of_large_requests,
    "streams": streams,
    "drain": drain,
    "first-process": first_process,
    "blocked-log": blocked_log,
    "soak": soak,
    "prove": prove,
}
