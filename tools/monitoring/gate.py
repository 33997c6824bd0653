"""What stands between the program and a server: lets connections through, refuses them, holds them, or cuts them."""

import socket
import threading


class Gate:
    """Relays TCP to `target`, as long as nothing else is asked for. Each change ends the connections that there are."""

    def __init__(self, target):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.target = ("127.0.0.1", target)
        self.act = self.relay
        self.open, self.lock = set(), threading.Lock()
        threading.Thread(target=self.accept, daemon=True).start()

    def set(self, act, *arguments):
        """`relay`, `refuse`, `hold` or `cut`, with its arguments."""
        with self.lock:
            self.act = lambda client: act(client, *arguments)
            for stream in self.open:
                end(stream)
            self.open.clear()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            with self.lock:
                self.open.add(client)
                act = self.act
            threading.Thread(target=self.serve, args=(act, client), daemon=True).start()

    def serve(self, act, client):
        try:
            act(client)
        except OSError:
            pass
        with self.lock:
            self.open.discard(client)
        client.close()

    def relay(self, client, port=None, limit=None):
        """To this port of the loopback, up to that many bytes from there."""
        target = ("127.0.0.1", port) if port else self.target
        with socket.create_connection(target) as server:
            threading.Thread(target=copy, args=(client, server), daemon=True).start()
            copy(server, client, limit)
            end(client)

    def refuse(self, client):
        """Accepts, and closes at once."""

    def hold(self, client):
        """Accepts, and says nothing."""
        while client.recv(65536):
            pass

    def cut(self, client, limit):
        """Ends the connection after that many bytes from the server."""
        self.relay(client, limit=limit)


def copy(source, sink, limit=None):
    """Until its end, or until the limit."""
    copied = 0
    try:
        while (limit is None or copied < limit) and (data := source.recv(16384)):
            sink.sendall(data)
            copied += len(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def end(stream):
    try:
        stream.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
