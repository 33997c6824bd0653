#!/usr/bin/env python3
"""run.py: a web page tries to reach the API through the proxy, in a real browser: forms, images, fetch, WebSockets,
navigation, and DNS rebinding. Prints a line per attempt: what came of it, and `ok` or `FAILED`.

Each attempt is made three times. With a key that the page knows it has to reach the upstream, which shows that the
attempt itself works. Without a key it has to be blocked, and the upstream must see nothing. With the page's origin in
ALLOWED_ORIGINS those get through that say who they are (`Origin`).

Needs Chromium (Debian: apt-get install chromium); CHROMIUM, BINARY and SIM name other programs.
"""

import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from harness import BINARY, SIM, Fixture, free_port  # noqa: E402
from servers import Names, page, upstream  # noqa: E402

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
KEY = "a-key-of-16-characters"
# How long a browser may take for a page with all its attempts.
SECONDS = 120
# What a page can read where it reaches the upstream; the others never give anything to read.
READABLE = ("cors", "cors-json", "websocket", "rebound-get", "rebound-json", "rebound-websocket")
# What has an Origin that can be allowed: links, images and navigation have none.
NAMED = ("text", "multipart", "form", "upload-form", "cors", "cors-json", "websocket")


def browse(url, reports, names=None):
    """What the page at this URL reports."""
    profile = tempfile.mkdtemp(prefix="auth-proxy-browser-")
    options = [f"--user-data-dir={profile}", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    options += ["--disable-popup-blocking", "--disable-background-networking", "--disable-component-update"]
    # Only the name that changes its address goes there, addresses and localhost do not.
    options += [f"--proxy-server=socks5://127.0.0.1:{names.port}"] if names else ["--no-proxy-server"]
    with open(os.path.join(profile, "log"), "wb") as log:
        command = [CHROMIUM, *options, url]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        return reports.get(timeout=SECONDS)
    except queue.Empty:
        with open(os.path.join(profile, "log"), errors="replace") as log:
            raise SystemExit(f"no report from {url} within {SECONDS} s:\n{log.read()[-2000:]}") from None
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        shutil.rmtree(profile, ignore_errors=True)


class Browser:
    """Pages in a browser, a proxy and an upstream that records; counts what is not as it should be."""

    def __init__(self, fixture):
        self.fixture, self.upstream, self.page = fixture, upstream(), page()
        self.failed = 0

    def elsewhere(self, title, host, settings, suffix, reaching):
        """A page on another port, under this host name."""
        proxy = self.fixture.proxy({**self.settings(), **settings})
        target = "http://127.0.0.1:%d" % proxy.address[1]
        url = f"http://{host}:{self.page.port}/?" + self.query("elsewhere", target, suffix)
        self.judge(f"{title}, page on http://{host}", browse(url, self.page.reports), reaching)

    def rebound(self, title, settings, suffix, reaching):
        """A page on the proxy's own port, whose name gets the proxy's address once it is loaded."""
        port = free_port()
        names = Names("127.0.0.2")
        own = page(("127.0.0.2", port), rebind=lambda: setattr(names, "address", "127.0.0.1"))
        self.fixture.proxy({**self.settings(), **settings, "PORT": str(port)})
        url = f"http://rebind.test:{port}/?" + self.query("rebound", f"http://rebind.test:{port}", suffix)
        self.judge(f"{title}, DNS rebinding", browse(url, self.page.reports, names), reaching)
        own.shutdown()

    def settings(self):
        return {"API_BASE_URL": f"http://127.0.0.1:{self.upstream.port}"}

    def query(self, kind, target, suffix):
        report = f"http://127.0.0.1:{self.page.port}/report"
        return urllib.parse.urlencode({"kind": kind, "target": target, "suffix": suffix, "report": report})

    def judge(self, title, found, reaching):
        print(title)
        seen, self.upstream.seen[:] = list(self.upstream.seen), []
        for name, read in found.items():
            reached, wanted = name in seen, name in reaching
            has_read = "secret" in (read or "")
            is_right = reached == wanted and has_read == (wanted and name in READABLE)
            self.failed += not is_right
            verdict = ("reached the upstream" + (", response read" if has_read else "")) if reached else "blocked"
            print(f"  {'ok' if is_right else 'FAILED':<6} {name:<17} {verdict}", flush=True)
        strays = sorted(set(seen) - set(found))
        if strays or not set(reaching) <= set(found):
            self.failed += 1
            print(f"  FAILED strays: {strays}, not tried: {sorted(set(reaching) - set(found))}")


def main():
    if not CHROMIUM:
        sys.exit("Chromium is not installed (Debian: apt-get install chromium)")
    for file in (BINARY, SIM):
        if not os.access(file, os.X_OK):
            sys.exit(f"{file} is not there: run `make test-browser`")
    elsewhere = (*NAMED, "image", "script", "style", "frame", "navigation")
    rebound = ("rebound-get", "rebound-json", "rebound-image", "rebound-websocket")
    with Fixture() as fixture:
        browser = Browser(fixture)
        for host in ("127.0.0.1", "localhost"):
            browser.elsewhere("a key that the page knows", host, {"PROXY_API_KEY": KEY}, f"?api-key={KEY}", elsewhere)
            browser.elsewhere("no key", host, {}, "", ())
            origin = f"http://{host}:{browser.page.port}"
            browser.elsewhere("its origin is allowed", host, {"ALLOWED_ORIGINS": origin}, "", NAMED)
        browser.rebound("a key that the page knows", {"PROXY_API_KEY": KEY}, f"?api-key={KEY}", rebound)
        browser.rebound("no key", {}, "", ())
    print(f"{browser.failed} failed")
    sys.exit(bool(browser.failed))


main()
