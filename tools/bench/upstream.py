"""The upstream of streams and uploads, with TLS: upstream.py PORT CERTIFICATE KEY

GET /events?period_ms=P&stagger=S   events without end, each with the time of its writing; the first after S of a period
GET /paced?period_ms=P&events=N     N events and an end, the first at once; the connection stays open
POST /upload                        the body is read to its end, then counted
"""

import heapq
import resource
import socket
import ssl
import sys
import threading
import time
from urllib.parse import parse_qs, urlsplit

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
PADDING = b"x" * 160


def event():
    data = b'data: {"sent":%d,"delta":"%s"}\n\n' % (time.monotonic_ns(), PADDING)
    return b"%x\r\n%s\r\n" % (len(data), data)


def paced(connection, period, count):
    # Head and first event in two writes, as a model's first token comes after the head.
    connection.sendall(HEAD)
    due = time.monotonic()
    for _ in range(count):
        connection.sendall(event())
        due += period
        time.sleep(max(0, due - time.monotonic()))
    connection.sendall(b"0\r\n\r\n")


class Streams(threading.Thread):
    """Writes every stream's next event when its time has come."""

    def __init__(self):
        super().__init__(daemon=True)
        self.due, self.lock, self.serial = [], threading.Condition(), 0

    def add(self, connection, period, first):
        with self.lock:
            self.serial += 1
            heapq.heappush(self.due, (time.monotonic() + first, self.serial, period, connection))
            self.lock.notify()

    def run(self):
        while True:
            with self.lock:
                while not self.due or self.due[0][0] > time.monotonic():
                    self.lock.wait(self.due[0][0] - time.monotonic() if self.due else None)
                when, serial, period, connection = heapq.heappop(self.due)
            try:
                connection.sendall(event())
            except OSError:
                connection.close()
                continue
            with self.lock:
                heapq.heappush(self.due, (when + period, serial, period, connection))


def serve(connection, context, streams):
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = context.wrap_socket(connection, server_side=True)
        received = b""
        while True:
            while b"\r\n\r\n" not in received:
                piece = connection.recv(65536)
                if not piece:
                    return connection.close()
                received += piece
            head, received = received.split(b"\r\n\r\n", 1)
            target = urlsplit(head.split(b" ", 2)[1].decode())
            if target.path == "/events":
                query = parse_qs(target.query)
                period = float(query["period_ms"][0]) / 1000
                connection.sendall(HEAD)
                return streams.add(connection, period, period * float(query["stagger"][0]))
            if target.path == "/paced":
                query = parse_qs(target.query)
                paced(connection, float(query["period_ms"][0]) / 1000, int(query["events"][0]))
                continue
            received = upload_response(connection, head, received)
    except (OSError, ssl.SSLError):
        connection.close()


def upload_response(connection, head, received):
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    left = int(lengths[0].split(b":")[1]) - len(received)
    buffer = bytearray(1 << 18)
    while left > 0:
        n = connection.recv_into(buffer)
        if n == 0:
            raise OSError("truncated")
        left -= n
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    return b""


def main(port, certificate, key):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    streams = Streams()
    streams.start()
    listener = socket.create_server(("127.0.0.1", int(port)), backlog=4096)
    print("listening", flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, context, streams), daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
