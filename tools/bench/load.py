"""Load: wrk for requests, readers of many streams, transfers."""

import concurrent.futures
import http.client
import json
import os
import resource
import selectors
import socket
import ssl
import subprocess
import time

from rig import HERE

# A small chat completion, as the OpenAI SDK for Python sends it.
FIELDS = {
    "Content-Type": "application/json",
    "api-key": "dummy",
    "User-Agent": "OpenAI/Python 2.8.1",
    "X-Stainless-Lang": "python",
    "X-Stainless-Package-Version": "2.8.1",
    "Accept": "application/json",
    "Accept-Encoding": "gzip, deflate",
}
BODY = '{"model":"gpt-4o","messages":[{"role":"user","content":"' + "word " * 60 + '"}]}'


def wrk(url, connections, seconds, pause_ms=None):
    fields = [part for name, value in FIELDS.items() for part in ("-H", f"{name}: {value}")]
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", *fields, "-s", str(HERE / "post.lua"), url]
    if pause_ms:
        command += ["--", str(pause_ms)]
    environment = {**os.environ, "BENCH_BODY": BODY}
    output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    figures = json.loads(output.strip().splitlines()[-1])
    if figures["errors"] or not figures["requests"]:
        raise SystemExit(f"bench: {url}: {figures}")
    return figures


class Streams:
    """Readers of event streams; each event carries the time at which it was written."""

    def __init__(self, port, context=None):
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.port, self.context = port, context
        self.selector, self.sockets = selectors.DefaultSelector(), []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for connection in self.sockets:
            connection.close()
        self.selector.close()

    def open(self, count, period_ms):
        """So many more; the events of all are spread over the period."""
        for i in range(count):
            connection = connected(self.port, self.context)
            target = f"/events?period_ms={period_ms}&stagger={i / count:.4f}"
            connection.sendall(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n".encode())
            self.sockets.append(connection)
            # A stream that began: its head is there. In order, or two thousand handshakes come at once.
            head = b""
            while b"\r\n\r\n" not in head:
                piece = connection.recv(4096)
                if not piece:
                    raise SystemExit(f"bench: stream {i} has ended: {head!r}")
                head += piece
            if not head.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"bench: stream {i}: {head!r}")
            connection.setblocking(False)
            self.selector.register(connection, selectors.EVENT_READ)

    def listen(self, seconds):
        """Latencies in microseconds, and how many events came together with another of their stream."""
        latencies, together, end = [], 0, time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for key, _ in self.selector.select(left):
                try:
                    bytes_ = key.fileobj.recv(16384)
                except (BlockingIOError, ssl.SSLWantReadError):
                    continue
                now = time.monotonic_ns()
                if not bytes_:
                    raise SystemExit("bench: a stream has ended")
                events = bytes_.split(b'{"sent":')[1:]
                together += max(0, len(events) - 1)
                latencies.extend((now - int(event.split(b",", 1)[0])) / 1000 for event in events)
        return latencies, together


def paced(port, context, streams, events, period_ms):
    """That many clients at once, each with one stream of events after another on its connection, twice; the first is not
    counted. Microseconds from the request to its first event, and from an event's writing to its reading."""
    first, later = [], []

    def client(number):
        # Not all in one moment.
        time.sleep(period_ms / 1000 * number / streams)
        with connected(port, context) as connection:
            for turn in range(2):
                began = time.monotonic_ns()
                connection.sendall(f"GET /paced?period_ms={period_ms}&events={events} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
                received, seen = b"", 0
                while not received.endswith(b"\r\n0\r\n\r\n"):
                    piece = connection.recv(16384)
                    now = time.monotonic_ns()
                    if not piece:
                        raise SystemExit("bench: a paced stream was cut")
                    received += piece
                    sent = received.split(b'{"sent":')[1 + seen :]
                    if turn and sent:
                        if not seen:
                            first.append((now - began) / 1000)
                        later.extend((now - int(one.split(b",", 1)[0])) / 1000 for one in sent if b"," in one)
                    seen += len(sent)
                if seen != events:
                    raise SystemExit(f"bench: {seen} of {events} events came")

    with concurrent.futures.ThreadPoolExecutor(streams) as pool:
        list(pool.map(client, range(streams)))
    return first, later


def idle(port, count):
    """That many connections that have made a request each and stay open."""
    opened = []
    for _ in range(count):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/v1/models")
        connection.getresponse().read()
        opened.append(connection)
    return opened


def upstream_connections(port, ca):
    """How many connections the plain upstream has accepted, the one that asks not counted."""
    context = ssl.create_default_context(cafile=str(ca))
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context)
    connection.request("GET", "/connections")
    text = connection.getresponse().read().decode()
    connection.close()
    return int(text.splitlines()[2].split()[0])


def connected(port, context):
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(connection, server_hostname="127.0.0.1") if context else connection


def download(port, path, context=None):
    """Seconds for a body, and its size."""
    connection = connect(port, context)
    started = time.monotonic()
    connection.request("GET", path)
    response = connection.getresponse()
    buffer, size = bytearray(1 << 18), 0
    while n := response.readinto(buffer):
        size += n
    took = time.monotonic() - started
    connection.close()
    return took, size


def upload(port, path, size, context=None):
    """Seconds until a body was sent and its response came."""
    connection = connect(port, context)
    piece = memoryview(bytes(1 << 18))
    started = time.monotonic()
    connection.putrequest("POST", path)
    connection.putheader("Content-Length", str(size))
    connection.endheaders()
    for at in range(0, size, len(piece)):
        connection.send(piece[: min(len(piece), size - at)])
    response = connection.getresponse()
    if response.status != 200 or response.read() != b"ok":
        raise SystemExit(f"bench: the upload got {response.status}")
    took = time.monotonic() - started
    connection.close()
    return took


def connect(port, context):
    if context:
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=context)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.connect()
    return connection
