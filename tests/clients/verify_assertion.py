"""Checks a client assertion with PyJWT, cryptography and openssl: nothing of the program's own.

    python verify_assertion.py certificate.pem assertion.txt TOKEN_URL CLIENT_ID [PS256|RS256]
"""

import base64
import hashlib
import re
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

THUMBPRINT = {"PS256": ("x5t#S256", hashlib.sha256), "RS256": ("x5t", hashlib.sha1)}
CLAIMS = {"aud", "iss", "sub", "jti", "iat", "nbf", "exp"}
LIFETIME = 600


def verify(assertion, certificate_pem, token_url, client_id, algorithm="PS256"):
    """Returns the claims of an assertion that is exactly as documented; raises AssertionError or InvalidTokenError."""
    # Strict base64url: no padding, nothing around it.
    assert re.fullmatch(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", assertion), assertion
    certificate = x509.load_pem_x509_certificate(certificate_pem)

    header = jwt.get_unverified_header(assertion)
    name, digest = THUMBPRINT[algorithm]
    thumbprint = digest(certificate.public_bytes(serialization.Encoding.DER)).digest()
    assert header == {"alg": algorithm, "typ": "JWT", name: encode(thumbprint)}, header

    claims = jwt.decode(
        assertion,
        certificate.public_key(),
        algorithms=[algorithm],
        audience=token_url,
        issuer=client_id,
        options={"require": sorted(CLAIMS), "strict_aud": True},
    )
    assert claims.keys() == CLAIMS, claims
    assert claims["sub"] == client_id, claims
    assert all(type(claims[date]) is int for date in ("iat", "nbf", "exp")), claims
    assert (claims["nbf"], claims["exp"]) == (claims["iat"], claims["iat"] + LIFETIME), claims
    assert str(uuid.UUID(claims["jti"])) == claims["jti"] and uuid.UUID(claims["jti"]).version == 4, claims

    signed, _, signature = assertion.rpartition(".")
    verify_with_cryptography(certificate.public_key(), signed.encode(), decode(signature), algorithm)
    verify_with_openssl(certificate.public_key(), signed.encode(), decode(signature), algorithm)
    return claims


def verify_with_cryptography(key, signed, signature, algorithm):
    """The salt length is given, not found out: another one is an error."""
    if algorithm == "PS256":
        scheme = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
    else:
        scheme = padding.PKCS1v15()
    key.verify(signature, signed, scheme, hashes.SHA256())


def verify_with_openssl(key, signed, signature, algorithm):
    pss = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"] if algorithm == "PS256" else []
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        (directory / "key.pem").write_bytes(pem)
        (directory / "signature").write_bytes(signature)
        command = ["openssl", "dgst", "-sha256", *pss, "-verify", directory / "key.pem"]
        command += ["-signature", directory / "signature"]
        result = subprocess.run(command, input=signed, capture_output=True)
    assert (result.returncode, result.stdout.strip()) == (0, b"Verified OK"), result


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


if __name__ == "__main__":
    certificate_file, assertion_file, *rest = sys.argv[1:]
    print(verify(Path(assertion_file).read_text().strip(), Path(certificate_file).read_bytes(), *rest))
