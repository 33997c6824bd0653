"""play.py MANIFEST IMAGE SECRET CERTIFICATE CA KEY=VALUE...: a manifest of deploy/kubernetes as `podman play kube` takes it.

The proxy's container stays as it is, except for what a single machine lacks: the network is the host's, the Secret is given
here, probes are left out (podman would run curl inside the image), and the settings are the simulator's. The application
is the proxy's own image, which asks the proxy for its health over the loopback that they share.
"""

import sys

import yaml


def main(manifest, image, secret, certificate, ca, *settings):
    with open(manifest, encoding="utf-8") as file:
        documents = list(yaml.safe_load_all(file))
    settings = dict(setting.split("=", 1) for setting in settings)
    with open(certificate, encoding="utf-8") as pem, open(ca, encoding="utf-8") as roots:
        files = {"certificate.pem": pem.read(), "ca.pem": roots.read()}
    documents.insert(0, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": secret}, "stringData": files})
    for document in documents:
        if document["kind"] == "ConfigMap":
            document["data"] = {**document["data"], **settings, "SSL_CERT_FILE": "/certs/ca.pem"}
        if document["kind"] == "Deployment":
            document["spec"]["replicas"] = 1
            change(document["spec"]["template"]["spec"], image, settings)
    yaml.safe_dump_all(documents, sys.stdout)


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
