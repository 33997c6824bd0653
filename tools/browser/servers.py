"""What stands around browser and proxy: the attacker's page, an upstream that records, and a name that changes its address."""

import base64
import hashlib
import http.server
import json
import os
import queue
import socket
import struct
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
PAGE = b"<!doctype html><title>a page</title><body><script src=attempts.js></script>"


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, handler, address=("127.0.0.1", 0)):
        super().__init__(address, handler)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        """Browsers reset connections when they end."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def respond(self, status, fields, body=b""):
        self.send_response(status)
        for name, value in {**fields, "Content-Length": len(body)}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def body(self):
        if self.headers.get("Transfer-Encoding"):
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))


def upstream():
    """Responds as Azure has been seen to: any origin may read. `seen` are the names of the attempts that reached it."""
    seen = []

    class Upstream(Handler):
        def do_GET(self):
            self.body()
            name = self.path.partition("?")[0].rpartition("/")[2]
            # The icon of a site that is shown is the browser's own request (Sec-Fetch-Site: same-origin): a page can
            # choose nothing of it and sees nothing of it.
            if self.command != "OPTIONS" and name != "favicon.ico":
                assert self.headers.get("Authorization", "").startswith("Bearer "), self.headers
                seen.append(name)
            if self.headers.get("Upgrade") == "websocket":
                self.web_socket()
                return
            fields = {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "*", "x-request-id": f"id-{name}"}
            self.respond(200, {**fields, "Access-Control-Expose-Headers": "x-request-id"}, b"secret")

        do_POST = do_OPTIONS = do_GET

        def web_socket(self):
            """Sends one message back."""
            key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
            self.send_response(101)
            self.send_header("Upgrade", "websocket")
            self.send_header("Connection", "Upgrade")
            self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
            self.end_headers()
            _, length = self.rfile.read(2)
            mask, masked = self.rfile.read(4), self.rfile.read(length & 0x7F)
            text = b"secret for one " + bytes(byte ^ mask[i % 4] for i, byte in enumerate(masked))
            self.wfile.write(bytes([0x81, len(text)]) + text)
            self.rfile.read(1)
            self.close_connection = True

    server = Server(Upstream)
    server.seen = seen
    return server


def page(address=("127.0.0.1", 0), rebind=lambda: None):
    """Serves the page with the attempts. `reports` gets what a page found, GET /rebind changes its name's address."""
    reports = queue.Queue()

    class Page(Handler):
        def do_GET(self):
            if self.path == "/rebind":
                rebind()
            is_script = self.path.startswith("/attempts.js")
            body = PAGE
            if is_script:
                with open(os.path.join(HERE, "attempts.js"), "rb") as file:
                    body = file.read()
            # One request for each connection: the next is made to whatever address the name has by then.
            self.close_connection = True
            kind = "text/javascript" if is_script else "text/html"
            self.respond(200, {"Content-Type": kind, "Connection": "close", "Cache-Control": "no-store"}, body)

        def do_POST(self):
            reports.put(json.loads(self.body()))
            self.respond(204, {})

    server = Server(Page, address)
    server.reports = reports
    return server


class Names:
    """Resolves every name to one address, which may change: a SOCKS server (RFC 1928), which a browser asks for each new
    connection. It stands for a name server, whose responses browsers keep for a minute.
    """

    def __init__(self, address):
        self.address = address
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        file = client.makefile("rb")
        _, methods = file.read(2)
        file.read(methods)
        client.sendall(b"\x05\x00")
        file.read(4)
        file.read(file.read(1)[0])
        (port,) = struct.unpack("!H", file.read(2))
        try:
            server = socket.create_connection((self.address, port))
        except OSError:
            client.close()
            return
        client.sendall(b"\x05\x00\x00\x01" + bytes(6))
        threading.Thread(target=copy, args=(server, client), daemon=True).start()
        copy(client, server)


def copy(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass
