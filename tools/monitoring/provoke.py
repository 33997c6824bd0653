"""The outages, each in a job of its own, so that all can happen at the same time."""

import contextlib
import datetime
import http.client
import os
import pathlib
import resource
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import urllib.request

from gate import Gate
from harness import BINARY, Fixture, Proxy, eventually, free_port

CRITICAL, WARNING = "critical", "warning"
# How long tokens last where a sign-in has to be waited for; they are renewed after half of it.
TOKEN_SECONDS = 40
# A stream that lasts longer than everything here.
ENDLESS = "/sim/sse?events=100000&pause_ms=500"


class Outage:
    """One job: its instances, what happens to them, and which alerts must come of it."""

    def __init__(self, job, how, alerts, proxies, begin, end, may_fire=(), is_kubernetes=False):
        self.job, self.how, self.begin, self.end = f"auth-proxy-{job}", how, begin, end
        self.alerts = [(f"AuthProxy{name}", severity) for name, severity in alerts]
        # What may follow from it, by when it happens.
        self.may_fire = [(f"AuthProxy{name}", severity) for name, severity in may_fire]
        self.proxies, self.is_kubernetes = proxies, is_kubernetes

    def targets(self):
        """As Prometheus' static_configs: with the labels that pods get, or without, as on VMs."""
        for number, proxy in enumerate(self.proxies):
            labels = {"namespace": "chat", "pod": f"{self.job}-{number}"} if self.is_kubernetes else {}
            yield {"targets": [f"127.0.0.1:{proxy.admin_port}"], "labels": labels}


class Traffic:
    """Requests, each on a connection of its own, from a few threads with a pause in between."""

    def __init__(self, proxy, target, threads=2, pause=0.3, patience=600, connection=http.client.HTTPConnection):
        self.connection = connection
        self.proxy, self.target, self.pause, self.patience, self.threads = proxy, target, pause, patience, threads
        self.streams, self.is_over = set(), threading.Event()

    def begin(self):
        for _ in range(self.threads):
            threading.Thread(target=self.run, daemon=True).start()

    def end(self):
        self.is_over.set()
        for stream in list(self.streams):
            with contextlib.suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)

    def run(self):
        while not self.is_over.is_set():
            connection = self.connection(*self.proxy.address, timeout=self.patience)
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection.connect()
                stream = connection.sock
                self.streams.add(stream)
                connection.request("GET", self.target)
                connection.getresponse().read()
                self.streams.discard(stream)
            connection.close()
            self.is_over.wait(self.pause)


class TlsProxy(Proxy):
    """One that speaks TLS to its callers."""

    def connect(self):
        return ssl._create_unverified_context().wrap_socket(super().connect())


class Outages:
    """Makes them, with the simulators that they need: an ordinary one, one whose tokens do not last, one whose clock is slow."""

    def __init__(self, stack, folder):
        self.folder = folder
        for name, days in (("ends.pem", 2), ("lasts.pem", 365)):
            self.certificate(name, days)
        registered = [option for name in ("ends.pem", "lasts.pem") for option in ("--register", self.path(name))]
        self.sim = stack.enter_context(Fixture(registered))
        short = ["--token-lifetime", str(TOKEN_SECONDS)]
        self.short = stack.enter_context(Fixture(short))
        registered = ["--register", self.short.settings["AZURE_CERTIFICATE_PATH"]]
        self.slow_clock = stack.enter_context(Fixture([*short, "--clock", "-200", *registered]))

    def path(self, name):
        return os.path.join(self.folder, name)

    def certificate(self, name, days):
        """A certificate and its key in one file."""
        key = self.path(f"{name}.key")
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", str(days), "-subj", "/CN=auth-proxy"]
        subprocess.run([*command, "-keyout", key, "-out", self.path(name)], check=True, capture_output=True)
        with open(self.path(name), "a") as file, open(key) as keys:
            file.write(keys.read())

    def old_certificate(self, name, left):
        """The same, of a hundred days, of which `left` are left."""
        folder = tempfile.mkdtemp(dir=self.folder)
        key, request = self.path(f"{name}.key"), os.path.join(folder, "request")
        make = ["openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=auth-proxy", "-keyout", key, "-out", request]
        subprocess.run(make, check=True, capture_output=True)
        for file in ("index.txt", "index.txt.attr"):
            pathlib.Path(folder, file).touch()
        pathlib.Path(folder, "ca.cnf").write_text(
            f"[ca]\ndefault_ca=own\n[own]\ndatabase={folder}/index.txt\nnew_certs_dir={folder}\nrand_serial=yes\n"
            "default_md=sha256\npolicy=any\nx509_extensions=usual\n[any]\ncommonName=supplied\n[usual]\nsubjectAltName=DNS:localhost\n"
        )
        now = datetime.datetime.now(datetime.timezone.utc)
        begin, end = ((now + datetime.timedelta(days=days)).strftime("%y%m%d%H%M%SZ") for days in (left - 100, left))
        sign = ["openssl", "ca", "-batch", "-notext", "-selfsign", "-config", os.path.join(folder, "ca.cnf"), "-keyfile", key]
        dates = ["-startdate", begin, "-enddate", end]
        subprocess.run([*sign, *dates, "-in", request, "-out", self.path(name)], check=True, capture_output=True)
        with open(self.path(name), "a") as file, open(key) as keys:
            file.write(keys.read())

    def replace(self, name, text):
        """In one step, as Kubernetes does it."""
        with open(self.path("new"), "w") as file:
            file.write(text)
        os.rename(self.path("new"), self.path(name))

    def text(self, name):
        with open(self.path(name)) as file:
            return file.read()

    def proxy(self, fixture=None, settings=None, kind=Proxy, **options):
        port = free_port()
        own = {"ADMIN_HOST": "127.0.0.1", "ADMIN_PORT": str(port), "LOG_LEVEL": "info"}
        proxy = kind(fixture or self.sim, {**own, **(settings or {})}, **options)
        proxy.admin_port = port
        return proxy

    def metrics(self, proxy):
        with urllib.request.urlopen(f"http://127.0.0.1:{proxy.admin_port}/metrics", timeout=30) as response:
            return response.read().decode()

    def behind(self, gate, **settings):
        """A proxy whose way to Entra ID is this gate."""
        return self.proxy(self.short, {"AZURE_AUTHORITY_HOST": f"localhost:{gate.port}", **settings})

    def gate(self, fixture, setting):
        """In front of what this setting names."""
        return Gate(int(fixture.settings[setting].rpartition(":")[2]))

    def all(self):
        names = [name for name in dir(self) if name.startswith("outage_")]
        return [getattr(self, name)() for name in names]

    # Signing in.

    def outage_entra_down(self):
        gate = self.gate(self.short, "AZURE_AUTHORITY_HOST")
        alerts = [("TokenRefreshFailing", WARNING), ("NotReady", CRITICAL), ("NotReady", WARNING)]
        proxies = [self.behind(gate), self.behind(gate)]
        how = "Entra ID ends every connection, two pods"
        begin, end = (lambda: gate.set(gate.refuse)), (lambda: gate.set(gate.relay))
        return Outage("entra-down", how, alerts, proxies, begin, end, is_kubernetes=True)

    def outage_one_of_three(self):
        gate, other = self.gate(self.short, "AZURE_AUTHORITY_HOST"), self.gate(self.short, "AZURE_AUTHORITY_HOST")
        proxies = [self.behind(gate), self.behind(other), self.behind(other)]
        alerts = [("TokenRefreshFailing", WARNING), ("NotReady", WARNING)]
        how = "one of three VMs does not reach Entra ID"
        begin, end = (lambda: gate.set(gate.refuse)), (lambda: gate.set(gate.relay))
        return Outage("one-of-three", how, alerts, proxies, begin, end)

    def outage_sign_in_slow(self):
        gate = self.gate(self.short, "AZURE_AUTHORITY_HOST")
        follows = [("TokenRefreshFailing", WARNING), ("NotReady", CRITICAL), ("NotReady", WARNING)]
        how = "Entra ID accepts connections and says nothing"
        begin, end = (lambda: gate.set(gate.hold)), (lambda: gate.set(gate.relay))
        return Outage("sign-in-slow", how, [("SignInSlow", WARNING)], [self.behind(gate)], begin, end, may_fire=follows)

    def outage_clock_wrong(self):
        gate = self.gate(self.short, "AZURE_AUTHORITY_HOST")
        with open(self.path("both-ca.pem"), "w") as both:
            for fixture in (self.short, self.slow_clock):
                with open(fixture.settings["SSL_CERT_FILE"]) as file:
                    shutil.copyfileobj(file, both)
        proxy = self.behind(gate, SSL_CERT_FILE=self.path("both-ca.pem"))
        port = int(self.slow_clock.settings["AZURE_AUTHORITY_HOST"].rpartition(":")[2])
        how = "Entra ID's clock is 200 s behind"
        begin, end = (lambda: gate.set(gate.relay, port)), (lambda: gate.set(gate.relay))
        return Outage("clock", how, [("ClockWrong", WARNING)], [proxy], begin, end, is_kubernetes=True)

    def outage_certificate_expires(self):
        shutil.copy(self.path("lasts.pem"), self.path("certificate.pem"))
        proxy = self.proxy(settings={"AZURE_CERTIFICATE_PATH": self.path("certificate.pem")})
        alerts = [("CertificateExpires", CRITICAL), ("CertificateExpires", WARNING)]
        return Outage(
            "certificate",
            "a certificate of two days",
            alerts,
            [proxy],
            lambda: self.replace("certificate.pem", self.text("ends.pem")),
            lambda: self.replace("certificate.pem", self.text("lasts.pem")),
        )

    def outage_certificate_file_unusable(self):
        shutil.copy(self.path("lasts.pem"), self.path("replaced.pem"))
        proxy = self.proxy(settings={"AZURE_CERTIFICATE_PATH": self.path("replaced.pem")})
        return Outage(
            "certificate-file",
            "the certificate file is replaced by one without a certificate",
            [("CertificateFileUnusable", WARNING)],
            [proxy],
            lambda: self.replace("replaced.pem", "nothing of use\n"),
            lambda: self.replace("replaced.pem", self.text("lasts.pem")),
        )

    # The upstream.

    def responding(self, status, alerts):
        proxy = self.proxy()
        traffic = Traffic(proxy, f"/sim/status/{status}")
        return Outage(f"status-{status}", f"every response is {status}", alerts, [proxy], traffic.begin, traffic.end)

    def outage_forbidden(self):
        return self.responding(403, [("Denied", CRITICAL), ("Denied", WARNING)])

    def outage_not_found(self):
        return self.responding(404, [("Denied", CRITICAL)])

    def outage_upstream_fails(self):
        return self.responding(503, [("UpstreamFails", CRITICAL), ("UpstreamFails", WARNING)])

    def outage_throttled(self):
        return self.responding(429, [("Throttled", WARNING)])

    def through(self, job, how, alert, act, target):
        """Requests through a gate that acts up. It does so for good: the alert ends with the requests."""
        gate = self.gate(self.sim, "API_BASE_URL")
        proxy = self.proxy(settings={"API_BASE_URL": f"https://localhost:{gate.port}"})
        gate.set(*act(gate))
        traffic = Traffic(proxy, target)
        return Outage(job, how, [alert], [proxy], traffic.begin, traffic.end)

    def outage_upstream_errors(self):
        how = "the upstream ends every connection"
        return self.through("upstream-errors", how, ("UpstreamErrors", CRITICAL), lambda gate: (gate.refuse,), "/sim/echo")

    def outage_responses_aborted(self):
        how = "connections to the upstream end after 20,000 bytes"
        act = lambda gate: (gate.cut, 20_000)  # noqa: E731
        return self.through("aborted", how, ("ResponsesAborted", WARNING), act, "/sim/bytes/100000")

    def outage_upstream_silent(self):
        proxy = self.proxy()
        traffic = Traffic(proxy, "/sim/slow?ms=600000", threads=8)
        how = "eight requests, and the upstream says nothing"
        return Outage("silent", how, [("UpstreamSilent", CRITICAL)], [proxy], traffic.begin, traffic.end)

    # Callers.

    def outage_refuses_callers(self):
        key = "a-key-of-16-characters"
        proxy = self.proxy(settings={"PROXY_API_KEY": key})
        # Those with the key are for the dashboard.
        traffic = [Traffic(proxy, "/sim/echo"), Traffic(proxy, f"/sim/status/418?api-key={key}")]
        begin, end = (lambda: [it.begin() for it in traffic]), (lambda: [it.end() for it in traffic])
        return Outage("callers", "requests without the key", [("RefusesCallers", WARNING)], [proxy], begin, end)

    def outage_tls_handshakes_fail(self):
        self.certificate("tls.pem", 2)
        settings = {"TLS_CERT_FILE": self.path("tls.pem"), "TLS_KEY_FILE": self.path("tls.pem")}
        proxy = self.proxy(settings=settings, kind=TlsProxy)
        traffic = Traffic(proxy, "/sim/echo", connection=http.client.HTTPSConnection)
        how = "clients that do not trust the certificate"
        return Outage("tls", how, [("TlsHandshakesFail", WARNING)], [proxy], traffic.begin, traffic.end)

    def tls_replaced(self, job, how, alerts, by):
        """The pair towards callers is replaced by this text, and by a good one in the end."""
        name = f"{job}.pem"
        shutil.copy(self.path("lasts.pem"), self.path(name))
        settings = {"TLS_CERT_FILE": self.path(name), "TLS_KEY_FILE": self.path(name)}
        proxy = self.proxy(settings=settings, kind=TlsProxy)
        begin, end = (lambda: self.replace(name, by)), (lambda: self.replace(name, self.text("lasts.pem")))
        return Outage(job, how, alerts, [proxy], begin, end)

    def outage_tls_certificate_expires(self):
        self.old_certificate("old.pem", 1)
        alerts = [("TlsCertificateExpires", CRITICAL), ("TlsCertificateExpires", WARNING)]
        how = "a TLS certificate of a hundred days, of which one is left"
        return self.tls_replaced("tls-expires", how, alerts, self.text("old.pem"))

    def outage_tls_files_unusable(self):
        how = "the TLS certificate is replaced by a file without one"
        return self.tls_replaced("tls-files", how, [("TlsFilesUnusable", WARNING)], "nothing of use\n")

    def outage_clients_disconnect(self):
        proxy = self.proxy()
        traffic = Traffic(proxy, "/sim/slow?ms=3000", patience=0.3)
        how = "clients that hang up after 0.3 s"
        return Outage("disconnects", how, [("ClientsDisconnect", WARNING)], [proxy], traffic.begin, traffic.end)

    # The process.

    def outage_down(self):
        proxy = self.proxy()

        def restart():
            settings = {"ADMIN_HOST": "127.0.0.1", "ADMIN_PORT": str(proxy.admin_port), "PORT": str(proxy.address[1])}
            Proxy(self.sim, settings)

        def kill():
            proxy.process.kill()

        alerts = [("Down", CRITICAL), ("Down", WARNING)]
        return Outage("down", "the process is killed", alerts, [proxy], kill, restart, is_kubernetes=True)

    def outage_overloaded(self):
        proxy = self.proxy(settings={"MAX_CONNECTIONS": "16"})
        streams, others = Traffic(proxy, ENDLESS, threads=16), Traffic(proxy, "/sim/echo")

        def begin():
            streams.begin()
            others.begin()

        def end():
            streams.end()
            others.end()

        alerts = [("Overloaded", CRITICAL), ("Overloaded", WARNING), ("ConnectionsNearLimit", WARNING)]
        how = "16 streams, MAX_CONNECTIONS=16, and more requests"
        return Outage("overloaded", how, alerts, [proxy], begin, end, is_kubernetes=True)

    def outage_descriptors(self):
        proxy = self.proxy()
        before = resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE)
        streams = Traffic(proxy, ENDLESS, threads=15)

        def begin():
            # 15 streams take 30 descriptors, so that four more are less than a fifth. Nobody may come later: it would be refused.
            streams.begin()
            eventually(60, "the streams", lambda: "\nauth_proxy_streams_open 15\n" in self.metrics(proxy))
            resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, (proxy.figures()[2] + 4, before[1]))

        def end():
            resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, before)
            streams.end()

        how = "15 streams, and four descriptors left"
        return Outage("descriptors", how, [("DescriptorsNearLimit", WARNING)], [proxy], begin, end)

    def outage_log_lost(self):
        fifo = self.path("log")
        os.mkfifo(fifo)
        # Both ends, so that opening waits for nobody.
        reader = os.open(fifo, os.O_RDWR)
        proxy = self.proxy(settings={"LOG_LEVEL": "debug"}, command=["sh", "-c", f'exec "{BINARY}" 2>"{fifo}"'])
        traffic = Traffic(proxy, "/sim/echo", threads=4, pause=0.01)

        def end():
            traffic.end()
            threading.Thread(target=drain, args=(reader,), daemon=True).start()

        return Outage("log", "nobody reads standard error", [("LogLost", WARNING)], [proxy], traffic.begin, end)


def drain(descriptor):
    while os.read(descriptor, 65536):
        pass
