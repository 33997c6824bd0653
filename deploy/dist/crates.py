"""What is linked into the binary, as cargo reports it."""

import json
import os
import subprocess
import tomllib


def shipped(target):
    """The packages whose code is in the binary for this target: ours first, then by name and version.

    Crates that only run while building (build scripts' helpers, procedural macros) are not in it.
    """
    command = [os.environ.get("CARGO", "cargo"), "metadata", "--locked", "--format-version=1", "--filter-platform", target]
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    root = metadata["resolve"]["root"]

    def links(identity):
        """The crates that this one is linked with."""
        for dependency in nodes[identity]["deps"]:
            package = packages[dependency["pkg"]]
            macro = any("proc-macro" in part["kind"] for part in package["targets"])
            if not macro and any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                yield dependency["pkg"]

    found, queue = set(), [root]
    while queue:
        identity = queue.pop()
        if identity not in found:
            found.add(identity)
            queue.extend(links(identity))
    others = sorted(found - {root}, key=lambda identity: (packages[identity]["name"], packages[identity]["version"]))
    with open("Cargo.lock", "rb") as file:
        locked = {(p["name"], p["version"]): p.get("checksum") for p in tomllib.load(file)["package"]}
    result = []
    for identity in [root, *others]:
        package = packages[identity]
        result.append(
            {
                **package,
                "checksum": locked[package["name"], package["version"]],
                "links": [packages[other] for other in sorted(set(links(identity)))],
            }
        )
    return result
