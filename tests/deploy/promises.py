"""promises.py MANIFEST...: what the manifests promise and no schema checks."""

import sys

import yaml

GRACE = {"": 25, "90s": 90}


def pods(document):
    if document["kind"] in ("Deployment", "Job"):
        yield document["spec"]["template"]["spec"]


def check(pod):
    """Complaints about one pod."""
    containers = pod.get("initContainers", []) + pod["containers"]
    security = pod["securityContext"]
    if security.get("runAsNonRoot") is not True or security["seccompProfile"]["type"] != "RuntimeDefault":
        yield "Pod Security `restricted`: runAsNonRoot and seccompProfile"
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(field):
            yield f"Pod Security `restricted`: {field}"
    for volume in pod["volumes"]:
        if set(volume) - {"name", "secret", "configMap", "emptyDir", "projected"}:
            yield f"Pod Security `restricted`: volume {volume}"
    for container in containers:
        own = container["securityContext"]
        if own["allowPrivilegeEscalation"] is not False or own["capabilities"] != {"drop": ["ALL"]}:
            yield f"Pod Security `restricted`: {container['name']}"
    (proxy,) = [container for container in containers if container["name"] == "auth-proxy"]
    yield from check_proxy(proxy, pod, shared=len(containers) > 1)


def check_proxy(proxy, pod, shared):
    environment = {item["name"]: item["value"] for item in proxy["env"]}
    ports = {port["name"]: str(port["containerPort"]) for port in proxy["ports"]}
    if (environment.get("HOST") == "127.0.0.1") is not shared:
        yield "HOST is 127.0.0.1 exactly where the application shares the pod"
    if environment.get("ADMIN_HOST", environment.get("HOST", "0.0.0.0")) != "0.0.0.0":
        yield "the kubelet does not reach the admin port"
    if ports["admin"] != environment["ADMIN_PORT"] or ports.get("http", environment["PORT"]) != environment["PORT"]:
        yield "ports and their variables differ"
    if not proxy["securityContext"]["readOnlyRootFilesystem"]:
        yield "the root file system can be written"
    for probe in ("startupProbe", "livenessProbe"):
        if proxy[probe]["httpGet"]["port"] != "admin":
            yield f"{probe} does not ask the admin port"
    if "memory" not in proxy["resources"]["requests"] or "memory" not in proxy["resources"]["limits"]:
        yield "no resources"
    grace = GRACE[environment.get("SHUTDOWN_GRACE", "")]
    pause = proxy.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    if pod["terminationGracePeriodSeconds"] <= grace + pause:
        yield f"terminationGracePeriodSeconds is not longer than {grace} + {pause}"
    (mount,) = proxy["volumeMounts"]
    if not environment["AZURE_CERTIFICATE_PATH"].startswith(mount["mountPath"] + "/") or "subPath" in mount:
        yield "the certificate is not where AZURE_CERTIFICATE_PATH says"


def main(files):
    complaints = []
    for name in files:
        with open(name, encoding="utf-8") as file:
            documents = list(yaml.safe_load_all(file))
        found = [pod for document in documents for pod in pods(document)]
        if len(found) != 1:
            complaints.append(f"{name}: {len(found)} pods instead of one")
        complaints += [f"{name}: {complaint}" for pod in found for complaint in check(pod)]
    print("\n".join(complaints))
    return bool(complaints)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
