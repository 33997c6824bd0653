"""auth-proxy, MSAL Python and azure-identity sign in to the same OpenID provider with the same certificate.

All are accepted; and when audience, key, thumbprint, time or jti are wrong, all are rejected, for the same reason as
the provider gives it. Prints a table; exit code 1 when a row is not as it should be.
"""

import base64
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path

import azure.identity
import msal
import requests

TENANT = "72f988bf-0000-4000-8000-2d7cd011db47"
OTHER_TENANT = "99999999-0000-4000-8000-2d7cd011db47"
CLIENT = "11111111-2222-4333-8444-555555555555"
SCOPE = "https://cognitiveservices.azure.com/.default"
TIMEOUT = 20

# What is wrong: what the provider knows, what the client uses, and why the provider then says no.
KNOWN = {"certificate": "a.crt", "key": "a.key", "clock_ahead": 0}
CASES = [
    ("nothing", {}, "a", TENANT, "accepted"),
    ("audience", {}, "a", OTHER_TENANT, "audience (aud) must equal"),
    ("key", {"key": "b.key"}, "a", TENANT, "signature verification failed"),
    ("thumbprint", {}, "renewed", TENANT, "the thumbprint is not that of the registered certificate"),
    ("time", {"clock_ahead": 7200}, "a", TENANT, "jwt expired"),
]
REPLAYED = "client assertion tokens must only be used once"


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def make_certificates(directory):
    """A key `a` with a certificate and another one for the same key, a key `b`, and the provider's own."""
    for name in "ab":
        openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", directory / f"{name}.key")
    for name, key in [("a", "a"), ("renewed", "a")]:
        openssl("req", "-x509", "-key", directory / f"{key}.key", "-days", 30, "-subj", f"/CN={name}",
                "-out", directory / f"{name}.crt")
        pem = (directory / f"{key}.key").read_text() + (directory / f"{name}.crt").read_text()
        (directory / f"{name}.pem").write_text(pem)
    config = directory / "server.cnf"
    config.write_text("[req]\ndistinguished_name=name\nprompt=no\nx509_extensions=ca\n[name]\nCN=localhost\n"
                      "[ca]\nbasicConstraints=critical,CA:TRUE\n")
    leaf = directory / "leaf.cnf"
    leaf.write_text("basicConstraints=critical,CA:FALSE\nsubjectAltName=DNS:localhost\n")
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", 30, "-config", config,
            "-keyout", directory / "ca.key", "-out", directory / "ca.pem")
    openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-config", config,
            "-keyout", directory / "server.key", "-out", directory / "server.csr")
    openssl("x509", "-req", "-days", 30, "-in", directory / "server.csr", "-CA", directory / "ca.pem",
            "-CAkey", directory / "ca.key", "-set_serial", 2, "-extfile", leaf, "-out", directory / "server.crt")


class Provider:
    def __init__(self, node, directory):
        arguments = [node, os.environ["OIDC_PROVIDER"], directory, TENANT, OTHER_TENANT, CLIENT]
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.origin = self.process.stdout.readline().strip()
        if not self.origin:
            sys.exit("the provider did not start")
        self.ca = str(directory / "ca.pem")

    def change(self, **changes):
        requests.post(f"{self.origin}/control", json={**KNOWN, **changes}, verify=self.ca).raise_for_status()

    def requests(self):
        return requests.get(f"{self.origin}/control", verify=self.ca).json()

    def replay(self, body):
        """Sends a token request that it has seen once more."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        url = f"{self.origin}/{TENANT}/oauth2/v2.0/token"
        return requests.post(url, data=body, headers=headers, verify=self.ca).ok

    def stop(self):
        self.process.stdin.close()
        self.process.wait(TIMEOUT)


def auth_proxy(provider, pem, tenant):
    binary = os.environ["AUTH_PROXY_BIN"]
    environment = {
        "AZURE_CLIENT_ID": CLIENT, "AZURE_TENANT_ID": tenant, "AZURE_CERTIFICATE_PATH": str(pem),
        "AZURE_AUTHORITY_HOST": provider.origin, "SSL_CERT_FILE": provider.ca,
        "API_BASE_URL": "http://127.0.0.1:1", "HOST": "127.0.0.1", "PORT": "0", "LOG_FORMAT": "json",
    }
    process = subprocess.Popen([binary], env=environment, stderr=subprocess.PIPE, text=True)
    try:
        # Each line comes by itself, and these two always do.
        address = None
        for line in process.stderr:
            event = json.loads(line)
            address = address or (event.get("address") if event["message"] == "listening" else None)
            if address and event["message"] in ("token refreshed", "token refresh failed"):
                break
        return requests.get(f"http://{address}/health", timeout=TIMEOUT).ok
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def msal_python(provider, pem, tenant):
    text = pem.read_text()
    start = text.index("-----BEGIN CERTIFICATE")
    session = requests.Session()
    session.verify = provider.ca
    application = msal.ConfidentialClientApplication(
        CLIENT, {"private_key": text[:start], "public_certificate": text[start:]},
        authority=f"{provider.origin}/{tenant}", instance_discovery=False, http_client=session)
    return "access_token" in application.acquire_token_for_client([SCOPE])


def azure_identity(provider, pem, tenant):
    credential = azure.identity.CertificateCredential(
        tenant, CLIENT, str(pem), authority=provider.origin, disable_instance_discovery=True,
        connection_verify=provider.ca)
    try:
        return bool(credential.get_token(SCOPE).token)
    except azure.core.exceptions.ClientAuthenticationError:
        return False


CLIENTS = [auth_proxy, msal_python, azure_identity]


def form(request):
    return dict(urllib.parse.parse_qsl(request["body"]))


def header(request):
    text = form(request)["client_assertion"].split(".")[0]
    fields = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return fields["alg"], "x5t#S256" if "x5t#S256" in fields else "x5t"


def run(provider, directory):
    wrong = 0
    for what, changes, pair, tenant, expected in CASES:
        for client in CLIENTS:
            provider.change(**changes)
            accepted = client(provider, directory / f"{pair}.pem", tenant)
            seen = provider.requests()
            verdicts = sorted({request["verdict"] for request in seen})
            good = len(verdicts) == 1 and expected in verdicts[0] and accepted == (expected == "accepted")
            wrong += row(what, client, header(seen[0]) if seen else "", verdicts, good)
            if expected == "accepted" and seen:
                again = provider.replay(seen[0]["body"])
                verdict = provider.requests()[-1]["verdict"]
                wrong += row("jti", client, header(seen[0]), [verdict], verdict == REPLAYED and not again)
    return wrong


def row(what, client, head, verdicts, good):
    mark = "ok  " if good else "FAIL"
    print(f"{mark} {what:<10} {client.__name__:<15} {' '.join(head):<15} {'; '.join(verdicts)}", flush=True)
    return not good


def main():
    # That most sign-ins fail is the point.
    logging.disable()
    with tempfile.TemporaryDirectory(prefix="auth-proxy-oidc-") as name:
        directory = Path(name)
        make_certificates(directory)
        provider = Provider(sys.argv[1], directory)
        started = time.monotonic()
        try:
            wrong = run(provider, directory)
        finally:
            provider.stop()
        print(f"{wrong} rows are wrong, {time.monotonic() - started:.1f} s")
        sys.exit(wrong > 0)


main()
