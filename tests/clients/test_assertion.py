"""The sign-in that really goes over the wire, against a small authority of our own and independent verifiers."""

import base64
import json
import queue
import subprocess
import threading
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest
from azure.identity import CertificateCredential
from conftest import TIMEOUT_SCALE, running_proxy
from verify_assertion import encode, verify, verify_with_cryptography

CLIENT = "6731de76-14a6-49ae-97bc-6eba6914391e"
TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"


class Authority(ThreadingHTTPServer):
    """Responds to every token request, after as many failures as asked for, and keeps what it received."""

    def __init__(self, failures=0):
        super().__init__(("127.0.0.1", 0), self.Handler)
        self.failures = failures
        self.received = queue.Queue()
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=[0.02], daemon=True).start()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            self.server.received.put((self.path, self.headers, parse_qs(body, strict_parsing=True)))
            self.server.failures -= 1
            failed = self.server.failures >= 0
            response = {"token_type": "Bearer", "expires_in": 3599, "access_token": "a.b.c"}
            body = json.dumps({"error": "temporarily_unavailable"} if failed else response).encode()
            self.send_response(503 if failed else 200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """One file with key and certificate, and the certificate alone."""
    directory = tmp_path_factory.mktemp("certificate")
    key, public, both = directory / "key.pem", directory / "public.pem", directory / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=clients"]
    subprocess.run([*command, "-keyout", key, "-out", public], check=True, capture_output=True)
    both.write_bytes(public.read_bytes() + key.read_bytes())
    both.chmod(0o600)
    return both, public.read_bytes()


@pytest.fixture
def sign_in(certificate):
    """Runs the proxy until it has a token; returns what the authority received, request by request."""
    with ExitStack() as started:

        def run(failures=0, **settings):
            authority = Authority(failures)
            started.callback(authority.server_close)
            started.callback(authority.shutdown)
            environment = {
                "AZURE_CLIENT_ID": CLIENT,
                "AZURE_TENANT_ID": TENANT,
                "AZURE_CERTIFICATE_PATH": str(certificate[0]),
                "AZURE_AUTHORITY_HOST": authority.url,
                # Never asked for anything.
                "API_BASE_URL": "http://127.0.0.1:9",
                **settings,
            }
            started.enter_context(running_proxy(environment))
            return authority.url, [authority.received.get(timeout=20 * TIMEOUT_SCALE) for _ in range(failures + 1)]

        yield run


def test_the_request_is_the_documented_one(sign_in):
    _, [(path, headers, form)] = sign_in()
    assert path == f"/{TENANT}/oauth2/v2.0/token"
    assert headers.get_content_type() == "application/x-www-form-urlencoded"
    [assertion] = form.pop("client_assertion")
    assert assertion.count(".") == 2
    assert form == {
        "client_id": [CLIENT],
        "scope": ["https://cognitiveservices.azure.com/.default"],
        "client_assertion_type": ["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"],
        "grant_type": ["client_credentials"],
    }


@pytest.mark.parametrize("algorithm", ["PS256", "RS256"])
def test_independent_tools_accept_the_assertion(sign_in, certificate, algorithm):
    url, [(path, _, form)] = sign_in(AZURE_ASSERTION_ALGORITHM=algorithm)
    verify(form["client_assertion"][0], certificate[1], url + path, CLIENT, algorithm)


def test_every_attempt_has_an_assertion_of_its_own(sign_in, certificate):
    url, attempts = sign_in(failures=2)
    claims = [verify(form["client_assertion"][0], certificate[1], url + path, CLIENT) for path, _, form in attempts]
    assert len({claim["jti"] for claim in claims}) == 3


def test_the_chain_goes_along_when_asked_for(sign_in, certificate):
    _, [(_, _, form)] = sign_in(AZURE_CLIENT_SEND_CERTIFICATE_CHAIN="true")
    header = json.loads(base64.urlsafe_b64decode(form["client_assertion"][0].split(".")[0] + "=="))
    der = "".join(certificate[1].decode().split("-----")[2].split())
    assert header.keys() == {"alg", "typ", "x5t#S256", "x5c"}
    assert header["x5c"] == [der]


PASSWORD = "correct horse battery"
OLD_PFX = ["-legacy", "-keypbe", "PBE-SHA1-3DES", "-macalg", "sha1"]
# How openssl encrypts key and certificate; what follows PEM's commands is the certificate alone.
FORMS = {
    "pfx": ["pkcs12", "-export"],
    "pfx-legacy": ["pkcs12", "-export", *OLD_PFX, "-certpbe", "PBE-SHA1-RC2-40"],
    "pfx-3des": ["pkcs12", "-export", *OLD_PFX, "-certpbe", "PBE-SHA1-3DES"],
    "pem-pkcs8": ["pkcs8", "-topk8"],
    "pem-scrypt": ["pkcs8", "-topk8", "-scrypt"],
    "pem-dek-info": ["pkey", "-traditional", "-aes256"],
}


@pytest.mark.parametrize("form", FORMS)
def test_azure_identity_opens_the_same_encrypted_files(sign_in, certificate, tmp_path, form):
    both, public = certificate
    path = tmp_path / form
    command = ["openssl", *FORMS[form], "-in", both, "-passout", f"pass:{PASSWORD}"]
    written = subprocess.run(command, check=True, capture_output=True).stdout
    path.write_bytes(written + (public if form.startswith("pem") else b""))

    credential = CertificateCredential(TENANT, CLIENT, certificate_path=str(path), password=PASSWORD)
    with pytest.raises(ValueError):
        CertificateCredential(TENANT, CLIENT, certificate_path=str(path), password="wrong")

    settings = {"AZURE_CERTIFICATE_PATH": str(path), "AZURE_CLIENT_CERTIFICATE_PASSWORD": PASSWORD}
    url, [(request, _, body)] = sign_in(AZURE_ASSERTION_ALGORITHM="RS256", **settings)
    [assertion] = body["client_assertion"]
    verify(assertion, public, url + request, CLIENT, "RS256")
    header = json.loads(base64.urlsafe_b64decode(assertion.split(".")[0] + "=="))
    thumbprint = base64.urlsafe_b64decode(header["x5t"] + "==").hex()
    assert thumbprint == credential._client_credential["thumbprint"]


def test_the_verifier_itself_is_strict(certificate):
    """It refuses another salt length, and padding: else the tests above would show little."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding

    key = serialization.load_pem_private_key(certificate[0].read_bytes(), None)
    for salt, accepted in ((32, True), (20, False)):
        signature = key.sign(b"x", padding.PSS(padding.MGF1(hashes.SHA256()), salt), hashes.SHA256())
        if accepted:
            verify_with_cryptography(key.public_key(), b"x", signature, "PS256")
        else:
            with pytest.raises(InvalidSignature):
                verify_with_cryptography(key.public_key(), b"x", signature, "PS256")
    with pytest.raises(AssertionError):
        verify(f"{encode(b'{}')}=.{encode(b'{}')}.{encode(b'x')}", certificate[1], "", CLIENT)
