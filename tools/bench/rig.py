"""The test rig: a throw-away CA, the upstreams, and the proxies under comparison; each a process of ours."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.append(str(HERE.parent))
from harness import SIM, eventually, free_port  # noqa: E402

TARGET = os.environ.get("TARGET", "x86_64-unknown-linux-musl")
BINARY = pathlib.Path(os.environ.get("AUTH_PROXY_BIN", ROOT / "target" / TARGET / "release" / "auth-proxy"))
TICKS = os.sysconf("SC_CLK_TCK")
# As long as a token of Entra ID is.
TOKEN = "Bearer " + "t" * 1200


class Process:
    """A child and its descendants, until stopped."""

    def __init__(self, name, command, port, environment=None, log=None):
        self.name, self.port = name, port
        self.log = open(log, "ab") if log else subprocess.DEVNULL
        started = time.monotonic()
        self.child = subprocess.Popen(
            [str(part) for part in command], env=environment, stdout=self.log, stderr=self.log, stdin=subprocess.PIPE
        )
        deadline = started + 30
        while not is_open(port):
            if self.child.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"bench: {name} did not start; see {log}")
            time.sleep(0.0005)
        self.until_listening = time.monotonic() - started

    def pids(self):
        found, queue = [], [self.child.pid]
        while queue:
            pid = queue.pop()
            with contextlib.suppress(OSError):
                for task in os.listdir(f"/proc/{pid}/task"):
                    children = pathlib.Path(f"/proc/{pid}/task/{task}/children").read_text().split()
                    queue.extend(int(child) for child in children)
                found.append(pid)
        return found

    def cpu(self):
        """Seconds in user space and in the kernel, ended threads included. By the scheduler's clock (the id is what
        clock_getcpuclockid makes of a process): /proc counts ticks of 10 ms."""
        return sum(time.clock_gettime(~pid << 3 | 2) for pid in self.pids())

    def cpu_split(self):
        """The same in two, from /proc."""
        user = kernel = 0
        for pid in self.pids():
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            user, kernel = user + int(fields[11]), kernel + int(fields[12])
        return user / TICKS, kernel / TICKS

    def memory(self):
        """Resident bytes, shared pages counted once per process group: the sum of Pss."""
        total = 0
        for pid in self.pids():
            text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
        return total * 1024

    def stop(self):
        for step in (signal.SIGTERM, signal.SIGKILL):
            if self.child.poll() is None:
                self.child.send_signal(step)
            for _ in range(10):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return self.child.wait(timeout=1)
                # Under valgrind nginx may sleep through a signal that comes just before it waits.
                is_open(self.port)
        return None


def is_open(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Rig:
    """Everything of one run; a context manager that ends what it started."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="auth-proxy-bench-"))
        os.chmod(self.folder, 0o755)
        self.processes, self.settings = [], None
        self.ca, self.certificate, self.key = (self.folder / name for name in ("ca.pem", "server.pem", "server.key"))

    def __enter__(self):
        make_certificates(self.folder)
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, name, command, port, environment=None):
        process = Process(name, command, port, environment, self.folder / f"{name}.log")
        self.processes.append(process)
        return process

    def plain_upstream(self):
        """nginx: small responses and a large file."""
        port = free_port()
        response = '{"id":"chatcmpl-1","object":"chat.completion","choices":[{"message":{"content":"' + "word " * 160
        text = f"""
            server {{
                listen 127.0.0.1:{port} ssl backlog=4096;
                ssl_certificate {self.certificate};
                ssl_certificate_key {self.key};
                root {self.folder};
                add_header apim-request-id 8f4e7a61-6f6b-4b47-9a39-0c3f6c1b2d10;
                add_header x-ratelimit-remaining-requests 999;
                add_header x-ratelimit-remaining-tokens 99999;
                add_header strict-transport-security "max-age=31536000; includeSubDomains; preload";
                location / {{ default_type application/json; return 200 '{response}"}}}}]}}'; }}
                location /large {{ }}
                location = /connections {{ stub_status; }}
            }}"""
        return self.nginx("upstream", port, text)

    def stream_upstream(self):
        port = free_port()
        command = [sys.executable, "-B", HERE / "upstream.py", port, self.certificate, self.key]
        return self.start("streams", command, port)

    def nginx(self, name, port, server, tool=(), logging=False):
        file = self.folder / f"{name}.conf"
        file.write_text(f"""
            daemon off; pid {self.folder}/{name}.pid; error_log stderr error; worker_processes {os.cpu_count()};
            master_process {"off" if tool else "on"};
            worker_rlimit_nofile 65536;
            events {{ worker_connections 16384; }}
            http {{
                access_log {self.folder / "access.log" if logging else "off"}; keepalive_requests 1000000000;
                sendfile on; tcp_nodelay on; client_max_body_size 0;
                client_body_temp_path {self.folder}/{name}.body; proxy_temp_path {self.folder}/{name}.proxy;
                fastcgi_temp_path {self.folder}/x; uwsgi_temp_path {self.folder}/x; scgi_temp_path {self.folder}/x;
                {server}
            }}""")
        return self.start(name, [*tool, "nginx", "-e", "stderr", "-c", file], port)

    def proxy(self, name, upstream, tool=()):
        """Started under `tool`, if one is given: `, logging` after the name means one line of log per request."""
        name, *options = name.split(", ")
        make = {"auth-proxy": self.ours, "nginx": self.nginx_proxy, "haproxy": self.haproxy, "caddy": self.caddy,
                "python": self.python}[name]  # fmt: skip
        return make(upstream, tool, "logging" in options)

    def ours(self, upstream, tool=(), logging=False):
        if self.settings is None:
            self.simulator()
        port = free_port()
        environment = {
            **self.settings,
            "API_BASE_URL": f"https://127.0.0.1:{upstream.port}",
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "MAX_CONNECTIONS": "4096",
            "LOG_LEVEL": "info" if logging else "warn",
        }
        return self.start("auth-proxy", [*tool, BINARY], port, environment)

    def simulator(self):
        """Of which only Entra ID is used. Its CA and ours in one bundle."""
        file = self.folder / "sim.env"
        port = free_port()
        command = [ROOT / SIM, "--stay", "--dir", self.folder / "sim", "--env-file", file, "--entra-port", port]
        (self.folder / "sim").mkdir()
        self.start("sim", command, port)
        eventually(30, "the environment that the simulator writes", lambda: file.exists() and file.read_text().endswith("\n"))
        self.settings = dict(line.split("=", 1) for line in file.read_text().splitlines())
        bundle = self.folder / "bundle.pem"
        bundle.write_text(self.ca.read_text() + pathlib.Path(self.settings["SSL_CERT_FILE"]).read_text())
        self.settings["SSL_CERT_FILE"] = str(bundle)

    def nginx_proxy(self, upstream, tool=(), logging=False):
        port = free_port()
        name = "nginx-logging" if logging else "nginx"
        return self.nginx(name, port, f"""
            upstream upstream {{ server 127.0.0.1:{upstream.port}; keepalive 512; keepalive_requests 1000000000; }}
            server {{
                listen 127.0.0.1:{port} backlog=4096;
                location / {{
                    proxy_pass https://upstream;
                    proxy_http_version 1.1;
                    proxy_set_header Connection "";
                    proxy_set_header Authorization "{TOKEN}";
                    proxy_ssl_trusted_certificate {self.ca};
                    proxy_ssl_verify on;
                    proxy_ssl_name 127.0.0.1;
                    proxy_buffering off;
                    proxy_request_buffering off;
                    proxy_read_timeout 600s;
                }}
            }}""", tool, logging)

    def haproxy(self, upstream, tool=(), _logging=False):
        port = free_port()
        file = self.folder / "haproxy.cfg"
        file.write_text(f"""
global
    maxconn 8192
defaults
    mode http
    timeout connect 10s
    timeout client 600s
    timeout server 600s
    option http-keep-alive
    option http-no-delay
    http-reuse always
frontend application
    bind 127.0.0.1:{port} backlog 4096
    default_backend upstream
backend upstream
    http-request set-header Authorization "{TOKEN}"
    server one 127.0.0.1:{upstream.port} ssl verify required ca-file {self.ca} pool-max-conn 512
""")
        return self.start("haproxy", [*tool, "haproxy", "-db", "-f", file], port)

    def caddy(self, upstream, tool=(), _logging=False):
        port = free_port()
        file = self.folder / "caddy.json"
        transport = {"protocol": "http", "versions": ["1.1"], "tls": {"root_ca_pem_files": [str(self.ca)]},
                     "keep_alive": {"max_idle_conns": 512, "max_idle_conns_per_host": 512}}  # fmt: skip
        forward = {
            "handler": "reverse_proxy",
            "upstreams": [{"dial": f"127.0.0.1:{upstream.port}"}],
            "flush_interval": -1,
            "headers": {"request": {"set": {"Authorization": [TOKEN]}}},
            "transport": transport,
        }
        server = {"listen": [f"127.0.0.1:{port}"], "automatic_https": {"disable": True}, "routes": [{"handle": [forward]}]}
        config = {
            "admin": {"disabled": True},
            "logging": {"logs": {"default": {"level": "ERROR"}}},
            "apps": {"http": {"servers": {"bench": server}}},
        }
        file.write_text(json.dumps(config))
        # It writes nothing there, but wants to know where it could.
        environment = {**os.environ, "HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder), "XDG_DATA_HOME": str(self.folder)}
        return self.start("caddy", [*tool, "caddy", "run", "--config", file], port, environment)

    def python(self, upstream, tool=(), _logging=False):
        port = free_port()
        command = [*tool, sys.executable, "-B", HERE / "reference.py", port, upstream.port, self.ca, TOKEN]
        return self.start("python", command, port)


def make_certificates(folder):
    def openssl(*arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, cwd=folder)

    (folder / "server.cnf").write_text("subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=bench", "-days", 2)
    openssl("req", *curve, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=127.0.0.1")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", 2,
            "-extfile", "server.cnf", "-out", "server.pem")  # fmt: skip
    os.chmod(folder / "server.key", 0o644)
