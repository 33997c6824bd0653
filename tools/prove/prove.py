#!/usr/bin/env python3
"""prove.py [--write | EVENT...]: constant load on the release binary while one thing after the other goes wrong or is replaced;
prints a row for each. An event may be named by any part of its name. --write puts all rows into docs/reliability.md.

PROVE=long takes two hours instead of twelve minutes. Nothing is installed; everything that is started is ended. Exit code: 1 when a
row failed, 3 when only the load's own sockets or the machine did.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
import events  # noqa: E402
import report  # noqa: E402
from harness import BINARY, SIM, Skipped  # noqa: E402
from load import Load, Target, head  # noqa: E402
from rig import Rig  # noqa: E402

# The load's event loop was later than this: what was slow then says nothing about the program.
MAX_LAG = 2.0
# What the load sends is what it should send, within this part.
MIN_SENT = 0.95


class Run:
    """One run: the rig, the load, and what events need of both."""

    def __init__(self, rig, load, form):
        self.rig, self.load, self.form = rig, load, form
        # When the thing happened that may take requests with it.
        self.moment = None
        # Where the last row has ended, and the next begins: nothing is lost in between.
        self.end = time.monotonic()

    def ask(self, key):
        """The status that a request of a new client gets; 0 when there is none."""
        try:
            with self.rig.connect() as connection:
                connection.sendall(head("GET", "/openai/v1/models", key))
                return int(connection.recv(100).split()[1])
        except (OSError, IndexError):
            return 0

    def row(self, event, name):
        begin, self.moment = self.end, None
        verdict, remark = "ok", ""
        try:
            remark = event.happen(self) or ""
        except Skipped as why:
            return report.Row(name, "skipped", str(why))
        except Exception as error:  # noqa: BLE001
            traceback.print_exc()
            verdict, remark = "failed", f"{type(error).__name__}: {error}"[:300]
        code = self.rig.proxy.process.poll()
        if code is not None:
            verdict, remark = "failed", f"the process ended with code {code}"
            with contextlib.suppress(AssertionError):
                self.rig.proxy = self.rig.instance()
        end = self.end = time.monotonic()
        requests, streams, control, lag = self.load.between(begin, end)
        failed = [it for it in requests if it.problem and not it.is_ours]
        cut = [it for it in streams if it.problem and not it.is_ours]
        ours = sum(it.is_ours for it in requests + streams)
        repeated = sum(it.is_repeated for it in requests + streams)
        if not event.may_fail(self, failed, cut) or repeated and not event.may_repeat:
            verdict = "failed"
        elif verdict == "ok" and (ours or lag > MAX_LAG):
            verdict = "unclear"
            ours = f"the load itself: {ours} without a socket, {lag:.1f} s late"
            remark = f"{remark}; {ours}" if remark else ours
        if not self.load.is_alive() or len(requests) < MIN_SENT * self.load.rate * (end - begin):
            verdict, remark = "failed", f"the load itself sent only {len(requests)} requests in {end - begin:.0f} s"
        problems = [it.problem for it in failed + cut]
        for problem in sorted(set(problems)):
            print(f"           {problems.count(problem)} × {problem}")
        return report.Row(
            name, verdict, remark, sent=len(requests), failed=len(failed), repeated=repeated,
            slowest=max((it.end - it.due for it in requests), default=0),
            streams=len(streams), cut=len(cut), seconds=end - begin, control=control, lag=lag, allowed=event.allowed,
        )  # fmt: skip


def main(arguments):
    is_written = arguments == ["--write"]
    wanted = [] if is_written else arguments
    for file in (BINARY, SIM):
        if not os.access(file, os.X_OK):
            sys.exit(f"{file} is not there: run `make prove`")
    form = events.LONG if os.environ.get("PROVE") == "long" else events.SHORT
    has_names = os.environ.get("PROVE_NAMES") == "1"
    chosen = [event for event in events.EVENTS if not wanted or any(part in event.name for part in wanted)]
    unknown = [part for part in wanted if not any(part in event.name for event in events.EVENTS)]
    if unknown:
        sys.exit(f"no event is named {', '.join(unknown)}")
    rows = []
    with Rig(form.lifetime, form.refresh_in, has_names) as rig:
        target = Target(rig.address(), rig.authority.ca, rig.keys.valid[0])
        control = Target(("127.0.0.1", rig.sim.ready["azure_port"]), rig.sim.settings["SSL_CERT_FILE"])
        load = Load(target, control)
        load.start()
        run = Run(rig, load, form)
        for number in range(form.rounds * len(chosen)):
            event, already = chosen[number % len(chosen)], number // len(chosen)
            rows.append(run.row(event, event.name + (f", round {already + 1}" if form.rounds > 1 else "")))
            print(rows[-1].line(), flush=True)
            if rows[-1].verdict == "failed":
                report.keep(rig, rows[-1].name)
        load.finish()
    if is_written:
        report.write(rows, form is events.LONG, load)
    verdicts = {row.verdict for row in rows}
    sys.exit(1 if "failed" in verdicts else 3 if "unclear" in verdicts else 0)


def in_namespace(arguments):
    """Runs again in a network namespace with a name server of our own, where that can be had."""
    name = f"auth-proxy-prove-{os.getpid()}"
    config = f"/etc/netns/{name}"
    made = shutil.which("ip") and os.geteuid() == 0
    if not made or subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
        return None
    try:
        os.makedirs(config)
        with open(f"{config}/resolv.conf", "w") as file:
            file.write("nameserver 127.0.0.1\n")
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        command = ["ip", "netns", "exec", name, sys.executable, "-B", __file__, *arguments]
        run = subprocess.Popen(command, env=os.environ | {"PROVE_NAMES": "1"})
        try:
            return run.wait()
        except (KeyboardInterrupt, SystemExit):
            # It ends what it has started.
            run.terminate()
            run.wait()
            raise
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)
        shutil.rmtree(config, ignore_errors=True)
        # Only when nobody else has one.
        try:
            os.rmdir("/etc/netns")
        except OSError:
            pass


if __name__ == "__main__":
    # So that what was started is ended then, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if "PROVE_NAMES" not in os.environ:
        code = in_namespace(sys.argv[1:])
        if code is not None:
            sys.exit(code)
    main(sys.argv[1:])
