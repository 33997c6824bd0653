"""What these tools share: simulator and proxy as child processes, probes, figures from /proc."""

import os
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

BINARY = os.environ.get("BINARY", "target/x86_64-unknown-linux-musl/release/auth-proxy")
SIM = os.environ.get("SIM", "target/debug/examples/sim")


class Skipped(Exception):
    """The machine lacks what a part needs."""


def eventually(seconds, what, condition):
    """Waits until `condition` gives something, and returns it."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.05)
    return found


class Children:
    """Child processes and a folder for their files. All of it ends with the `with`."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="auth-proxy-tools-")
        self.processes = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            if process.poll() is None:
                # One that was stopped hears nothing else.
                process.kill()
            process.wait()
        shutil.rmtree(self.dir)

    def start(self, command, log, **options):
        with open(os.path.join(self.dir, log), "wb") as out:
            defaults = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": out}
            process = subprocess.Popen(command, **(defaults | options))
        self.processes.append(process)
        return process


class Fixture(Children):
    """A simulator, and the proxies that use it."""

    def __init__(self, sim_options=()):
        super().__init__()
        # For a proxy that runs as another user.
        os.chmod(self.dir, 0o755)
        env_file = os.path.join(self.dir, "env")
        self.sim = self.start([SIM, "--stay", "--dir", self.dir, "--env-file", env_file, *sim_options], "sim.log")
        eventually(60, "the simulator", lambda: '"ready"' in self.text("sim.log"))
        with open(env_file) as file:
            self.settings = dict(line.rstrip("\n").split("=", 1) for line in file)
        os.chmod(os.path.join(self.dir, "certificate.pem"), 0o644)

    def text(self, name):
        with open(os.path.join(self.dir, name), errors="replace") as file:
            return file.read()

    def proxy(self, settings=None, **options):
        return Proxy(self, settings or {}, **options)


class Proxy:
    """One process of the program."""

    def __init__(self, fixture, settings, command=(BINARY,), **options):
        self.fixture, self.log = fixture, f"proxy-{len(fixture.processes)}.log"
        self.address = ("127.0.0.1", int(settings.get("PORT", free_port())))
        env = {**fixture.settings, "PORT": str(self.address[1]), **settings}
        self.process = fixture.start(list(command), self.log, env=env, **options)
        self.pid = self.process.pid
        eventually(30, "the proxy to be healthy", self.healthy)

    def healthy(self):
        assert self.process.poll() is None, self.fixture.text(self.log)
        return self.get("/health")[0] == 200

    def figures(self):
        """RSS in kB, threads, descriptors."""
        status = {}
        with open(f"/proc/{self.pid}/status") as file:
            for line in file:
                name, _, value = line.partition(":")
                status[name] = value.split()
        fds = len(os.listdir(f"/proc/{self.pid}/fd"))
        return int(status["VmRSS"][0]), int(status["Threads"][0]), fds

    def connect(self):
        return socket.create_connection(self.address, timeout=30)

    def ask(self, stream, target):
        """One request on this connection: status, head, seconds. A response needs a Content-Length."""
        start = time.monotonic()
        stream.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        data = b""
        while b"\r\n\r\n" not in data:
            data += receive(stream)
        head, _, body = data.partition(b"\r\n\r\n")
        length = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        while len(body) < int(length[0]):
            body += receive(stream)
        return int(head.split()[1]), head.decode("latin-1").lower(), time.monotonic() - start

    def get(self, target):
        """One request on a connection of its own; status 0 when there is none."""
        try:
            with self.connect() as stream:
                return self.ask(stream, target)
        except OSError as error:
            return 0, str(error), 0.0

    def warm_up(self):
        """Fills the pool of connections to the upstream and what else stays, then waits until it is quiet."""
        threads = [threading.Thread(target=self.get, args=("/sim/slow?ms=500",)) for _ in range(100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        eventually(30, "threads to end", lambda: self.figures()[1] <= 8)
        return self.figures()

    def back_to(self, baseline, slack_kb):
        """Waits until threads and descriptors are what they were, and returns the figures then."""
        rss, threads, fds = baseline
        eventually(
            90,
            f"{threads} threads, {fds} descriptors, {rss} kB as before",
            lambda: self.figures()[1] <= threads + 2 and self.figures()[2] <= fds + 2,
        )
        now = self.figures()
        assert now[0] <= rss + slack_kb, f"{now[0]} kB, {rss} kB before"
        return now

    def stop(self, patience=60):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(patience)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def receive(stream):
    data = stream.recv(65536)
    if not data:
        raise ConnectionError("closed")
    return data


def more_descriptors():
    """As many as are allowed: each connection takes one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def mb(kb):
    return f"{kb / 1024:.1f} MB"
