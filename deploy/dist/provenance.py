"""provenance.py OUTPUT.json FOLDER TARGET...: from what the files of a release were made: an in-toto statement (version 1)
with SLSA provenance (version 1). Nothing of the machine is in it, so that who builds again gets the same statement."""

import hashlib
import json
import os
import pathlib
import sys
import tomllib


def sha256(path):
    return {"sha256": hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()}


def main(output, folder, *targets):
    files = sorted(path for path in pathlib.Path(folder).iterdir() if path.is_file() and path.name != pathlib.Path(output).name)
    with open("Cargo.lock", "rb") as file:
        crates = [package for package in tomllib.load(file)["package"] if "checksum" in package]
    with open("rust-toolchain.toml", "rb") as file:
        toolchain = tomllib.load(file)["toolchain"]["channel"]
    source = os.environ.get("AUTH_PROXY_SOURCE") or "urn:auth-proxy:source"
    dependencies = [{"uri": source, "name": "source", "digest": {"gitCommit": os.environ["AUTH_PROXY_REVISION"]}}]
    dependencies += [{"uri": f"pkg:generic/rust@{toolchain}", "name": "toolchain"}]
    dependencies += [{"uri": f"pkg:cargo/{crate['name']}@{crate['version']}", "digest": {"sha256": crate["checksum"]}} for crate in crates]
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": path.name, "digest": sha256(path)} for path in files],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                # docs/releases.md describes it.
                "buildType": "urn:auth-proxy:make-dist:1",
                "externalParameters": {"command": "make dist", "targets": list(targets)},
                "internalParameters": {"SOURCE_DATE_EPOCH": int(os.environ["SOURCE_DATE_EPOCH"])},
                "resolvedDependencies": dependencies,
            },
            # Who ran it: a name of the release's maker.
            "runDetails": {"builder": {"id": os.environ.get("BUILDER_ID") or "urn:auth-proxy:unnamed-builder"}},
        },
    }
    pathlib.Path(output).write_text(json.dumps(statement, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
