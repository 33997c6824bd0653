"""What the events happen to: the simulator, instances of the release binary on one listening socket, certificates, keys, and a
name server of our own where there is a network namespace."""

import contextlib
import json
import os
import pathlib
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import threading
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from harness import BINARY, SIM, Children, eventually, free_port  # noqa: E402

API = "api.sim.test"

# As a service manager does: the listening socket becomes descriptor 3 of the process that runs the program.
LAUNCHER = """
import os, sys
descriptor, program = int(sys.argv[1]), sys.argv[2]
os.dup2(descriptor, 3)
os.execve(program, [program], os.environ | {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"})
"""


class Simulator:
    """The fake Entra ID and Azure OpenAI, which obeys commands."""

    def __init__(self, rig, lifetime, refresh_in):
        options = ["--token-lifetime", str(lifetime), "--refresh-in", str(refresh_in)]
        # In the namespace, where there is nothing but the loopback: 127.0.0.2 and so on are Azure, too.
        options += ["--azure-host", "0.0.0.0"] if rig.has_names else []
        command = [SIM, "--dir", str(rig.dir), "--env-file", str(rig.dir / "env"), *options]
        self.process = rig.start(command, "sim.log", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ready = json.loads(self.process.stdout.readline())
        self.settings = dict(line.split("=", 1) for line in (rig.dir / "env").read_text().splitlines())

    def command(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        reply = json.loads(self.process.stdout.readline())
        assert "done" in reply, reply
        return reply["count"]


class Instance:
    """One process of the program, on the shared listening socket."""

    def __init__(self, rig, settings):
        self.rig, self.admin = rig, free_port()
        self.log = rig.dir / f"proxy-{self.admin}.log"
        environment = {**rig.sim.settings, "ADMIN_HOST": "127.0.0.1", "ADMIN_PORT": str(self.admin), **settings}
        command = [sys.executable, "-c", LAUNCHER, str(rig.listener.fileno()), os.path.abspath(BINARY)]
        self.process = rig.start(command, self.log.name, env=environment, pass_fds=[rig.listener.fileno()])
        try:
            eventually(30, "the program to be ready", self.is_ready)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.text()[-2000:]}") from None

    def is_ready(self):
        assert self.process.poll() is None, self.text()
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/readyz", timeout=5).status == 200
        return False

    def text(self, since=0):
        with open(self.log, errors="replace") as file:
            file.seek(since)
            return file.read()

    def mark(self):
        """Where the log ends now, for `logged`."""
        return self.log.stat().st_size

    def logged(self, text, since, seconds, times=1):
        return eventually(seconds, f"{text!r} in the log", lambda: self.text(since).count(text) >= times)

    def metric(self, name):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=10) as page:
            lines = page.read().decode().splitlines()
        return float(next(line.split()[1] for line in lines if line.startswith(f"{name} ")))

    def connections(self, port):
        """Its established connections to this port: inode of the socket, and address."""
        folder = pathlib.Path(f"/proc/{self.process.pid}/fd")
        inodes = set()
        for descriptor in folder.iterdir():
            with contextlib.suppress(OSError):
                inodes.add(os.readlink(descriptor).removeprefix("socket:[").rstrip("]"))
        found = set()
        for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            address, _, remote_port = fields[2].partition(":")
            is_established = fields[3] == "01"
            if is_established and int(remote_port, 16) == port and fields[9] in inodes:
                found.add((fields[9], socket.inet_ntoa(int(address, 16).to_bytes(4, sys.byteorder))))
        return found

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def threads(self):
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def address_space(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmSize:")) * 1024

    @contextlib.contextmanager
    def stopped(self):
        """Stopped by SIGSTOP, as whatever freezes a process does, and continued afterwards."""
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task")
        is_stopped = lambda: all(stat.read_text().rpartition(")")[2].split()[0] == "T" for stat in tasks.glob("*/stat"))
        self.process.send_signal(signal.SIGSTOP)
        try:
            eventually(5, "every thread to be stopped", is_stopped)
            yield
            assert is_stopped(), "something else has continued the process"
        finally:
            self.process.send_signal(signal.SIGCONT)

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def ended(self, seconds):
        """The exit code."""
        return self.process.wait(seconds)


class Rig(Children):
    """Everything of one run."""

    def __init__(self, lifetime, refresh_in, has_names):
        super().__init__()
        self.dir, self.has_names, self.names = pathlib.Path(self.dir), has_names, None
        try:
            self.set_up(lifetime, refresh_in)
        except BaseException:
            self.__exit__()
            raise

    def set_up(self, lifetime, refresh_in):
        if self.has_names:
            self.names = NameServer("127.0.0.1")
        self.sim = Simulator(self, lifetime, refresh_in)
        if self.has_names:
            self.sim.settings["API_BASE_URL"] = self.sim.settings["API_BASE_URL"].replace("localhost", API)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.authority = Authority(self.dir)
        self.credentials = Credentials(self.dir, self.sim)
        self.keys = Keys(self.dir)
        self.authority.issue(1)
        self.settings = {
            "AZURE_CERTIFICATE_PATH": str(self.credentials.path),
            "PROXY_API_KEYS_FILE": str(self.keys.path),
            "TLS_CERT_FILE": str(self.authority.certificate),
            "TLS_KEY_FILE": str(self.authority.key),
            # Longer than a stream.
            "SHUTDOWN_GRACE": "90s",
        }
        self.proxy = self.instance()

    def __exit__(self, *_):
        # Whoever wants us to end must not keep us from it.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        super().__exit__()

    def instance(self):
        return Instance(self, self.settings)

    def address(self):
        return self.listener.getsockname()[:2]

    def reset_idle(self):
        """Resets the program's idle connections to Azure. It is stopped meanwhile: a request that is sent between the look and the
        reset would be lost, and is not what this is about."""
        with self.proxy.stopped():
            self.sim.command("azure reset idle")

    def upstream_connections(self):
        return self.proxy.connections(self.sim.ready["azure_port"])

    def tls(self, stream):
        """TLS with the program over this socket, for a client that is not the load's; the handshake is the caller's."""
        context = ssl.create_default_context(cafile=self.authority.ca)
        return context.wrap_socket(stream, server_hostname="localhost", do_handshake_on_connect=False)

    def connect(self):
        stream = self.tls(socket.create_connection(self.address(), 10))
        try:
            stream.do_handshake()
        except OSError:
            stream.close()
            raise
        return stream

    def peer_certificate(self):
        """What a new connection is shown."""
        with self.connect() as connection:
            return connection.getpeercert()["serialNumber"]


class Credentials:
    """The certificate with which the program signs in. `path` is a link, as an administrator may have made it, so that every
    way of replacing a certificate can be tried on one process."""

    def __init__(self, folder, sim):
        self.folder, self.sim, self.count = folder, sim, 0
        self.path = folder / "credential"
        self.file = folder / "certificate.pem"
        self.path.symlink_to(self.file)
        key, certificate, _ = self.new()
        self.file.write_text(key + certificate)

    def new(self, is_uploaded=True):
        """Another certificate, which Entra ID knows: key, certificate, and its SHA-1 as the log has it."""
        self.count += 1
        name = self.folder / f"client-{self.count}"
        key, certificate = name.with_suffix(".key"), name.with_suffix(".crt")
        subject = f"/CN=prove {self.count}"
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", 90, "-subj", subject, "-keyout", key, "-out", certificate)
        if is_uploaded:
            self.upload()
        print_of = openssl("x509", "-in", certificate, "-noout", "-fingerprint", "-sha1").strip().split("=")[1]
        return key.read_text(), certificate.read_text(), print_of.replace(":", "")

    def upload(self):
        """Entra ID knows the last one from now on."""
        self.sim.command(f"register {self.folder / f'client-{self.count}'}.crt")

    def back_to_file(self, text):
        """The next event begins with the file again: what is in use stays in use."""
        beside = self.file.with_suffix(".new")
        beside.write_text(text)
        beside.rename(self.file)
        self.link(self.file)

    def link(self, target):
        """The link leads elsewhere, in one step."""
        beside = self.folder / "credential.new"
        beside.symlink_to(target)
        beside.rename(self.path)


class Authority:
    """A CA, and the certificates that the program shows to callers."""

    def __init__(self, folder):
        self.folder = folder
        self.ca, self.certificate, self.key = folder / "prove-ca.pem", folder / "tls.pem", folder / "tls.key"
        self.curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        openssl("req", "-x509", *self.curve, "-keyout", folder / "prove-ca.key", "-out", self.ca, "-subj", "/CN=prove", "-days", 30)

    def issue(self, serial):
        """Another certificate with another key: renamed over the old ones, the key last."""
        file = lambda name: self.folder / f"next.{name}"
        file("cnf").write_text("subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\n")
        openssl("req", *self.curve, "-keyout", file("key"), "-out", file("csr"), "-subj", "/CN=localhost")
        openssl("x509", "-req", "-in", file("csr"), "-CA", self.ca, "-CAkey", self.folder / "prove-ca.key", "-set_serial", serial,
                "-days", 30, "-extfile", file("cnf"), "-out", file("pem"))  # fmt: skip
        file("pem").rename(self.certificate)
        file("key").rename(self.key)


class Keys:
    """The callers' keys by name."""

    def __init__(self, folder):
        self.path, self.valid = folder / "keys", []
        self.add()

    def add(self):
        self.valid.append(secrets.token_hex(24))
        self.write()
        return self.valid[-1]

    def remove_oldest(self):
        self.valid.pop(0)
        self.write()

    def write(self):
        hash_key = [os.path.abspath(BINARY), "hash-key", "load"]
        lines = [subprocess.run(hash_key, input=key, text=True, check=True, capture_output=True).stdout for key in self.valid]
        beside = self.path.with_suffix(".new")
        beside.touch(mode=0o600)
        beside.write_text("".join(lines))
        beside.rename(self.path)


class NameServer(threading.Thread):
    """Every name has one address, for a second."""

    def __init__(self, address):
        super().__init__(daemon=True)
        self.address = address
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 53))
        self.start()

    def run(self):
        while True:
            query, client = self.socket.recvfrom(512)
            end = 12
            while query[end]:
                end += query[end] + 1
            question, record = query[12 : end + 5], b""
            if query[end + 1 : end + 3] == b"\0\1":
                record = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + socket.inet_aton(self.address)
            counts = b"\0\1" + (b"\0\1" if record else b"\0\0") + b"\0\0\0\0"
            self.socket.sendto(query[:2] + b"\x81\x80" + counts + question + record, client)


def openssl(*arguments):
    return subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, text=True).stdout
