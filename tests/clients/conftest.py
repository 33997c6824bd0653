"""The real proxy binary between the real SDKs and the simulator of Entra ID and Azure OpenAI.

One simulator and one proxy serve the whole run, and a second proxy the tests with aimock, a fake Azure OpenAI that is not
ours. Only processes started here are stopped here, by their handle.
"""

import http.client
import json
import os
import re
import secrets
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SIMULATOR = Path(os.environ.get("AUTH_PROXY_SIM", ROOT / "target/debug/examples/sim"))
PROXY = Path(os.environ.get("AUTH_PROXY_BIN", ROOT / "target/x86_64-unknown-linux-musl/release/auth-proxy"))
CLIENTS = Path(os.environ.get("CLIENTS_DIR", ROOT / "target/clients"))
# Slow machines multiply every wait: the Rust tests' variable, whose default is ten seconds.
TIMEOUT_SCALE = float(os.environ.get("TEST_TIMEOUT_MS", "10000")) / 10_000
# Between the events of the simulator's streams.
PAUSE_MS = 60

# The SDKs read these too; the machine's own settings must not decide what is tested.
for name in list(os.environ):
    if name.startswith(("AZURE_", "OPENAI_", "LITELLM_")) or name.upper() in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        del os.environ[name]


class Process:
    """A child whose output is collected line by line."""

    def __init__(self, command, environment):
        self.name = Path(command[0]).name
        self.lines = []
        self._grew = threading.Condition()
        self._child = subprocess.Popen(
            [str(part) for part in command],
            env=environment,
            # Closes with this process, whatever ends it; the simulator takes that as a sign.
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self._child.stdout:
            with self._grew:
                self.lines.append(line.rstrip("\n"))
                self._grew.notify_all()
        with self._grew:
            self.lines.append(f"[{self.name} ended: {self._child.wait()}]")
            self._grew.notify_all()

    def wait_for(self, pattern, seconds=20):
        """The first match of the pattern in a line of the output."""
        deadline = time.monotonic() + seconds * TIMEOUT_SCALE
        with self._grew:
            while True:
                for line in self.lines:
                    if match := re.search(pattern, line):
                        return match
                left = deadline - time.monotonic()
                if left <= 0 or not self._reader.is_alive():
                    raise AssertionError(f"{self.name} never printed {pattern!r}:\n" + "\n".join(self.lines))
                self._grew.wait(min(left, 0.5))

    def stop(self):
        if self._child.poll() is None:
            self._child.terminate()
            try:
                self._child.wait(10 * TIMEOUT_SCALE)
            except subprocess.TimeoutExpired:
                self._child.kill()
        self._child.wait()
        self._reader.join(5)
        self._child.stdin.close()


@pytest.fixture(scope="session")
def access_token():
    """What the simulated Entra ID issues, which aimock must know beforehand."""
    return "ey" + secrets.token_urlsafe(64)


@pytest.fixture(scope="session")
def simulator(tmp_path_factory, access_token):
    directory = tmp_path_factory.mktemp("sim")
    file = directory / "env"
    command = [SIMULATOR, "--dir", directory, "--env-file", file, "--pause-ms", str(PAUSE_MS)]
    process = Process([*command, "--access-token", access_token], plain_environment())
    try:
        process.wait_for(r'^\{.*"ready":\s*true')
        process.settings = read_env_file(file)
        yield process
    finally:
        process.stop()


@pytest.fixture(scope="session")
def proxy(simulator):
    """The running proxy; `url` is where it listens."""
    with running_proxy(simulator.settings) as process:
        yield process


@pytest.fixture(scope="session")
def aimock(access_token):
    """The other fake Azure OpenAI; it refuses every request with any credential but the one token."""
    directory = CLIENTS / "node"
    command = [directory / "bin/node", directory / "node_modules/@copilotkit/aimock/dist/cli.js", "--port", "0"]
    command += ["--fixtures", Path(__file__).parent / "node/aimock.json", "--latency", PAUSE_MS, "--chunk-size", "4"]
    process = Process([*command, "--strict", "--validate-on-load"], {**plain_environment(), "AIMOCK_API_KEYS": access_token})
    try:
        process.url = process.wait_for(r"listening on (http://127\.0\.0\.1:\d+)", 60)[1]
        yield process
    finally:
        process.stop()


@pytest.fixture(scope="session")
def proxy_to_aimock(simulator, aimock):
    """A proxy of its own, which signs in at the simulator and forwards to aimock."""
    with running_proxy({**simulator.settings, "API_BASE_URL": aimock.url}) as process:
        yield process


@contextmanager
def running_proxy(settings):
    assert PROXY.exists(), f"{PROXY} is missing: `make build`"
    process = Process([PROXY], {**plain_environment(), **settings, "HOST": "127.0.0.1", "PORT": "0"})
    RUNNING.append(process)
    try:
        process.url = "http://" + process.wait_for(r"listening.*\baddress=(127\.0\.0\.1:\d+)")[1]
        wait_until_healthy(process)
        yield process
    finally:
        process.stop()
        RUNNING.remove(process)


@pytest.fixture(scope="session")
def unix_proxy(simulator, tmp_path_factory):
    """A proxy on a Unix socket; `path` is where it listens."""
    path = tmp_path_factory.mktemp("unix") / "proxy.sock"
    environment = {**plain_environment(), **simulator.settings, "HOST": f"unix:{path}"}
    process = Process([PROXY], environment)
    RUNNING.append(process)
    try:
        process.path = str(path)
        subprocess.run([PROXY, "wait"], env=environment, check=True)
        yield process
    finally:
        process.stop()
        RUNNING.remove(process)


def wait_until_healthy(process):
    deadline = time.monotonic() + 20 * TIMEOUT_SCALE
    while True:
        try:
            with urllib.request.urlopen(process.url + "/health", timeout=5) as response:
                assert (response.status, response.read()) == (200, b'{"status":"ok"}')
                return
        except OSError as error:
            detail = error.read().decode() if isinstance(error, urllib.error.HTTPError) else error
            if time.monotonic() > deadline:
                raise AssertionError(f"not healthy: {detail}\n" + "\n".join(process.lines)) from None
        time.sleep(0.05)


def plain_environment():
    return {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}


def read_env_file(file):
    pairs = (line.split("=", 1) for line in file.read_text().splitlines() if "=" in line and not line.startswith("#"))
    return {name.removeprefix("export ").strip(): value.strip().strip("'\"") for name, value in pairs}


# Their logs belong to the report of a test that failed.
RUNNING = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        for process in RUNNING:
            report.sections.append(("the end of a proxy's log", "\n".join(process.lines[-60:])))
    return report


class Azure:
    """The simulated Azure OpenAI, asked with the proxy's own token: what a response is without a proxy in between."""

    def __init__(self, simulator, proxy, access_token):
        self._token = access_token
        self._upstream = urllib.parse.urlsplit(simulator.settings["API_BASE_URL"])
        self._authorities = simulator.settings.get("SSL_CERT_FILE")
        self._proxy = urllib.parse.urlsplit(proxy.url)

    def directly(self, method, target, body=None):
        context = ssl.create_default_context(cafile=self._authorities)
        to = http.client.HTTPSConnection(self._upstream.hostname, self._upstream.port, timeout=30, context=context)
        return exchange(to, method, target, body, {"authorization": f"Bearer {self._token}"})

    def through_the_proxy(self, method, target, body=None):
        to = http.client.HTTPConnection(self._proxy.hostname, self._proxy.port, timeout=30)
        return exchange(to, method, target, body, {"api-key": "dummy"})


class Response:
    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.getheaders(), response.read()


def exchange(connection, method, target, body, headers):
    # putrequest adds nothing that was not asked for, such as an Accept-Encoding.
    body = None if body is None else json.dumps(body).encode()
    connection.putrequest(method, target, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    if body is not None:
        connection.putheader("content-type", "application/json")
        connection.putheader("content-length", str(len(body)))
    connection.endheaders(body)
    try:
        return Response(connection.getresponse())
    finally:
        connection.close()


@pytest.fixture(scope="session")
def azure(simulator, proxy, access_token):
    return Azure(simulator, proxy, access_token)


def assert_incremental(moments):
    """Pieces that were sent with pauses came with pauses: what is collected on the way comes in one heap. A machine so
    busy that the client sleeps through some of the pauses leaves others."""
    assert len(moments) >= 5, moments
    gaps = sorted(later - earlier for earlier, later in zip(moments, moments[1:]))
    assert gaps[-2] > PAUSE_MS / 1000 / 2, f"the gaps between the pieces: {gaps}"


def assert_chat_stream(sdk, expected):
    """A stream through a Python `openai` client: its whole text, event by event."""
    words, moments = [], []
    messages = [{"role": "user", "content": "Say hello"}]
    for chunk in sdk.chat.completions.create(model="gpt-4o", messages=messages, stream=True):
        moments.append(time.monotonic())
        words.extend(choice.delta.content or "" for choice in chunk.choices)
    assert "".join(words) == expected
    assert_incremental(moments)
