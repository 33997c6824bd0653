"""The npm packages: each file in node/ is run by Node's own test runner, against the same proxies as the Python SDKs."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import CLIENTS, TIMEOUT_SCALE, PAUSE_MS, plain_environment

SOURCES = Path(__file__).parent / "node"


@pytest.mark.parametrize("name, at_least", [("openai.test.mjs", 26), ("ai.test.mjs", 21)])
def test_npm(proxy, proxy_to_aimock, name, at_least):
    # A module finds its packages beside itself.
    for source in SOURCES.glob("*.mjs"):
        shutil.copy(source, CLIENTS / "node")
    environment = {"PROXY_URL": proxy.url, "AIMOCK_PROXY_URL": proxy_to_aimock.url, "PAUSE_MS": str(PAUSE_MS)}
    command = [CLIENTS / "node/bin/node", "--test", "--test-reporter=tap", CLIENTS / "node" / name]
    run = subprocess.run(
        command,
        env={**plain_environment(), **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240 * TIMEOUT_SCALE,
    )
    counts = dict(re.findall(r"^# (pass|fail|cancelled|skipped) (\d+)$", run.stdout, re.MULTILINE))
    assert run.returncode == 0 and int(counts["pass"]) >= at_least, run.stdout
    assert (counts["fail"], counts["cancelled"], counts["skipped"]) == ("0", "0", "0"), run.stdout
