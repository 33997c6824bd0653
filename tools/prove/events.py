"""The events, in the order in which they happen. Each does what its row says, waits until the program has noticed, and returns
a remark. It raises when the event itself had no effect, since a row without its event would prove nothing.
"""

import contextlib
import os
import resource
import socket
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
    # What may fail, in words, and whether these outcomes of requests and streams are that: none, unless the event takes them.
    allowed: str = ""
    may_fail: typing.Callable = lambda run, requests, streams: not requests and not streams
    # Connections of callers end in good order, so that a request may meet its end.
    may_repeat: bool = False


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
    since = run.rig.proxy.mark()
    run.rig.credentials.link(volume / "certificate.pem")
    # The second sign-in from now on has read the volume.
    run.rig.proxy.logged("token refreshed", since, 2 * run.form.refresh_in + 30, times=2)
    sha1, swap = publish("..2")
    used(run, sha1, swap)
    run.rig.credentials.back_to_file((volume / "certificate.pem").read_text())


def directory(run):
    """`tls.crt`, and `tls.key` when the program has seen that they do not fit."""
    folder = run.rig.dir / f"directory-{run.rig.credentials.count}"
    folder.mkdir()

    def write(name, text):
        (folder / f"{name}.new").write_text(text)
        (folder / f"{name}.new").rename(folder / name)

    key, certificate, sha1 = run.rig.credentials.new()
    write("tls.crt", certificate)
    write("tls.key", key)
    used(run, sha1, lambda: run.rig.credentials.link(folder))
    key, certificate, sha1 = run.rig.credentials.new()
    since = run.rig.proxy.mark()
    write("tls.crt", certificate)
    run.rig.proxy.logged("still_in_use=", since, 30)
    used(run, sha1, lambda: write("tls.key", key))
    run.rig.credentials.back_to_file(key + certificate)


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
    run.rig.credentials.back_to_file((run.rig.dir / "pfx.pem").read_text())


def link_changed(run):
    key, certificate, sha1 = run.rig.credentials.new()
    file = run.rig.dir / f"other-{sha1}.pem"
    file.write_text(key + certificate)
    used(run, sha1, lambda: run.rig.credentials.link(file))
    run.rig.credentials.back_to_file(key + certificate)


def used(run, sha1, replace):
    """Replaces it, and waits for a token that was got with it, and some more of that life."""
    proxy, since = run.rig.proxy, run.rig.proxy.mark()
    replace()
    proxy.logged(f"certificate_sha1={sha1}", since, 30)
    line = proxy.text(since).index(f"certificate_sha1={sha1}")
    refreshed = lambda: "token refreshed" in proxy.text(since)[line:]
    eventually(30, "a token with it", refreshed)
    time.sleep(run.form.after)
    assert "token refresh failed" not in proxy.text(since), "a sign-in failed"


def garbage(run):
    """The old pair stays in use, and the log says why."""
    good, proxy = run.rig.credentials.file.read_bytes(), run.rig.proxy
    for bad in (os.urandom(2000), b"", good[: len(good) // 2]):
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
    since = proxy.mark()
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
        during, over, end = proxy.text(since), proxy.mark(), time.monotonic()
        assert noticed in during, "the outage was not noticed"
        # The pause after a permanent error is long, and the request that was slow is still under way.
        got = lambda: any(text in proxy.text(over) for text in ("token refreshed", "token refresh recovered"))
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
    lost = 0
    for _ in range(10):
        before = run.rig.upstream_connections()
        run.rig.reset_idle()
        lost += len(before - run.rig.upstream_connections())
        time.sleep(run.form.after / 10)
    assert lost >= 5, f"the proxy lost only {lost} connections"
    return f"the proxy lost {lost} connections, in ten bursts"


def reset_all(run):
    all_streams_open(run)
    before = run.rig.upstream_connections()
    run.moment = time.monotonic()
    run.rig.sim.command("azure reset all")
    eventually(5, "the connections to be lost", lambda: not before & run.rig.upstream_connections())
    time.sleep(run.form.after)
    assert len(before) >= run.load.streams, f"the proxy had only {len(before)} connections"
    return f"{len(before)} connections"


def lost_with_connections(run, requests, streams):
    """What was under way when all connections were reset."""
    if run.moment is None:
        return False
    is_in_time = all(it.due < run.moment + 1 and it.end < run.moment + 10 for it in requests + streams)
    looks_complete = any("LOOKS COMPLETE" in it.problem for it in streams)
    return is_in_time and len(requests) <= 10 and len(streams) <= run.load.streams and not looks_complete


def names(run):
    """The API moves to another address; idle connections end, so that new ones must be made."""
    if not run.rig.has_names:
        raise Skipped("no network namespace (as root, with `ip`)")
    network, _, last = run.rig.names.address.rpartition(".")
    other = f"{network}.{int(last) + 1}"
    begin = time.monotonic()
    run.rig.names.address = other

    def moved():
        run.rig.reset_idle()
        time.sleep(0.5)
        return any(address == other for _, address in run.rig.upstream_connections())

    eventually(90, "a connection to the new address", moved)
    took = time.monotonic() - begin
    time.sleep(run.form.after)
    return f"the new address was used after {took:.0f} s"


def stopped(run):
    with run.rig.proxy.stopped():
        time.sleep(run.form.stopped)
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
    all_streams_open(run)
    before, since = resource.prlimit(proxy.process.pid, kind), proxy.mark()
    resource.prlimit(proxy.process.pid, kind, (limit, before[1]))
    others = Others(run, 300)
    try:
        proxy.logged(message, since, 30)
        time.sleep(run.form.after)
    finally:
        try:
            said = others.end()
        finally:
            if proxy.process.poll() is None:
                resource.prlimit(proxy.process.pid, kind, before)
    eventually(30, "a new client to be served", lambda: run.ask(run.load.target.key) == 200)
    return f"300 more clients: {said}"


class Others:
    """So many clients besides the load, each with a request that is not finished."""

    def __init__(self, run, count):
        self.run, self.is_over = run, False
        self.sockets, self.states = [], []
        self.threads = [threading.Thread(target=self.client, daemon=True) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def client(self):
        """One that stays until it is refused, or all are over."""
        state = "waited"
        with contextlib.suppress(OSError), self.run.rig.tls(socket.create_connection(self.run.rig.address(), 60)) as stream:
            self.sockets.append(stream)
            stream.do_handshake()
            stream.sendall(self.run.load.target.head("POST", "/openai/v1/chat/completions", 1 << 20) + b"x" * 20000)
            state = "served"
            stream.recv(1000)
        # A response or an end before the end of the request.
        self.states.append(state if self.is_over else "refused")

    def end(self):
        """How many were what, in words."""
        self.is_over = True
        for stream in self.sockets:
            with contextlib.suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(1)
        return ", ".join(f"{self.states.count(state)} {state}" for state in ("served", "refused", "waited"))


def all_streams_open(run):
    eventually(90, "all streams to be open", lambda: run.load.open_streams >= run.load.streams)


def taken_over(run):
    """A second instance on the same socket, then SIGTERM for the first."""
    all_streams_open(run)
    first = run.rig.proxy
    run.rig.proxy = run.rig.instance()
    streams = first.metric("auth_proxy_streams_open")
    assert streams > run.load.streams / 2, f"the first had only {streams} streams"
    first.terminate()
    begin = time.monotonic()
    code = first.ended(120)
    assert code == 0, f"exit code {code}"
    return f"the first ended with code 0 after {time.monotonic() - begin:.0f} s, when its {streams:.0f} streams had"


def restarted(run):
    """SIGTERM, and only then a second instance: new connections wait in the socket's queue."""
    all_streams_open(run)
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
        "every stream, and requests that were under way; none may look complete", lost_with_connections,
    ),  # fmt: skip
    Event("the API's name has another address", names),
    Event("process stopped (SIGSTOP) and continued", stopped),
    Event("no file descriptors left", descriptors),
    Event("no memory left", memory),
    Event("second instance takes over, first one gets SIGTERM", taken_over, may_repeat=True),
    Event("SIGTERM, then a new instance", restarted, may_repeat=True),
)
