#!/usr/bin/env python3
"""run.py: a Prometheus with our alert rules watches the program while each alert is provoked, all at the same time, each in a
job of its own. Prints a line per alert: how it was provoked, after how long it fired, and after how long it was resolved when
the cause was gone. Fails when one does not fire, fires for another job or more than once, or stays.

The rules are those of deploy/monitoring, with shorter times (SHORTER). What nobody can provoke is named at the end, with why;
that such an alert fires is tested by promtool alone (rules_test.yml).

Needs prometheus and promtool (Debian: apt-get install prometheus); PROMETHEUS, BINARY and SIM name other programs.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))
from harness import BINARY, SIM, eventually, free_port  # noqa: E402
from provoke import Outages  # noqa: E402

PROMETHEUS = os.environ.get("PROMETHEUS") or shutil.which("prometheus")
RULES, DASHBOARD = (os.path.join(HERE, "..", "..", "deploy", "monitoring", name) for name in ("rules.yml", "dashboard.json"))
NOT_PROVOKED = {"AuthProxyPanicked": "no request is known that makes a thread panic"}
# What takes minutes or hours takes seconds here. Everything else is as it is shipped.
SHORTER = [(r"for: \d+[mh]", "for: 4s"), (r"\[\d+[mh]\]", "[30s]"), (r"oldest_wait_seconds\) > 120", "oldest_wait_seconds) > 10")]
# How long all is well before it begins, and how long an alert may take.
QUIET, PATIENCE = 10, 180


class Prometheus:
    def __init__(self, folder, outages):
        self.port = free_port()
        with open(RULES) as file:
            rules = file.read()
        self.names = set(re.findall("alert: (.*)", rules))
        for pattern, shorter in SHORTER:
            rules, count = re.subn(pattern, shorter, rules)
            assert count, f"{pattern} is not in rules.yml"
        self.write(folder, "rules.yml", rules)
        jobs = [{"job_name": outage.job, "static_configs": list(outage.targets())} for outage in outages]
        settings = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        # YAML is what JSON is, too.
        config = {"global": settings, "rule_files": ["rules.yml"], "scrape_configs": jobs}
        file = self.write(folder, "prometheus.yml", json.dumps(config))
        command = [PROMETHEUS, f"--config.file={file}", f"--web.listen-address=127.0.0.1:{self.port}"]
        log = open(os.path.join(folder, "prometheus.log"), "wb")
        command.append(f"--storage.tsdb.path={os.path.join(folder, 'data')}")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def write(self, folder, name, text):
        path = os.path.join(folder, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def ask(self, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}", timeout=30) as response:
                return json.load(response)["data"]
        except urllib.error.URLError:
            assert self.process.poll() is None, "prometheus has ended"
            return None

    def query(self, expression):
        return self.ask("query?query=" + urllib.parse.quote(expression))

    def sees(self, count):
        """Whether that many instances are there and respond."""
        found = self.query("sum(up)")
        return found and found["result"] and int(found["result"][0]["value"][1]) == count

    def firing(self):
        """The annotations of what fires, by job, name and severity: one for each alert."""
        found = {}
        for alert in self.ask("alerts")["alerts"]:
            labels = alert["labels"]
            if alert["state"] == "firing":
                key = (labels["job"], labels["alertname"], labels["severity"])
                found.setdefault(key, []).append((labels, alert["annotations"]))
        return found


def empty_panels(prometheus):
    """The dashboard's queries that show nothing during all these outages; without those of cAdvisor, which is not here, and of
    the memory limit, which a machine may lack."""
    with open(DASHBOARD) as file:
        panels = json.load(file)["panels"]
    for panel in panels:
        for target in panel.get("targets", []):
            expression = target["expr"].replace("$__rate_interval", "30s")
            for variable in ("namespace", "job", "instance"):
                expression = expression.replace(f"${variable}", ".*")
            is_elsewhere = "container_" in expression or "memory_limit_bytes" in expression
            if not is_elsewhere and not prometheus.query(expression)["result"]:
                yield f"{panel['title']}: {target['expr']}"


class Watch:
    """What has fired when, and what is wrong with it."""

    def __init__(self, prometheus, outages):
        self.prometheus, self.problems = prometheus, []
        self.expected = {(outage.job, *alert): outage for outage in outages for alert in outage.alerts}
        self.allowed = {(outage.job, *alert) for outage in outages for alert in outage.may_fire}
        self.fired, self.resolved, self.began, self.ended = {}, {}, {}, {}

    def problem(self, text):
        if text not in self.problems:
            self.problems.append(text)

    def once(self):
        now, firing = time.monotonic(), self.prometheus.firing()
        for key, alerts in firing.items():
            if key not in self.expected:
                if key not in self.allowed:
                    self.problem(f"{' '.join(key)} fires for no reason: {[labels for labels, _ in alerts]}")
                continue
            self.fired.setdefault(key, now)
            self.resolved.pop(key, None)
            if len(alerts) > 1:
                self.problem(f"{' '.join(key)} fires {len(alerts)} times")
            for labels, annotations in alerts:
                if self.expected[key].is_kubernetes != ("namespace" in labels):
                    self.problem(f"{' '.join(key)} has the labels {labels}")
                if "<" in "".join(annotations.values()) or "RUNBOOKS/" not in annotations["runbook_url"]:
                    self.problem(f"{' '.join(key)} has the annotations {annotations}")
        for key in self.fired:
            if key not in firing and key[0] in self.ended:
                self.resolved.setdefault(key, now)
            elif key not in firing:
                self.problem(f"{' '.join(key)} stopped firing while its cause was there")

    def until(self, seconds, condition):
        """Watches until it holds; what is missing then is not hidden by an exception."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.once()
            if condition():
                return
            time.sleep(0.5)

    def report(self):
        """A line for each alert; returns how many failed."""
        failed = len(self.problems)
        for key, outage in sorted(self.expected.items(), key=lambda item: item[0][1:]):
            job, name, severity = key
            fired, resolved = self.fired.get(key), self.resolved.get(key)
            verdict = "ok" if fired and resolved else "FAILED"
            failed += verdict != "ok"
            after = f"fired after {fired - self.began[job]:.0f} s" if fired else "did not fire"
            since = f"resolved after {resolved - self.ended[job]:.0f} s" if resolved else "was not resolved"
            print(f"  {verdict:<7} {name} ({severity}): {outage.how}: {after}, {since}")
        for problem in self.problems:
            print(f"  FAILED  {problem}")
        return failed


def main():
    if not PROMETHEUS:
        sys.exit("Prometheus is not installed (Debian: apt-get install prometheus)")
    for file in (BINARY, SIM):
        if not os.access(file, os.X_OK):
            sys.exit(f"{file} is not there: run `make test-monitoring`")
    with contextlib.ExitStack() as stack:
        folder = tempfile.mkdtemp(prefix="auth-proxy-monitoring-")
        stack.callback(shutil.rmtree, folder)
        outages = Outages(stack, folder).all()
        prometheus = stack.enter_context(Prometheus(folder, outages))
        count = sum(len(outage.proxies) for outage in outages)
        eventually(60, f"{count} instances in Prometheus", lambda: prometheus.sees(count))
        watch = Watch(prometheus, outages)
        # Nothing is expected yet: an alert that fires now would fire for no reason.
        expected, watch.expected = watch.expected, {}
        watch.until(QUIET, lambda: False)
        watch.expected = expected
        for outage in outages:
            outage.begin()
            watch.began[outage.job] = time.monotonic()
        watch.until(PATIENCE, lambda: set(watch.fired) == set(watch.expected))
        for empty in empty_panels(prometheus):
            watch.problem(f"the dashboard shows nothing in {empty}")
        for outage in outages:
            outage.end()
            watch.ended[outage.job] = time.monotonic()
        watch.until(PATIENCE, lambda: set(watch.resolved) == set(watch.fired))
        failed = watch.report()
    for name, why in NOT_PROVOKED.items():
        print(f"  skipped {name}: {why}; promtool alone")
    untested = prometheus.names - {name for _, name, _ in watch.expected} - set(NOT_PROVOKED)
    for name in sorted(untested):
        print(f"  FAILED  {name} is neither provoked nor excused")
    print(f"{len(watch.expected)} provoked on {count} instances, {failed + len(untested)} failed")
    sys.exit(bool(failed or untested))


main()
