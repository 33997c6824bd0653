"""play.py MANIFEST IMAGE POD SECRETS KEY=VALUE...: a manifest of deploy/kubernetes, or a pod, as `podman play kube` takes it.

The proxy's container stays as it is, except for what a single machine lacks: the network is the host's, the Secrets are folders
of SECRETS by their names, probes are left out (podman would run curl inside the image), and the settings are the simulator's.
The application is the proxy's own image, which asks the proxy for its health over the loopback that they share; its init
containers and workloads without the proxy are left out.
"""

import os
import pathlib
import sys

import yaml


def main(manifest, image, pod, secrets, *settings):
    with open(manifest, encoding="utf-8") as file:
        documents = [document for document in yaml.safe_load_all(file) if is_played(document)]
    settings = dict(setting.split("=", 1) for setting in settings)
    for document in documents:
        if document["kind"] == "ConfigMap":
            document["data"] = {**document["data"], **settings, "SSL_CERT_FILE": "/certs/ca.pem"}
            continue
        document["metadata"]["name"] = pod
        spec = document["spec"]
        if document["kind"] == "Deployment":
            spec["replicas"] = 1
            spec = spec["template"]["spec"]
        flat(spec)
        mount(spec, pathlib.Path(secrets))
        change(spec, image, settings)
    yaml.safe_dump_all(documents, sys.stdout)


def is_played(document):
    """The pod with the proxy, and its ConfigMap."""
    pod = {"Pod": document.get("spec"), "Deployment": document.get("spec", {}).get("template", {}).get("spec")}.get(document["kind"])
    if pod is None:
        return document["kind"] == "ConfigMap" and document["metadata"]["name"].startswith("auth-proxy")
    return any(is_proxy(container) for container in pod.get("initContainers", []) + pod["containers"])


def is_proxy(container):
    return container["name"].startswith("auth-proxy")


def flat(pod):
    """podman knows no native sidecars: as a container beside the others. It mounts no token of an API server either."""
    for container in filter(is_proxy, pod.pop("initContainers", [])):
        container.pop("restartPolicy")
        pod["containers"].append(container)
    empty = {volume["name"] for volume in pod["volumes"] if "emptyDir" in volume}
    pod["volumes"] = [volume for volume in pod["volumes"] if volume["name"] not in empty]
    for container in pod["containers"]:
        container["volumeMounts"] = [mount for mount in container.get("volumeMounts", []) if mount["name"] not in empty]


def mount(pod, secrets):
    """Folders, with mode and group as the kubelet sets them: podman 4.3 ignores `defaultMode` and does not decode a Secret."""
    for volume in pod["volumes"]:
        secret = volume.pop("secret")
        folder = secrets / secret["secretName"]
        for file in folder.iterdir():
            os.chown(file, 0, pod["securityContext"].get("fsGroup", 0))
            file.chmod(secret["defaultMode"])
        volume["hostPath"] = {"path": str(folder.absolute()), "type": "Directory"}


def change(pod, image, settings):
    pod["hostNetwork"] = True
    for container in pod["containers"]:
        container.update(image=image, imagePullPolicy="Never")
        for name in ("startupProbe", "readinessProbe", "livenessProbe", "lifecycle", "ports"):
            container.pop(name, None)
        if is_proxy(container):
            for variable in container["env"]:
                variable["value"] = settings.get(variable["name"], variable["value"])
        else:
            container["command"] = ["/auth-proxy", "healthcheck"]
            container["env"] = [{"name": name, "value": settings[name]} for name in ("HOST", "PORT")]


if __name__ == "__main__":
    main(*sys.argv[1:])
