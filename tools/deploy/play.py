"""play.py MANIFEST IMAGE KIND POD CERTIFICATE CA KEY=VALUE...: a manifest of deploy/kubernetes as `podman play kube` takes it.

The proxy's container stays as it is, except for what a single machine lacks: the network is the host's, the Secrets are given
here (as the KIND Secret, or as ConfigMap), probes are left out (podman would run curl inside the image), and
the settings are the simulator's. The application is the proxy's own image, which asks the proxy for its health over the
loopback that they share.
"""

import base64
import sys

import yaml


def main(manifest, image, kind, pod, certificate, ca, *settings):
    with open(manifest, encoding="utf-8") as file:
        documents = list(yaml.safe_load_all(file))
    settings = dict(setting.split("=", 1) for setting in settings)
    key = {"PROXY_API_KEY": settings.pop("PROXY_API_KEY").encode()}
    with open(certificate, "rb") as pem, open(ca, "rb") as roots:
        files = {"certificate.pem": pem.read(), "ca.pem": roots.read()}
    for document in documents:
        if document["kind"] == "ConfigMap":
            document["data"] = {**document["data"], **settings, "SSL_CERT_FILE": "/certs/ca.pem"}
        if document["kind"] == "Deployment":
            document["metadata"]["name"] = pod
            document["spec"]["replicas"] = 1
            flat(document["spec"]["template"]["spec"])
            change(document["spec"]["template"]["spec"], image, settings)
            if kind == "ConfigMap":
                without_secrets(document["spec"]["template"]["spec"])
    for name, content in ((f"{pod}-certificate", files), (f"{pod}-api-key", key)):
        documents.insert(0, {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "data": data(kind, content)})
    yaml.safe_dump_all(documents, sys.stdout)


def data(kind, files):
    """Not `stringData`: podman 4.3 mounts an empty folder then."""
    if kind == "ConfigMap":
        return {name: content.decode() for name, content in files.items()}
    return {name: base64.b64encode(content).decode() for name, content in files.items()}


def flat(pod):
    """podman knows no native sidecars: as a container beside the others. It mounts no token of an API server either."""
    for container in pod.pop("initContainers", []):
        container.pop("restartPolicy")
        pod["containers"].append(container)
    empty = {volume["name"] for volume in pod["volumes"] if "emptyDir" in volume}
    pod["volumes"] = [volume for volume in pod["volumes"] if volume["name"] not in empty]
    for container in pod["containers"]:
        container["volumeMounts"] = [mount for mount in container.get("volumeMounts", []) if mount["name"] not in empty]


def without_secrets(pod):
    """ConfigMaps of the same names instead: podman 4.3 does not decode what it mounts, and does not read what it set itself."""
    (volume,) = pod["volumes"]
    volume["configMap"] = {"name": volume.pop("secret")["secretName"]}
    for container in pod["containers"]:
        for source in container.get("envFrom", []):
            if "secretRef" in source:
                source["configMapRef"] = source.pop("secretRef")


def change(pod, image, settings):
    pod["hostNetwork"] = True
    # podman 4.3 falls over without it.
    pod["volumes"][0]["secret"]["optional"] = False
    for container in pod["containers"]:
        container.update(image=image, imagePullPolicy="Never")
        for name in ("startupProbe", "readinessProbe", "livenessProbe", "lifecycle", "ports"):
            container.pop(name, None)
        if container["name"] == "auth-proxy":
            for variable in container["env"]:
                variable["value"] = settings.get(variable["name"], variable["value"])
        else:
            container["command"] = ["/auth-proxy", "healthcheck"]
            container["env"] = [{"name": name, "value": settings[name]} for name in ("HOST", "PORT")]


if __name__ == "__main__":
    main(*sys.argv[1:])
