"""sbom.py OUTPUT.json TARGET BINARY: a CycloneDX 1.5 bill of materials of that binary."""

import datetime
import hashlib
import json
import sys
import uuid

import archive
import crates


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package):
    fields = {
        "type": "library",
        "bom-ref": purl(package),
        "name": package["name"],
        "version": package["version"],
        "purl": purl(package),
    }
    if package["description"]:
        fields["description"] = " ".join(package["description"].split())
    if package["license"]:
        # Cargo once wrote MIT/Apache-2.0 for what SPDX calls MIT OR Apache-2.0.
        fields["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if package["checksum"]:
        fields["hashes"] = [{"alg": "SHA-256", "content": package["checksum"]}]
    if package["repository"]:
        fields["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return fields


def main(output, target, binary):
    program, *libraries = crates.shipped(target)
    with open(binary, "rb") as file:
        program["checksum"] = hashlib.sha256(file.read()).hexdigest()
    created = datetime.datetime.fromtimestamp(archive.epoch(), datetime.timezone.utc)
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {
                **component(program),
                "type": "application",
                "properties": [{"name": "auth-proxy:target", "value": target}],
            },
        },
        "components": [component(library) for library in libraries],
        "dependencies": [
            {"ref": purl(package), "dependsOn": sorted(purl(other) for other in package["links"])}
            for package in [program, *libraries]
        ],
    }
    # The same bill has the same number.
    bill["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(bill, sort_keys=True)).urn
    with open(output, "w", encoding="utf-8") as file:
        json.dump(bill, file, indent=2, sort_keys=True)
        file.write("\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
