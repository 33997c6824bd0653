"""Clients without an SDK: curl, httpx, websockets, and plain HTTP compared with what Azure says directly."""

import hashlib
import json
import os
import shutil
import subprocess
import time

import httpx
import pytest
import websockets.sync.client as websockets
from conftest import TIMEOUT_SCALE, assert_incremental

CHAT = "/openai/deployments/{}/chat/completions?api-version=2024-10-21"
BODY = {"messages": [{"role": "user", "content": "Say hello"}]}
EVENTS = "/openai/v1/sim/sse?events=10&pause_ms=50"

# Different at each response, or a matter of each connection.
VOLATILE = {"date", "apim-request-id", "x-request-id", "connection", "keep-alive", "transfer-encoding"}

needs_curl = pytest.mark.skipif(not shutil.which("curl"), reason="no curl")


@pytest.mark.parametrize(
    "method, target, body",
    [
        ("POST", CHAT.format("error-429"), BODY),
        ("POST", CHAT.format("error-500"), BODY),
        ("POST", CHAT.format("error-content-filter"), BODY),
        ("POST", CHAT.format("gpt-4o").replace("api-version", "x"), BODY),
        ("GET", "/openai/v1/models", None),
        ("GET", "/openai/v1/sim/gzip", None),
        ("GET", "/openai/v1/sim/bytes/300000", None),
        ("GET", "/openai/v1/sim/bytes/300000?chunked=1", None),
        ("DELETE", "/openai/v1/sim/status/204", None),
        ("PATCH", "/openai/v1/sim/status/409", {"a": 1}),
        ("GET", "/elsewhere", None),
    ],
)
def test_a_response_is_azures_response_byte_for_byte(azure, method, target, body):
    through, direct = azure.through_the_proxy(method, target, body), azure.directly(method, target, body)
    assert (through.status, through.body) == (direct.status, direct.body)

    def steady(headers):
        return sorted((name.lower(), value) for name, value in headers if name.lower() not in VOLATILE)

    assert steady(through.headers) == steady(direct.headers)


def written_and_received(line):
    """When the simulator wrote this event, by its own word, and now."""
    return json.loads(line.removeprefix("data: "))["unix_ns"] / 1e9, time.time()


def assert_punctual(events):
    """Events were here before the next one was written; a busy machine may be late with most."""
    assert len(events) == 10
    prompt = [received < following for (_, received), (following, _) in zip(events, events[1:])]
    assert sum(prompt) >= 2, events


def test_httpx_has_each_event_when_it_was_sent(proxy):
    with httpx.stream("GET", proxy.url + EVENTS, timeout=30) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        *events, last = [(written_and_received(line) if "unix_ns" in line else line) for line in response.iter_lines() if line]
    assert last == "data: [DONE]"
    assert_punctual(events)


def test_httpx_uploads_a_stream_of_unknown_length(proxy):
    pieces = [bytes([65 + number]) * 200_000 for number in range(20)]
    # Each of these would be refused if it arrived.
    headers = {"authorization": "Bearer stolen", "x-api-key": "stolen", "ocp-apim-subscription-key": "stolen"}
    response = httpx.post(
        proxy.url + "/openai/v1/sim/upload?api-key=stolen", content=iter(pieces), headers=headers, timeout=30
    ).json()
    assert (response["bytes"], response["sha256"]) == (4_000_000, hashlib.sha256(b"".join(pieces)).hexdigest())


def test_an_old_bearer_token_is_replaced_not_joined(proxy):
    headers = [("authorization", "Bearer one"), ("Authorization", "Bearer two"), ("accept-encoding", "gzip, br")]
    received = httpx.get(proxy.url + "/openai/v1/sim/echo", headers=headers, timeout=30).json()["headers"]
    values = [value for name, value in received if name.lower() == "authorization"]
    assert len(values) == 1 and values[0].startswith("Bearer ey")
    assert ["gzip, br"] == [value for name, value in received if name.lower() == "accept-encoding"]


def test_a_websocket_is_tunnelled(proxy):
    address = "ws" + proxy.url.removeprefix("http") + "/openai/v1/sim/ws"
    settings = {"additional_headers": {"api-key": "dummy"}, "proxy": None, "max_size": None}
    if os.environ.get("AUTH_PROXY_SERVER") == "tiny_http":
        with pytest.raises(websockets.InvalidStatus, match="501"):
            websockets.connect(address, **settings)
        return
    with websockets.connect(address, **settings) as socket:
        for message in ("hello", b"\0" * 1_000_000, ""):
            socket.send(message)
            assert socket.recv(timeout=10 * TIMEOUT_SCALE) == message


@needs_curl
def test_curl_has_each_event_when_it_was_sent(proxy):
    command = ["curl", "-sSN", "--fail", "--noproxy", "*", "--max-time", "30", proxy.url + EVENTS]
    events = []
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as curl:
        for line in curl.stdout:
            if "unix_ns" in line:
                events.append(written_and_received(line))
    assert curl.returncode == 0
    assert_punctual(events)


@needs_curl
def test_curl_chats_in_a_stream(proxy):
    command = ["curl", "-sSN", "--fail", "--noproxy", "*", "--max-time", "30", "-H", "api-key: dummy"]
    command += ["-H", "content-type: application/json", "-d", json.dumps({**BODY, "stream": True})]
    moments, lines = [], []
    with subprocess.Popen(
        [*command, proxy.url + CHAT.format("gpt-4o")], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as curl:
        for line in curl.stdout:
            if line.startswith(b"data: "):
                moments.append(time.monotonic())
                lines.append(line)
    assert curl.returncode == 0
    assert lines[-1] == b"data: [DONE]\n"
    assert_incremental(moments)


@needs_curl
def test_curl_uploads_a_form(proxy, tmp_path):
    """A body above 1 MiB: curl asks first, with `Expect: 100-continue`."""
    (tmp_path / "data.bin").write_bytes(b"\r\n--boundary?\r\n" * 200_000)
    command = ["curl", "-sS", "--fail", "--noproxy", "*", "--max-time", "30", "-H", "Expect: 100-continue"]
    command += ["-F", "purpose=assistants", "-F", f"file=@{tmp_path}/data.bin", proxy.url + "/openai/v1/files"]
    response = json.loads(subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True).stdout)
    assert response["bytes"] == 15 * 200_000


def test_httpx_streams_over_a_unix_socket(unix_proxy):
    transport = httpx.HTTPTransport(uds=unix_proxy.path)
    with httpx.Client(transport=transport, base_url="http://localhost") as client:
        with client.stream("GET", EVENTS) as response:
            response.raise_for_status()
            assert_punctual([written_and_received(line) for line in response.iter_lines() if "unix_ns" in line])
        for _ in range(2):
            response = client.post(CHAT.format("gpt-4o"), json=BODY)
            assert response.json()["choices"][0]["message"]["content"]


@needs_curl
def test_curl_over_a_unix_socket(unix_proxy):
    command = ["curl", "-sS", "--fail", "--noproxy", "*", "--max-time", "30", "--unix-socket", unix_proxy.path]
    command += ["-H", "content-type: application/json", "-d", json.dumps(BODY)]
    command += ["http://localhost" + CHAT.format("gpt-4o")]
    response = json.loads(subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True).stdout)
    assert response["choices"][0]["message"]["content"]
    unix_proxy.wait_for(rf"client=unix client_uid={os.getuid()} client_gid={os.getgid()} client_pid=\d+")
