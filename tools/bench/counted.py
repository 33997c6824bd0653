"""What can be counted instead of timed: instructions and system calls of a request. They depend little on what else the
machine does, with two exceptions: how often threads meet (futex), and how often the allocator maps memory (mmap, munmap),
which depends on what happens to be allocated."""

import re
import signal
import socket
import subprocess
import time

import load

REQUEST = "".join([
    "POST /v1/chat/completions?api-version=1 HTTP/1.1\r\nHost: 127.0.0.1\r\n",
    *(f"{name}: {value}\r\n" for name, value in load.FIELDS.items()),
    f"Content-Length: {len(load.BODY)}\r\n\r\n{load.BODY}",
]).encode()  # fmt: skip


def counts(rig):
    """Per request: instructions over one connection, and system calls as connections grow."""
    plain = rig.plain_upstream()
    rows = []
    for name, steps in (("auth-proxy", (1, 32)), ("auth-proxy, logging", (1, 2, 8, 32, 128)), ("nginx", (1, 32))):
        found = system_calls(rig, plain, name, steps)
        found[0]["instructions"] = instructions(rig, plain, name)
        rows += found
    return rows


def instructions(rig, upstream, name):
    """In user space: what 500 more requests cost, by 500. From callgrind, since few virtual machines have the counters that
    perf reads."""
    totals = []
    for count in (100, 600):
        file = rig.folder / f"callgrind.{name.replace(', ', '-')}.{count}"
        proxy = rig.proxy(name, upstream, ("valgrind", "--tool=callgrind", f"--callgrind-out-file={file}"))
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as connection:
            # Under callgrind the first token takes its time.
            while not exchange(connection):
                pass
            for _ in range(count):
                exchange(connection)
        proxy.stop()
        totals.append(int(re.search(r"^totals: (\d+)", file.read_text(), re.MULTILINE).group(1)))
    return (totals[1] - totals[0]) / 500


def exchange(connection):
    """One request; whether it got 200."""
    connection.sendall(REQUEST)
    response = b""
    while b"\r\n\r\n" not in response:
        piece = connection.recv(65536)
        if not piece:
            raise SystemExit(f"bench: the connection ended: {response!r}")
        response += piece
    head, body = response.split(b"\r\n\r\n", 1)
    length = int(re.search(rb"content-length: (\d+)", head.lower()).group(1))
    while len(body) < length:
        body += connection.recv(65536)
    return head.startswith(b"HTTP/1.1 200")


def system_calls(rig, upstream, name, steps):
    """By name, for each number of connections; the futex calls among them are threads that wait for each other."""
    proxy = rig.proxy(name, upstream)
    url = f"http://127.0.0.1:{proxy.port}/v1/chat/completions"
    rows = []
    for connections in steps:
        load.wrk(url, connections, 1)
        # A file: strace itself is the slow part, and only numbers of calls are kept.
        file = rig.folder / f"strace.{connections}"
        pids = [argument for pid in proxy.pids() for argument in ("-p", str(pid))]
        tracer = subprocess.Popen(["strace", "-f", "-c", "-o", file, *pids], stderr=subprocess.PIPE)
        time.sleep(0.5)
        done = load.wrk(url, connections, 2)["requests"]
        tracer.send_signal(signal.SIGINT)
        tracer.wait(timeout=30)
        calls = {}
        for line in file.read_text().splitlines()[2:]:
            parts = line.split()
            if len(parts) >= 5 and parts[3].isdigit() and parts[-1] != "total":
                calls[parts[-1]] = int(parts[3]) / done
        rows.append({"name": name, "connections": connections, "calls": calls})
    proxy.stop()
    return rows
