"""The load: requests at a constant rate over keep-alive connections, and streams that are always open; each is checked to its
last byte. It runs in a thread with an event loop of its own.

A request's time counts from when it was due, also when every connection was busy then. What fails for want of the load's own
sockets is counted apart, and so is how late the event loop itself was: those are the machine's faults.
"""

import asyncio
import errno
import json
import ssl
import threading
import time
import typing

CONNECTIONS = 64
# A stream: a number of events, one every few ms.
EVENTS, PAUSE_MS = 60, 500
TIMEOUT = 150
# What says that the load, not the program, lacks something.
OURS = {errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM}
BODY = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "word " * 60}]}).encode()


class Outcome(typing.NamedTuple):
    """Of a request, or of a stream: `problem` is empty when it was complete."""

    due: float
    end: float
    problem: str = ""
    # The load had no socket for it.
    is_ours: bool = False
    # The connection had been closed between two requests, and the request went again on a new one.
    is_repeated: bool = False


class Incomplete(Exception):
    """What came is not what should have come."""


class Connection:
    """One that is opened when it is needed and kept as long as the peer keeps it."""

    def __init__(self, target):
        self.target, self.reader, self.writer = target, None, None

    async def exchange(self, head, body, receive):
        """Sends one request and lets `receive` read the response. Returns whether it went twice: once more on a new connection
        when one that was kept ended before a byte of the response, as the OpenAI SDKs do after any error of the connection."""
        for attempt in range(2):
            if self.reader and self.reader.at_eof():
                self.close()
            was_kept = self.writer is not None
            if not was_kept:
                self.reader, self.writer = await asyncio.open_connection(*self.target.address, **self.target.tls())
            try:
                self.writer.write(head() + body)
                first = await self.reader.readexactly(1)
            except (OSError, asyncio.IncompleteReadError):
                self.close()
                if was_kept:
                    continue
                raise
            try:
                if not await receive(first, self.reader):
                    self.close()
            except BaseException:
                self.close()
                raise
            return attempt == 1
        raise AssertionError("a new connection was not kept")

    def close(self):
        if self.writer:
            self.writer.transport.abort()
        self.reader = self.writer = None


class Target:
    """Where the load goes, and with which key; both may change meanwhile."""

    def __init__(self, address, ca=None, key=None):
        self.address, self.key = address, key
        self.context = ssl.create_default_context(cafile=ca) if ca else None

    def tls(self):
        if not self.context:
            return {}
        # A handshake may take as long as everything else: asyncio's own limit is a minute.
        return {"ssl": self.context, "server_hostname": "localhost", "ssl_handshake_timeout": TIMEOUT}

    def head(self, method, path, length=None):
        return head(method, path, self.key, length)


def head(method, path, key=None, length=None):
    """A request's header section."""
    fields = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    if key:
        fields.append(f"api-key: {key}")
    if length is not None:
        fields += ["Content-Type: application/json", f"Content-Length: {length}"]
    return ("\r\n".join(fields) + "\r\n\r\n").encode()


async def head_of(first, reader):
    """Status and fields of a response."""
    lines = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    fields = dict((name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines[1:] if line))
    return int(lines[0].split()[1]), fields


async def whole(first, reader, expected=200):
    """A response with a length: raises unless it has the expected status. Returns whether the connection is kept."""
    status, fields = await head_of(first, reader)
    body = await reader.readexactly(int(fields.get("content-length", 0)))
    if status != expected:
        raise Incomplete(f"{status} {code_of(body)}")
    if expected == 200 and not json.loads(body)["choices"]:
        raise Incomplete("no choices")
    return fields.get("connection", "").lower() != "close"


async def events(first, reader, expected):
    """A stream to its end: `expected` events, each in its turn, then [DONE], then the last chunk."""
    status, fields = await head_of(first, reader)
    if status != 200:
        body = await reader.readexactly(int(fields.get("content-length", 0)))
        raise Incomplete(f"refused: {status} {code_of(body)}")
    data, number = b"", 0
    while size := int(await reader.readuntil(b"\r\n"), 16):
        data += (await reader.readexactly(size + 2))[:-2]
        while b"\n\n" in data:
            event, data = data.split(b"\n\n", 1)
            if event == b"data: [DONE]":
                number = "done" if number == expected else f"done after {number}"
            elif json.loads(event.removeprefix(b"data: "))["event"] == number:
                number += 1
            else:
                raise Incomplete(f"event {number} is missing")
    await reader.readexactly(2)
    if number != "done" or data:
        raise Incomplete(f"LOOKS COMPLETE at event {number}")
    return fields.get("connection", "").lower() != "close"


def code_of(body):
    try:
        return json.loads(body)["error"]["code"]
    except (ValueError, KeyError, TypeError):
        return ""


class Load(threading.Thread):
    """Runs from `start` to `finish`. `target` is the proxy, `control` the simulator without it."""

    def __init__(self, target, control, rate=100, streams=100):
        super().__init__(daemon=True)
        self.target, self.control, self.rate, self.streams = target, control, rate, streams
        self.requests, self.streamed, self.controls, self.lags = [], [], [], []
        self.open_streams, self.pending, self.next_due = 0, set(), 0
        self.ending = threading.Event()

    def run(self):
        # Without asyncio.run's end, which waits for each task that is being cancelled.
        asyncio.new_event_loop().run_until_complete(self.main())

    def finish(self):
        self.ending.set()
        self.join(20)

    async def main(self):
        due = asyncio.Queue()
        tasks = [self.schedule(due), self.measure_lag(), self.measure_control()]
        tasks += [self.request(due) for _ in range(CONNECTIONS)]
        tasks += [self.stream(number) for number in range(self.streams)]
        tasks = [asyncio.create_task(task) for task in tasks]
        while not self.ending.is_set():
            await asyncio.sleep(0.1)
            # A task that ends has met a bug of ours.
            for task in tasks:
                if task.done():
                    task.result()
        # One that was just getting its response may miss the first time.
        for _ in range(5):
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=1)

    async def schedule(self, due):
        self.next_due = time.monotonic()
        while True:
            await asyncio.sleep(max(0, self.next_due - time.monotonic()))
            self.pending.add(self.next_due)
            due.put_nowait(self.next_due)
            self.next_due += 1 / self.rate

    async def request(self, due):
        connection = Connection(self.target)
        head = lambda: self.target.head("POST", "/openai/v1/chat/completions", len(BODY))
        while True:
            at = await due.get()
            outcome = await self.outcome(at, connection.exchange(head, BODY, whole))
            if outcome.problem:
                connection.close()
            self.requests.append(outcome)
            self.pending.discard(at)

    async def stream(self, number):
        connection = Connection(self.target)
        # The first after a beginning in common is shorter for some than for others: they shall not end all at once.
        spread = 1 + (EVENTS - 1) * number // self.streams
        length = spread
        while True:

            async def receive(first, reader, length=length):
                self.open_streams += 1
                try:
                    return await events(first, reader, length)
                finally:
                    self.open_streams -= 1

            path = f"/sim/sse?events={length}&pause_ms={PAUSE_MS}"
            head = lambda path=path: self.target.head("GET", path)
            outcome = await self.outcome(time.monotonic(), connection.exchange(head, b"", receive))
            self.streamed.append(outcome)
            length = EVENTS
            if outcome.problem:
                connection.close()
                length = spread
                await asyncio.sleep(0.2)

    async def outcome(self, at, exchange):
        try:
            repeated = await asyncio.wait_for(exchange, TIMEOUT)
            return Outcome(at, time.monotonic(), is_repeated=repeated)
        except Exception as error:  # noqa: BLE001 - whatever comes in place of a response
            is_ours = isinstance(error, OSError) and error.errno in OURS
            return Outcome(at, time.monotonic(), f"{type(error).__name__}: {error}"[:200], is_ours)

    async def measure_lag(self):
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.05)
            self.lags.append((before, time.monotonic() - before - 0.05))

    async def measure_control(self):
        """The simulator refuses a request without a token at once: how long that takes says what the machine does."""
        connection = Connection(self.control)
        head = lambda: self.control.head("GET", "/openai/v1/models")
        while True:
            at = time.monotonic()
            receive = lambda first, reader: whole(first, reader, 401)
            self.controls.append(await self.outcome(at, connection.exchange(head, b"", receive)))
            if self.controls[-1].problem:
                connection.close()
            await asyncio.sleep(0.1)

    def between(self, begin, end):
        """What was due in that time; waits until all of it is over. What is not over by then has failed."""
        give_up = time.monotonic() + TIMEOUT + 10
        while (self.next_due < end or any(at < end for at in list(self.pending))) and time.monotonic() < give_up:
            time.sleep(0.05)
        due = [it for it in list(self.requests) if begin <= it.due < end]
        due += [Outcome(at, give_up, "no outcome") for at in list(self.pending) if begin <= at < end]
        # A stream counts where it ended.
        over = [it for it in list(self.streamed) if begin <= it.end < end]
        controls = [it.end - it.due for it in list(self.controls) if begin <= it.due < end]
        lags = [lag for at, lag in list(self.lags) if begin <= at < end]
        return due, over, max(controls, default=0), max(lags, default=0)
