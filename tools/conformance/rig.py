"""The servers under comparison, each before an upstream that records what it is sent."""

import os
import re
import shutil
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from harness import Fixture, eventually, free_port  # noqa: E402

__all__ = ["Fixture", "Rig"]

NGINX = """
daemon off; master_process off; worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/nginx.err;
events {{ worker_connections 2048; }}
http {{
  access_log off; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  large_client_header_buffers 4 64k; underscores_in_headers on; ignore_invalid_headers off; client_body_timeout 3; client_header_timeout 3;
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://127.0.0.1:{to}; proxy_http_version 1.1; proxy_request_buffering off; proxy_set_header Connection ""; proxy_set_header Host $http_host; }}
  }}
}}
"""
HAPROXY = """
defaults
  mode http
  timeout client 3s
  timeout http-request 3s
  timeout server 10s
  timeout connect 10s
frontend f
  bind 127.0.0.1:{port}
  default_backend b
backend b
  http-reuse never
  server s 127.0.0.1:{to}
"""
# What concerns a connection alone, or is each proxy's own business.
PRIVATE = {
    b"host", b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade", b"http2-settings", b"expect",
    b"content-length", b"transfer-encoding", b"authorization",
}


class Upstream:
    """Reads strictly, responds 200, and keeps what it saw by the number in it."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self.listener.getsockname()[1]
        self.lock, self.seen, self.busy = threading.Lock(), {}, 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            stream, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(stream,), daemon=True).start()

    def serve(self, stream):
        data = b""
        with stream:
            while True:
                try:
                    request, data = self.read(stream, data)
                    self.record(request)
                    body = b"" if request["method"] == b"HEAD" else b"ok"
                    stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + body)
                except (OSError, EOFError):
                    return

    def record(self, request):
        for number in set(re.findall(rb"c\d{3}", b" ".join(request["raw"]))) or {b"none"}:
            with self.lock:
                self.seen.setdefault(number.decode(), []).append(request)

    def read(self, stream, data):
        """A request, and what came after it. EOFError when it is not whole, which is not recorded."""

        def until(end):
            nonlocal data
            while end not in data:
                more = stream.recv(65536)
                if not more:
                    raise EOFError
                data += more
            found, _, data = data.partition(end)
            return found

        def exactly(count):
            nonlocal data
            while len(data) < count:
                more = stream.recv(65536)
                if not more:
                    raise EOFError
                data += more
            found, data = data[:count], data[count:]
            return found

        head = until(b"\r\n\r\n")
        line, *fields = head.split(b"\r\n")
        fields = [tuple(field.partition(b":")[::2]) for field in fields]
        fields = [(name.lower(), value.strip()) for name, value in fields]
        values = lambda wanted: [value for name, value in fields if name == wanted]  # noqa: E731
        lengths, codings = values(b"content-length"), values(b"transfer-encoding")
        odd = len(lengths) + len(codings) > 1 or codings not in ([], [b"chunked"]) or len(values(b"host")) != 1
        odd = odd or b"\n" in head.replace(b"\r\n", b"") or b"\r" in head.replace(b"\r\n", b"") or b"\0" in head
        body = b""
        if codings:
            while (size := int(until(b"\r\n"), 16)) > 0:
                body += exactly(size)
                end = exactly(2)
                odd = odd or end != b"\r\n"
            while until(b"\r\n"):
                pass
        elif lengths:
            body = exactly(int(lengths[0]))
        method, _, rest = line.partition(b" ")
        target, _, _ = rest.rpartition(b" ")
        shown = sorted(field for field in fields if field[0] not in PRIVATE)
        return {"method": method, "target": target, "fields": shown, "body": body, "odd": odd, "raw": [line, head, body]}, data


class Rig:
    """auth-proxy, and those of nginx and haproxy that are installed."""

    def __init__(self, fixture):
        self.upstreams, self.ports, self.missing = {}, {}, []
        for name in ("auth-proxy", "nginx", "haproxy"):
            program = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
            if name != "auth-proxy" and not program:
                self.missing.append(name)
                continue
            upstream = self.upstreams[name] = Upstream()
            if name == "auth-proxy":
                # One connection to it ends by this, not by its timeout.
                settings = {"API_BASE_URL": f"http://127.0.0.1:{upstream.port}", "LOG_LEVEL": "error"}
                # Which names it may be called by is another question than what a name is.
                settings["ALLOWED_HOSTS"] = "a, a.b, a-b, a_b, -, *.a, *.b, ::ffff:1.2.3.4"
                self.ports[name] = fixture.proxy(settings).address[1]
                continue
            port = self.ports[name] = free_port()
            text = (NGINX if name == "nginx" else HAPROXY).format(dir=fixture.dir, port=port, to=upstream.port)
            file = os.path.join(fixture.dir, name + ".conf")
            with open(file, "w") as out:
                out.write(text)
            options = ["-c", file] if name == "nginx" else ["-db", "-f", file]
            fixture.start([program, *options], name + ".log")
            eventually(30, f"{name} to listen: {fixture.text(name + '.log')}", lambda: listens(port))

    def send(self, name, request):
        """The statuses that a client gets for these bytes, and whether the connection ended."""
        with socket.create_connection(("127.0.0.1", self.ports[name]), timeout=30) as stream:
            data, end = b"", time.monotonic() + 12
            try:
                stream.sendall(request)
                # Whoever has said something and goes on waiting has said everything.
                while time.monotonic() < end:
                    stream.settimeout(1.5 if data else 6)
                    more = stream.recv(65536)
                    if not more:
                        return statuses(data), True
                    data += more
            except TimeoutError:
                return statuses(data), False
            except OSError:
                return statuses(data), True
            return statuses(data), False


def statuses(data):
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3})[ \r]", data)]


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False
