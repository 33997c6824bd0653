#!/usr/bin/env python3
"""A name server that is gone, slow or wrong, or has an address that leads nowhere, in front of the shipped binary, in a network namespace with a resolv.conf of
its own. Prints a line per row; needs root and `ip`, and says so when it lacks them. Takes two minutes.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

BINARY = os.environ.get("BINARY", "target/x86_64-unknown-linux-musl/release/auth-proxy")
SIM = os.environ.get("SIM", "target/debug/examples/sim")
NAME = f"auth-proxy-dns-{os.getpid()}"
# Idle connections to the upstream and remembered addresses are both too old to be used after this.
FORGET = 62


def serve(mode_file):
    """The name server: every name is 127.0.0.1, when the mode says so."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind(("127.0.0.1", 53))
    while True:
        query, client = listener.recvfrom(512)
        with open(mode_file) as file:
            mode = file.read().strip()
        if mode == "silent":
            continue
        if mode == "slow":
            time.sleep(1)
        end = 12
        while query[end]:
            end += query[end] + 1
        kind, question = query[end + 1 : end + 3], query[12 : end + 5]
        records = b""
        if mode not in ("unknown", "failing") and kind == b"\0\1":
            records = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + socket.inet_pton(socket.AF_INET, "127.0.0.1")
        if mode == "both" and kind == b"\0\x1c":
            records = b"\xc0\x0c\0\x1c\0\1\0\0\0\1\0\x10" + socket.inet_pton(socket.AF_INET6, "::1")
        flags = {"unknown": b"\x81\x83", "failing": b"\x81\x82"}.get(mode, b"\x81\x80")
        listener.sendto(query[:2] + flags + b"\0\1" + (b"\0\1" if records else b"\0\0") + b"\0\0\0\0" + question + records, client)


def be_silent(port):
    """Listens on ::1 and accepts nothing: the queue is full, and the kernel drops what else comes."""
    listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    listener.bind(("::1", int(port)))
    listener.listen(0)
    queue = []
    while True:
        connection = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        connection.settimeout(0.2)
        try:
            connection.connect(("::1", int(port)))
        except OSError:
            break
        queue.append(connection)
    print("silent", flush=True)
    signal.pause()


def ask(port):
    """Status, code and seconds of a request; run inside the namespace."""
    start = time.monotonic()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/sim/echo", timeout=30) as response:
            return response.status, "", time.monotonic() - start
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["error"]["code"], time.monotonic() - start
    except OSError as error:
        return 0, str(error), time.monotonic() - start


class Rows:
    def __init__(self, folder):
        self.folder, self.processes, self.mode_file = folder, [], os.path.join(folder, "mode")
        self.mode("address")

    def mode(self, mode):
        with open(self.mode_file + ".new", "w") as file:
            file.write(mode)
        os.rename(self.mode_file + ".new", self.mode_file)

    def inside(self, *command, **options):
        process = subprocess.Popen(["ip", "netns", "exec", NAME, *command], **options)
        self.processes.append(process)
        return process

    def ask(self, port, count=1):
        command = ["ip", "netns", "exec", NAME, sys.executable, __file__, "ask", str(port), str(count)]
        return json.loads(subprocess.run(command, capture_output=True, check=True, timeout=90).stdout)

    def proxy(self, settings, port, connect_timeout="3s"):
        log = os.path.join(self.folder, f"proxy-{port}.log")
        with open(log, "wb") as out:
            env = {**settings, "PORT": str(port), "CONNECT_TIMEOUT": connect_timeout}
            process = self.inside(BINARY, env=env, stderr=out)
        end = time.monotonic() + 30
        while b" listening " not in open(log, "rb").read():
            assert time.monotonic() < end and process.poll() is None, open(log).read()
            time.sleep(0.05)
        return process, log

    def run(self):
        self.inside(sys.executable, __file__, "serve", self.mode_file)
        env_file, sim_log = os.path.join(self.folder, "env"), os.path.join(self.folder, "sim.log")
        with open(sim_log, "wb") as out:
            self.inside(SIM, "--stay", "--dir", self.folder, "--env-file", env_file, stdout=out, stderr=out)
        end = time.monotonic() + 60
        while b'"ready"' not in open(sim_log, "rb").read():
            assert time.monotonic() < end, open(sim_log).read()
            time.sleep(0.05)
        settings = dict(line.rstrip("\n").split("=", 1) for line in open(env_file))
        settings["API_BASE_URL"] = settings["API_BASE_URL"].replace("localhost", "api.sim.test")

        first, _ = self.proxy(settings, 9001)
        self.row("a name server that responds", self.ask(9001), 200)
        port = settings["API_BASE_URL"].rsplit(":", 1)[1].split("/")[0]
        hole = self.inside(sys.executable, __file__, "be-silent", port, stdout=subprocess.PIPE)
        assert hole.stdout.readline() == b"silent\n"
        self.mode("both")
        # A share of this for each address would take longer than the question may.
        both, _ = self.proxy(settings, 9006, "10m")
        self.row("IPv6 leads nowhere", self.ask(9006), 200)
        self.mode("slow")
        slow, _ = self.proxy(settings, 9002)
        self.row("a slow one", self.ask(9002), 200)
        self.mode("unknown")
        unknown, log = self.proxy(settings, 9003)
        self.row("a name that does not exist", self.ask(9003), 502, "upstream_dns", log, "cannot resolve api.sim.test: there is no such name")
        self.mode("failing")
        # musl asks for five seconds before it gives up.
        failing, log = self.proxy(settings, 9005, "10s")
        self.row("one that fails", self.ask(9005), 502, "upstream_dns", log, "no name server responded, or only with a failure")
        self.mode("silent")
        silent, log = self.proxy(settings, 9004)
        before = threads(silent)
        found = self.ask(9004, 30)
        self.row("a silent one, 30 requests at once", found, 502, "upstream_dns", log, "no name server responded within 3")
        # One lookup for all of them, and threads of connections that end soon.
        assert threads(silent) <= before + 31, threads(silent)
        time.sleep(FORGET)
        self.row("a silent one, the address is known", self.ask(9001), 200)
        self.mode("unknown")
        self.row("no such name any more, the address is known", self.ask(9002), 200)
        self.mode("address")
        self.row("it responds again", self.ask(9004), 200)
        for process in (first, both, slow, unknown, failing, silent):
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        print("  ok       all of them stop")

    def row(self, name, found, status, code="", log=None, text=""):
        slowest = max(took for _, _, took in found)
        assert all((one[0], one[1]) == (status, code) for one in found), f"{name}: {found}"
        assert not log or text in open(log).read(), f"{name}: {text!r} is not in {open(log).read()}"
        print(f"  ok       {name}: {status} {code} after {slowest:.1f} s", flush=True)


def threads(process):
    return len(os.listdir(f"/proc/{process.pid}/task"))


def main():
    if os.geteuid() != 0 or not shutil.which("ip"):
        print("  skipped  DNS: needs root and `ip` (package iproute2) for a network namespace")
        return
    folder, config = tempfile.mkdtemp(prefix="auth-proxy-dns-"), f"/etc/netns/{NAME}"
    made = subprocess.run(["ip", "netns", "add", NAME], capture_output=True, text=True, check=False)
    if made.returncode:
        print(f"  skipped  DNS: no network namespace: {made.stderr.strip()}")
        return
    rows = Rows(folder)
    try:
        os.makedirs(config)
        with open(f"{config}/resolv.conf", "w") as file:
            file.write("nameserver 127.0.0.1\n")
        subprocess.run(["ip", "-n", NAME, "link", "set", "lo", "up"], check=True)
        rows.run()
    finally:
        for process in reversed(rows.processes):
            if process.poll() is None:
                process.kill()
            process.wait()
        subprocess.run(["ip", "netns", "del", NAME], check=False)
        shutil.rmtree(config, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        # Only when nobody else has one.
        try:
            os.rmdir("/etc/netns")
        except OSError:
            pass


match sys.argv[1:]:
    case ["serve", mode_file]:
        serve(mode_file)
    case ["be-silent", port]:
        be_silent(port)
    case ["ask", port, count]:
        found = []
        asking = [threading.Thread(target=lambda: found.append(ask(port))) for _ in range(int(count))]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()
        print(json.dumps(found))
    case _:
        main()
