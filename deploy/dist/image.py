"""image.py OUTPUT.tar.gz BINARY ARCHITECTURE VERSION: a container image without a daemon.

The archive is an OCI image layout and, through manifest.json, what `docker save` writes, so that every `docker load`,
`podman load` and registry tool understands it. What the image is (user, entry point, labels, ...) comes from
Dockerfile.scratch.
"""

import datetime
import hashlib
import json
import re
import shlex
import sys

import archive

SECOND = 1_000_000_000


def dockerfile(path):
    """The instructions of the stage `base` as (name, argument)."""
    with open(path, encoding="utf-8") as file:
        text = re.sub(r"\\\n", " ", "".join(line for line in file if not line.startswith("#")))
    stage = re.search(r"^FROM scratch AS base\n(.*?)^FROM ", text, re.MULTILINE | re.DOTALL)[1]
    return [line.split(None, 1) for line in stage.splitlines() if line.strip()]


def configuration(instructions, version):
    config = {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "WorkingDir": "/"}
    for name, argument in instructions:
        match name:
            case "USER":
                config["User"] = argument.strip()
            case "EXPOSE":
                config["ExposedPorts"] = {f"{port}/tcp": {} for port in argument.split()}
            case "ENTRYPOINT":
                config["Entrypoint"] = json.loads(argument)
            case "LABEL":
                config["Labels"] = dict(pair.split("=", 1) for pair in shlex.split(argument))
            case "HEALTHCHECK":
                config["Healthcheck"] = healthcheck(argument)
            case _:
                raise SystemExit(f"image.py does not know the instruction {name} of Dockerfile.scratch")
    config["Labels"]["org.opencontainers.image.version"] = version
    return config


def healthcheck(argument):
    options, command = argument.split("CMD", 1)
    values = dict(re.findall(r"--([a-z-]+)=(\w+)", options))
    seconds = {name: int(value.removesuffix("s")) * SECOND for name, value in values.items() if value.endswith("s")}
    return {
        "Test": ["CMD", *json.loads(command)],
        "Interval": seconds["interval"],
        "Timeout": seconds["timeout"],
        "StartPeriod": seconds["start-period"],
        "Retries": int(values["retries"]),
    }


def main(output, binary, architecture, version):
    content, _ = archive.read(binary)
    layer = archive.tar([("auth-proxy", content, 0o755)])
    created = datetime.datetime.fromtimestamp(archive.epoch(), datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    platform = {"x86_64": {"architecture": "amd64"}, "aarch64": {"architecture": "arm64", "variant": "v8"}}[architecture]
    instructions = dockerfile("Dockerfile.scratch")

    blobs = []

    def blob(media_type, data):
        data = data if isinstance(data, bytes) else json.dumps(data, sort_keys=True, separators=(",", ":")).encode()
        digest = hashlib.sha256(data).hexdigest()
        blobs.append((f"blobs/sha256/{digest}", data, 0o644))
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    layer_blob = blob("application/vnd.oci.image.layer.v1.tar", layer)
    config_blob = blob(
        "application/vnd.oci.image.config.v1+json",
        {
            **platform,
            "os": "linux",
            "created": created,
            "config": configuration(instructions, version),
            "rootfs": {"type": "layers", "diff_ids": [layer_blob["digest"]]},
            "history": [{"created": created, "created_by": "Dockerfile.scratch", "comment": f"auth-proxy {version}"}],
        },
    )
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config_blob,
        "layers": [layer_blob],
    }
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            {
                **blob(manifest["mediaType"], manifest),
                "platform": {**platform, "os": "linux"},
                "annotations": {
                    "io.containerd.image.name": f"docker.io/library/auth-proxy:{version}",
                    "org.opencontainers.image.ref.name": version,
                },
            }
        ],
    }

    def path(descriptor):
        return "blobs/" + descriptor["digest"].replace(":", "/")

    docker = [{"Config": path(config_blob), "RepoTags": [f"auth-proxy:{version}"], "Layers": [path(layer_blob)]}]
    files = {"oci-layout": {"imageLayoutVersion": "1.0.0"}, "index.json": index, "manifest.json": docker}
    entries = [(name, json.dumps(value, sort_keys=True).encode(), 0o644) for name, value in files.items()]
    with open(output, "wb") as file:
        file.write(archive.compressed(archive.tar(entries + blobs)))


if __name__ == "__main__":
    main(*sys.argv[1:])
