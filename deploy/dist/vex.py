"""vex.py OUTPUT.json VERSION IMAGE-DIGEST: the advisories that deny.toml ignores, as OpenVEX statements for scanners: which, and why the
program is not affected. Fails when deny.toml ignores one that has no justification here."""

import datetime
import hashlib
import json
import pathlib
import sys
import tomllib

import archive

# The crate, its advisory under other names, and the reason in OpenVEX's words; the sentence is deny.toml's.
ADVISORIES = {
    "RUSTSEC-2025-0134": ("rustls-pemfile", [], "vulnerable_code_not_present"),
    "RUSTSEC-2023-0071": (
        "rsa",
        ["CVE-2023-49092", "GHSA-c38w-74pg-36hr", "GHSA-4grx-2x9w-596c"],
        "vulnerable_code_cannot_be_controlled_by_adversary",
    ),
}


def main(output, version, digest):
    with open("deny.toml", "rb") as file:
        ignored = {entry["id"]: entry["reason"] for entry in tomllib.load(file)["advisories"]["ignore"]}
    if ignored.keys() != ADVISORIES.keys():
        raise SystemExit(f"deny.toml ignores {sorted(ignored)}, deploy/dist/vex.py justifies {sorted(ADVISORIES)}")
    with open("Cargo.lock", "rb") as file:
        versions = {package["name"]: package["version"] for package in tomllib.load(file)["package"]}
    statements = []
    for advisory, (crate, aliases, justification) in ADVISORIES.items():
        subcomponent = {"@id": f"pkg:cargo/{crate}@{versions[crate]}"}
        names = [f"pkg:cargo/auth-proxy@{version}", f"pkg:oci/auth-proxy@{digest.replace(':', '%3A')}"]
        products = [{"@id": name, "subcomponents": [subcomponent]} for name in names]
        statements.append(
            {
                "vulnerability": {"@id": f"https://rustsec.org/advisories/{advisory}.html", "name": advisory, "aliases": aliases},
                "products": products,
                "status": "not_affected",
                "justification": justification,
                "impact_statement": ignored[advisory],
            }
        )
    document = {
        "@context": "https://openvex.dev/ns/v0.2.0",
        "author": "auth-proxy",
        "timestamp": datetime.datetime.fromtimestamp(archive.epoch(), datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "version": 1,
        "statements": statements,
    }
    # The same statements have the same name.
    document["@id"] = "urn:auth-proxy:vex:" + hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    pathlib.Path(output).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
