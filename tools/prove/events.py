"""The events, in the order in which they happen. Each does what its row says, waits until the program has noticed, and returns
a remark. It raises when the event itself had no effect, since a row without its event would prove nothing.
"""

import os
import resource
import signal
import socket
import ssl
import threading
import time
import typing

from harness import Skipped, eventually
from rig import openssl


class Form(typing.NamedTuple):
    """Times in seconds."""

    lifetime: int
    refresh_in: int
    steady: int
    # After an event has had its effect: several tokens, hundreds of requests.
    after: int
    outage: int
    stopped: int
    # How often the whole sequence is gone through.
    rounds: int = 1


# A token serves for nine tenths of its life. An outage of half of it, after which a request that was slow may take its
# 30 s to its end, must leave some of that.
SHORT = Form(lifetime=100, refresh_in=5, steady=10, after=6, outage=50, stopped=10)
LONG = Form(lifetime=450, refresh_in=45, steady=300, after=50, outage=225, stopped=60, rounds=2)


class Event(typing.NamedTuple):
    name: str
    happen: typing.Callable
    # What may fail, in words, and how much of it: requests, streams. None of either, unless the event itself takes them.
    allowed: str = ""
    may_fail: typing.Callable = lambda requests, streams: not requests and not streams


def steady(run):
    time.sleep(run.form.steady)


def in_place(run):
    key, certificate, sha1 = run.rig.credentials.new()
    used(run, sha1, lambda: run.rig.credentials.file.write_text(key + certificate))


def moved_over(run):
    key, certificate, sha1 = run.rig.credentials.new()
    beside = run.rig.credentials.file.with_suffix(".new")
    beside.write_text(key + certificate)
    used(run, sha1, lambda: beside.rename(run.rig.credentials.file))


def kubelet(run):
    """A Secret's volume: `..data` is a link to a folder, replaced in one step; the old folder goes."""
    volume = run.rig.dir / f"volume-{run.rig.credentials.count}"
    volume.mkdir()

    def publish(version):
        key, certificate, sha1 = run.rig.credentials.new()
        old = os.readlink(volume / "..data") if (volume / "..data").is_symlink() else None
        (volume / version).mkdir()
        (volume / version / "certificate.pem").write_text(key + certificate)
        (volume / "..data_tmp").symlink_to(version)

        def swap():
            (volume / "..data_tmp").rename(volume / "..data")
            if old:
                (volume / old / "certificate.pem").unlink()
                (volume / old).rmdir()

        return sha1, swap

    _, swap = publish("..1")
    swap()
    (volume / "certificate.pem").symlink_to("..data/certificate.pem")
    # The volume first has the certificate of before, so that the swap alone makes the difference.
    (volume / "..1" / "certificate.pem").write_text(run.rig.credentials.path.read_text())
    run.rig.credentials.link(volume / "certificate.pem")
    sha1, swap = publish("..2")
    used(run, sha1, swap)


def directory(run):
    """`tls.crt` and `tls.key`, one renamed after the other: in between they do not fit."""
    folder = run.rig.dir / f"directory-{run.rig.credentials.count}"
    folder.mkdir()

    def write(key, certificate):
        for name, text in (("tls.crt", certificate), ("tls.key", key)):
            (folder / f"{name}.new").write_text(text)
            (folder / f"{name}.new").rename(folder / name)

    key, certificate, sha1 = run.rig.credentials.new()
    write(key, certificate)
    used(run, sha1, lambda: run.rig.credentials.link(folder))
    key, certificate, sha1 = run.rig.credentials.new()
    used(run, sha1, lambda: write(key, certificate))


def pfx(run):
    file = run.rig.dir / f"certificate-{run.rig.credentials.count}.pfx"

    def replaced():
        key, certificate, sha1 = run.rig.credentials.new()
        pem, beside = run.rig.dir / "pfx.pem", file.with_suffix(".new")
        pem.write_text(key + certificate)
        openssl("pkcs12", "-export", "-in", pem, "-out", beside, "-passout", "pass:")
        return sha1, lambda: beside.rename(file)

    sha1, replace = replaced()
    replace()
    used(run, sha1, lambda: run.rig.credentials.link(file))
    sha1, replace = replaced()
    used(run, sha1, replace)


def link_changed(run):
    key, certificate, sha1 = run.rig.credentials.new()
    file = run.rig.dir / f"other-{sha1}.pem"
    file.write_text(key + certificate)
    used(run, sha1, lambda: run.rig.credentials.link(file))
    # The next round begins with a file again.
    run.rig.credentials.file.write_text(key + certificate)
    run.rig.credentials.link(run.rig.credentials.file)


def used(run, sha1, replace):
    """Replaces it, and waits for a token that was got with it, and some more of that life."""
    proxy, since = run.rig.proxy, run.rig.proxy.mark()
    replace()
    eventually(30, f"certificate {sha1} in use", lambda: f"certificate_sha1={sha1}" in proxy.text(since))
    proxy.logged("token refreshed", since, 30)
    time.sleep(run.form.after)


def garbage(run):
    """The old pair stays in use, and the log says why."""
    good, proxy = run.rig.credentials.file.read_bytes(), run.rig.proxy
    for number, bad in enumerate((os.urandom(2000), b"", good[: len(good) // 2])):
        since = proxy.mark()
        run.rig.credentials.file.write_bytes(bad)
        proxy.logged("still_in_use=", since, 30)
        since = proxy.mark()
        proxy.logged("token refreshed", since, 2 * run.form.refresh_in + 30)
        since = proxy.mark()
        run.rig.credentials.file.write_bytes(good)
        proxy.logged("is good again", since, 30)
    return "random bytes, empty, cut in half: tokens were renewed with the old one"


def not_uploaded(run):
    """As whatever renews by itself does it: Entra ID does not know the new certificate, and the one before signs in."""
    key, certificate, sha1 = run.rig.credentials.new(is_uploaded=False)
    proxy, since = run.rig.proxy, run.rig.proxy.mark()
    run.rig.credentials.file.write_text(key + certificate)
    proxy.logged("Entra ID does not know the new certificate", since, run.form.lifetime)
    time.sleep(run.form.outage)
    run.rig.credentials.upload()
    proxy.logged("Entra ID accepts the new certificate", since, run.form.lifetime)
    time.sleep(run.form.after)
    return f"for {run.form.outage} s the certificate before signed in"


def outage(command, noticed="token refresh failed"):
    """Entra ID fails in this way, which the program must have `noticed` in its log."""

    def happen(run):
        proxy, since = run.rig.proxy, run.rig.proxy.mark()
        run.rig.sim.command(f"entra {command}")
        time.sleep(run.form.outage)
        run.rig.sim.command("entra normal")
        during, since, end = proxy.text(since), proxy.mark(), time.monotonic()
        assert noticed in during, "the outage was not noticed"
        # The pause after a permanent error is long, and the request that was slow is still under way.
        got = lambda: any(text in proxy.text(since) for text in ("token refreshed", "token refresh recovered"))
        eventually(run.form.lifetime, "a new token", got)
        return f"for {run.form.outage} s; a new token {time.monotonic() - end:.0f} s after its end"

    return happen


def caller_keys(run):
    proxy, keys, target = run.rig.proxy, run.rig.keys, run.load.target
    since, old = proxy.mark(), target.key
    new = keys.add()
    proxy.logged("PROXY_API_KEYS_FILE changed", since, 15)
    target.key = new
    time.sleep(2)
    since = proxy.mark()
    keys.remove_oldest()
    proxy.logged("PROXY_API_KEYS_FILE changed", since, 15)
    status = run.ask(old)
    assert status == 401, f"the old key got {status}"
    time.sleep(run.form.after)
    return "the old key gets 401 afterwards"


def tls_certificate(run):
    before = run.rig.peer_certificate()
    run.rig.authority.issue(int(before, 16) + 1)
    eventually(30, "the new certificate", lambda: run.rig.peer_certificate() != before)
    time.sleep(run.form.after)


def reset_idle(run):
    resets = 0
    for _ in range(10):
        resets += run.rig.sim.command("azure reset idle")
        time.sleep(run.form.after / 10)
    assert resets >= 10, f"only {resets} connections were reset"
    return f"{resets} connections, in ten bursts"


def reset_all(run):
    eventually(60, "all streams to be open", lambda: run.load.open_streams >= run.load.streams)
    resets = run.rig.sim.command("azure reset all")
    assert resets >= run.load.streams, f"only {resets} connections were reset"
    time.sleep(run.form.after)
    return f"{resets} connections"


def names(run):
    """The API moves to another address; idle connections end, so that new ones must be made."""
    if not run.rig.has_names:
        raise Skipped("no network namespace (as root, with `ip`)")
    network, _, last = run.rig.names.address.rpartition(".")
    other = f"{network}.{int(last) + 1}"
    begin = time.monotonic()
    run.rig.names.address = other

    def moved():
        run.rig.sim.command("azure reset idle")
        time.sleep(0.5)
        return run.rig.proxy.connections_to(other)

    eventually(90, "a connection to the new address", moved)
    took = time.monotonic() - begin
    time.sleep(run.form.after)
    return f"the new address was used after {took:.0f} s"


def stopped(run):
    os.kill(run.rig.proxy.process.pid, signal.SIGSTOP)
    time.sleep(run.form.stopped)
    os.kill(run.rig.proxy.process.pid, signal.SIGCONT)
    time.sleep(run.form.after)
    return f"stopped for {run.form.stopped} s"


def descriptors(run):
    """No descriptor is left while 300 more clients want in."""
    proxy = run.rig.proxy
    return short_of(run, resource.RLIMIT_NOFILE, proxy.descriptors() + 20, "reason=descriptors")


def memory(run):
    """300 more clients want in, each with the head of a large upload, and there is room for 20 of them. What the program sets
    aside for those it serves stays: 8 MiB, and 256 KiB for each thread."""
    size, threads = run.rig.proxy.address_space(), run.rig.proxy.threads()
    return short_of(run, resource.RLIMIT_AS, size + (8 << 20) + (threads << 18) + (20 << 20), "reason=memory")


def short_of(run, kind, limit, message):
    proxy = run.rig.proxy
    eventually(60, "all streams to be open", lambda: run.load.open_streams >= run.load.streams)
    before, since = resource.prlimit(proxy.process.pid, kind), proxy.mark()
    resource.prlimit(proxy.process.pid, kind, (limit, before[1]))
    others = Others(run, 300)
    try:
        proxy.logged(message, since, 30)
        time.sleep(run.form.after)
    finally:
        if proxy.process.poll() is None:
            resource.prlimit(proxy.process.pid, kind, before)
        refused = others.end()
    eventually(30, "a new client to be served", lambda: run.ask(run.load.target.key) == 200)
    return f"300 more clients, {refused} of them refused"


class Others:
    """So many clients besides the load, each with a request that is not finished."""

    def __init__(self, run, count):
        self.run, self.opened, self.refused = run, [], 0
        self.threads = [threading.Thread(target=self.client, daemon=True) for _ in range(count)]
        self.over = threading.Event()
        for thread in self.threads:
            thread.start()

    def client(self):
        try:
            with self.run.connect(timeout=10) as connection:
                head = self.run.load.target.head("POST", "/openai/v1/chat/completions", 1 << 20)
                connection.sendall(head + b"x" * 20000)
                self.over.wait()
                connection.settimeout(0.01)
                try:
                    self.refused += bool(connection.recv(1000))
                except TimeoutError:
                    pass
        except OSError:
            self.refused += 1

    def end(self):
        self.over.set()
        for thread in self.threads:
            thread.join()
        return self.refused


def taken_over(run):
    """A second instance on the same socket, then SIGTERM for the first."""
    eventually(60, "all streams to be open", lambda: run.load.open_streams >= run.load.streams)
    first = run.rig.proxy
    run.rig.proxy = run.rig.instance()
    first.terminate()
    begin = time.monotonic()
    code = first.ended(120)
    assert code == 0, f"exit code {code}"
    return f"the first ended with code 0 after {time.monotonic() - begin:.0f} s, when its streams had"


def restarted(run):
    """SIGTERM, and only then a second instance: new connections wait in the socket's queue."""
    eventually(60, "all streams to be open", lambda: run.load.open_streams >= run.load.streams)
    first, since = run.rig.proxy, run.rig.proxy.mark()
    first.terminate()
    first.logged("stopping", since, 10)
    run.rig.proxy = run.rig.instance()
    code = first.ended(120)
    assert code == 0, f"exit code {code}"


EVENTS = (
    Event("nothing", steady),
    Event("certificate written in place", in_place),
    Event("certificate moved over the old one", moved_over),
    Event("certificate in a Secret's volume (`..data` swapped)", kubelet),
    Event("certificate in a directory: `tls.crt`, then `tls.key`", directory),
    Event("PFX replaced", pfx),
    Event("symbolic link to another certificate", link_changed),
    Event("certificate replaced by garbage, three kinds", garbage),
    Event("certificate not uploaded yet", not_uploaded),
    Event("Entra ID refuses connections", outage("refuse")),
    Event("Entra ID accepts connections and says nothing", outage("silent")),
    Event("Entra ID responds 503", outage("status 503")),
    Event("Entra ID refuses for good (AADSTS700016)", outage("aadsts 700016")),
    Event("Entra ID takes 30 s for each token", outage("slow 30", "still waiting for the token endpoint")),
    Event("caller's key replaced, two valid meanwhile", caller_keys),
    Event("TLS certificate towards callers replaced", tls_certificate),
    Event("idle upstream connections reset", reset_idle),
    Event(
        "all upstream connections reset", reset_all,
        "every stream, and requests that were under way; none may look complete",
        lambda requests, streams: len(requests) <= 10 and not any("LOOKS COMPLETE" in it for it in streams),
    ),  # fmt: skip
    Event("the API's name has another address", names),
    Event("process stopped (SIGSTOP) and continued", stopped),
    Event("no file descriptors left", descriptors),
    Event("no memory left", memory),
    Event("second instance takes over, first one gets SIGTERM", taken_over),
    Event("SIGTERM, then a new instance", restarted),
)


def connect(run, timeout):
    """A connection of a client that is not the load's."""
    context = ssl.create_default_context(cafile=run.rig.authority.ca)
    return context.wrap_socket(socket.create_connection(run.rig.address(), timeout), server_hostname="localhost")
