"""Managed identities and identity bindings: azure-identity, in Python and JavaScript, gets its tokens from the very endpoints
that auth-proxy is tested with, so that those are not ours alone; and both get a token for the same identity and audience."""

import base64
import json

import shutil

import subprocess
from pathlib import Path

import pytest
from azure.identity import ManagedIdentityCredential, WorkloadIdentityCredential
from conftest import CLIENTS, PROXY, SIMULATOR, TIMEOUT_SCALE, Process, plain_environment, read_env_file, running_proxy

SCOPE = "https://cognitiveservices.azure.com/.default"
EXCHANGE = "api://AzureADTokenExchange/.default"
ARC_KEYS = Path("/var/opt/azcmagent/tokens")

@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """A simulator with the endpoints of managed identities; `ready` is what it says about itself."""
    directory = tmp_path_factory.mktemp("identity")
    file = directory / "env"
    process = Process([SIMULATOR, "--dir", directory, "--env-file", file, "--identity", "127.0.0.1:0"], plain_environment())
    try:
        process.ready = json.loads(process.wait_for(r'^\{.*"ready":\s*true.*$')[0])
        process.settings = read_env_file(file)
        process.directory = directory
        yield process
    finally:
        process.stop()

@pytest.fixture
def arc_keys():
    """The directory that Azure Arc's agent puts its keys into, where this user may have it."""
    made = not ARC_KEYS.parent.exists()
    try:
        ARC_KEYS.mkdir(parents=True, exist_ok=True)
        (ARC_KEYS / ".probe").touch()
        (ARC_KEYS / ".probe").unlink()
    except PermissionError:
        pytest.skip(f"{ARC_KEYS} cannot be made by this user")
    yield
    if made:
        shutil.rmtree(ARC_KEYS.parent)

def claims(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))

def check(settings):
    """What `auth-proxy check` says of its token."""
    run = subprocess.run(
        [PROXY, "check", "--json"], env={**plain_environment(), **settings}, capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stdout + run.stderr
    steps = {step["step"]: step for step in json.loads(run.stdout)["steps"]}
    return steps["sign-in"]["details"]

def javascript(environment, *arguments):
    shutil.copy(Path(__file__).parent / "node/identity.mjs", CLIENTS / "node")
    command = [CLIENTS / "node/bin/node", CLIENTS / "node/identity.mjs", *arguments]
    run = subprocess.run(
        command, env={**plain_environment(), **environment}, capture_output=True, text=True, timeout=60 * TIMEOUT_SCALE
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout.strip()

def ours(machine, variables, client_id):
    keep = ("API_BASE_URL", "SSL_CERT_FILE", "HOST", "PORT")
    settings = {name: machine.settings[name] for name in keep} | variables
    settings["AZURE_TOKEN_CREDENTIALS"] = "ManagedIdentityCredential"
    return settings | ({"AZURE_CLIENT_ID": client_id} if client_id else {})

@pytest.mark.parametrize("assigned", ["system", "user"])
@pytest.mark.parametrize("platform", ["imds", "app_service", "arc"])
def test_managed_identity(machine, monkeypatch, request, platform, assigned):
    if platform == "arc":
        request.getfixturevalue("arc_keys")
        if assigned == "user":
            pytest.skip("the simulated agent is one that knows no user-assigned identities")
    client_id = machine.ready["user_assigned"] if assigned == "user" else None
    for name, value in machine.ready[platform].items():
        monkeypatch.setenv(name, value)
    with ManagedIdentityCredential(**({"client_id": client_id} if client_id else {})) as credential:
        python = claims(credential.get_token(SCOPE).token)
    node = claims(javascript(machine.ready[platform], "managed", client_id or "", SCOPE))
    settings = ours(machine, machine.ready[platform], client_id)
    found = check(settings)
    for other in (python, node):
        assert (other["aud"], other["appid"]) == (found["audience"], found["application"])
    assert found["application"] == (client_id or "system")
    with running_proxy(settings):
        pass

def test_managed_identity_as_federated_credential(machine, monkeypatch):
    client_id = machine.ready["user_assigned"]
    for name, value in machine.ready["imds"].items():
        monkeypatch.setenv(name, value)
    with ManagedIdentityCredential(client_id=client_id) as credential:
        assertion = credential.get_token(EXCHANGE).token
    assert claims(assertion)["aud"] == "api://AzureADTokenExchange"
    settings = {name: value for name, value in machine.settings.items() if name != "AZURE_CERTIFICATE_PATH"}
    found = check({**settings, **machine.ready["imds"], "AZURE_MANAGED_IDENTITY_CLIENT_ID": client_id})
    assert found["application"] == machine.settings["AZURE_CLIENT_ID"]

def test_identity_bindings(machine, monkeypatch):
    """The token request goes to the cluster's proxy, which shows a certificate of its own authority for another name."""
    for name, value in machine.ready["imds"].items():
        monkeypatch.setenv(name, value)
    with ManagedIdentityCredential(client_id=machine.ready["user_assigned"]) as credential:
        file = machine.directory / "federated-token"
        file.write_text(credential.get_token(EXCHANGE).token)
    binding = {
        "AZURE_KUBERNETES_TOKEN_PROXY": f"https://localhost:{machine.ready['token_proxy_port']}",
        "AZURE_KUBERNETES_CA_FILE": str(machine.directory / "cluster-ca.pem"),
        "AZURE_KUBERNETES_SNI_NAME": "cluster.sim.test",
        "AZURE_FEDERATED_TOKEN_FILE": str(file),
    }
    for name, value in binding.items():
        monkeypatch.setenv(name, value)
    ids = {"client_id": machine.settings["AZURE_CLIENT_ID"], "tenant_id": machine.settings["AZURE_TENANT_ID"]}
    with WorkloadIdentityCredential(**ids, enable_azure_proxy=True) as credential:
        python = claims(credential.get_token(SCOPE).token)
    node = claims(javascript({**binding, **{f"AZURE_{name.upper()}": value for name, value in ids.items()}}, "bindings", "", SCOPE))
    settings = {name: value for name, value in machine.settings.items() if name != "AZURE_CERTIFICATE_PATH"}
    # Nothing listens there: no request for a token goes to the authority.
    found = check({**settings, **binding, "AZURE_AUTHORITY_HOST": "127.0.0.1:1"})
    for other in (python, node):
        assert (other["aud"], other["appid"]) == (found["audience"], found["application"])
