"""image.py OUTPUT.tar.gz VERSION ARCHITECTURE=BINARY...: a container image without a daemon. Prints its digest.

For one architecture the archive is an OCI image layout and, through manifest.json, what `docker save` writes, so that every
`docker load`, `podman load` and registry tool understands it. For several it is an OCI image layout with an index of them,
which registry tools copy as a whole: the digest is then that of the index. What the image is (user, entry point, labels, ...)
comes from Dockerfile.scratch.
"""

import datetime
import hashlib
import json
import os
import re
import shlex
import sys

import archive

SECOND = 1_000_000_000
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
PLATFORMS = {
    "x86_64": {"architecture": "amd64", "os": "linux"},
    "aarch64": {"architecture": "arm64", "os": "linux", "variant": "v8"},
}


def dockerfile(path):
    """The instructions of the stage `base` as (name, argument)."""
    with open(path, encoding="utf-8") as file:
        text = re.sub(r"\\\n", " ", "".join(line for line in file if not line.startswith("#")))
    stage = re.search(r"^FROM scratch AS base\n(.*?)^FROM ", text, re.MULTILINE | re.DOTALL)[1]
    return [line.split(None, 1) for line in stage.splitlines() if line.strip()]


def configuration(instructions, arguments):
    """The image's configuration; `arguments` are those that a build would be given with --build-arg."""
    config = {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "WorkingDir": "/"}
    values = {}
    for name, argument in instructions:
        match name:
            case "ARG":
                key, _, default = argument.strip().partition("=")
                values[key] = arguments.get(key, default)
            case "USER":
                config["User"] = argument.strip()
            case "EXPOSE":
                config["ExposedPorts"] = {f"{port}/tcp": {} for port in argument.split()}
            case "ENTRYPOINT":
                config["Entrypoint"] = json.loads(argument)
            case "LABEL":
                labels = dict(pair.split("=", 1) for pair in shlex.split(argument))
                labels = {key: re.sub(r"\$\{(\w+)\}", lambda found: values[found[1]], text) for key, text in labels.items()}
                # What nobody knows is left out.
                config["Labels"] = {key: text for key, text in labels.items() if text}
            case "HEALTHCHECK":
                config["Healthcheck"] = healthcheck(argument)
            case _:
                raise SystemExit(f"image.py does not know the instruction {name} of Dockerfile.scratch")
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


class Blobs:
    """What an image layout holds, by digest."""

    def __init__(self):
        self.entries = []

    def add(self, media_type, data):
        data = data if isinstance(data, bytes) else json.dumps(data, sort_keys=True, separators=(",", ":")).encode()
        descriptor = {"mediaType": media_type, "digest": "sha256:" + hashlib.sha256(data).hexdigest(), "size": len(data)}
        self.entries.append((path(descriptor), data, 0o644))
        return descriptor


def path(descriptor):
    return "blobs/" + descriptor["digest"].replace(":", "/")


def platform_image(blobs, binary, platform, config, created):
    """The descriptors of the manifest, the configuration and the layer."""
    content, _ = archive.read(binary)
    layer = blobs.add("application/vnd.oci.image.layer.v1.tar", archive.tar([("auth-proxy", content, 0o755)]))
    configured = blobs.add(
        "application/vnd.oci.image.config.v1+json",
        {
            **platform,
            "created": created,
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
            "history": [{"created": created, "created_by": "Dockerfile.scratch", "comment": "auth-proxy"}],
        },
    )
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": configured, "layers": [layer], "annotations": config["Labels"]}
    return {**blobs.add(MANIFEST, manifest), "platform": platform}, configured, layer


def main(output, version, *pairs):
    created = datetime.datetime.fromtimestamp(archive.epoch(), datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    arguments = {"VERSION": version, "REVISION": os.environ.get("AUTH_PROXY_REVISION", ""), "SOURCE": os.environ.get("AUTH_PROXY_SOURCE", "")}
    config = configuration(dockerfile("Dockerfile.scratch"), arguments)
    blobs = Blobs()
    files = {"oci-layout": {"imageLayoutVersion": "1.0.0"}}
    images = []
    for architecture, binary in (pair.split("=", 1) for pair in pairs):
        images.append(platform_image(blobs, binary, PLATFORMS[architecture], config, created))
    if len(images) == 1:
        ((top, configured, layer),) = images
        files["manifest.json"] = [{"Config": path(configured), "RepoTags": [f"auth-proxy:{version}"], "Layers": [path(layer)]}]
    else:
        manifests = [manifest for manifest, _, _ in images]
        top = blobs.add(INDEX, {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests, "annotations": config["Labels"]})
    names = {"io.containerd.image.name": f"docker.io/library/auth-proxy:{version}", "org.opencontainers.image.ref.name": version}
    files["index.json"] = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [{**top, "annotations": names}]}
    entries = [(name, json.dumps(value, sort_keys=True).encode(), 0o644) for name, value in files.items()]
    with open(output, "wb") as file:
        file.write(archive.compressed(archive.tar(entries + blobs.entries)))
    print(top["digest"])


if __name__ == "__main__":
    main(*sys.argv[1:])
