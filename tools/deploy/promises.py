"""promises.py: what deploy/, docker-compose.yml and Dockerfile.scratch promise and no schema checks, against docs/ (whose
settings are those of the program: tests/spec/structure) and against each other. Prints every complaint."""

import pathlib
import re
import sys

import yaml

GUIDE = pathlib.Path("docs/kubernetes.md").read_text(encoding="utf-8")
DOCUMENTED = pathlib.Path("docs/settings.md").read_text(encoding="utf-8")
DOCKERFILE = pathlib.Path("Dockerfile.scratch").read_text(encoding="utf-8")
VERSION = re.search('^version = "(.*)"$', pathlib.Path("Cargo.toml").read_text(encoding="utf-8"), re.MULTILINE)[1]
SETTINGS = {name: default.strip("`") for name, default in re.findall(r"^\| `([A-Z_]+)` \| ([^|]+) \|", DOCUMENTED, re.MULTILINE)}
REQUIRED = {name for name, default in SETTINGS.items() if default == "required"}
USER = int(re.search(r"^USER (\d+):\1$", DOCKERFILE, re.MULTILINE)[1])
PROBES = {"startupProbe": "/startupz", "readinessProbe": "/readyz", "livenessProbe": "/livez"}


def read(path):
    with open(path, encoding="utf-8") as file:
        return list(yaml.safe_load_all(file))


def seconds(text):
    return int(re.fullmatch(r"(\d+)s?", str(text))[1])


def unknown(names):
    return [f"{name} is no setting of the program" for name in names if name not in SETTINGS]


def form(folder):
    """One folder of deploy/kubernetes."""
    (kustomization,) = read(folder / "kustomization.yaml")
    if {"kustomization.yaml", *kustomization["resources"]} != {path.name for path in folder.iterdir()}:
        yield "the resources are not the files of the folder"
    documents = [document for name in kustomization["resources"] for document in read(folder / name)]
    (workload,) = [document for document in documents if document["kind"] in ("Deployment", "Job")]
    template = workload["spec"]["template"]
    pod = template["spec"]
    containers = pod.get("initContainers", []) + pod["containers"]
    (proxy,) = [container for container in containers if container["name"] == "auth-proxy"]

    images = {image["name"]: image["newTag"] for image in kustomization["images"]}
    if set(images) != {container["image"] for container in containers} or images["auth-proxy"] != VERSION:
        yield f"images: {images}"
    yield from restricted(pod, containers)
    yield from handlers(containers)
    yield from selectors(workload, documents)
    (config,) = kustomization["configMapGenerator"]
    environment = dict(literal.split("=", 1) for literal in config["literals"])
    environment |= {variable["name"]: variable["value"] for variable in proxy["env"]}
    yield from unknown(environment)
    yield from (f"{name} is missing" for name in sorted(REQUIRED - set(environment)))
    yield from alone(proxy, pod, environment, shared=len(containers) > 1)

    # Whoever follows the first lines of the file has these Secrets.
    text = (folder / "kustomization.yaml").read_text(encoding="utf-8")
    made = set(re.findall(r"kubectl create secret generic (\S+)", text))
    used = {volume["secret"]["secretName"] for volume in pod["volumes"]}
    used |= {source["secretRef"]["name"] for source in proxy["envFrom"] if "secretRef" in source}
    if made != used or f"kubectl apply -k {folder}" not in text or f"](../{folder})" not in GUIDE:
        yield f"how to apply it: Secrets {made} made, {used} used"
    if not re.search("kubectl create secret generic auth-proxy-certificate ", GUIDE):
        yield "docs/kubernetes.md makes another Secret"
    # A container that never ends, or takes its time to, keeps a Job from ending; so does a sidecar that never starts.
    if workload["kind"] == "Job" and (proxy in pod["containers"] or "lifecycle" in proxy or "activeDeadlineSeconds" not in workload["spec"]):
        yield "the Job does not end with its container"
    if proxy not in pod["containers"] and proxy["restartPolicy"] != "Always":
        yield "an init container that is no sidecar"


def restricted(pod, containers):
    """Pod Security Standard `restricted`."""
    own = pod["securityContext"]
    if own.get("runAsNonRoot") is not True or own["seccompProfile"]["type"] != "RuntimeDefault" or own.get("sysctls"):
        yield f"Pod Security: {own}"
    yield from (f"Pod Security: {field}" for field in ("hostNetwork", "hostPID", "hostIPC") if pod.get(field))
    for volume in pod["volumes"]:
        if set(volume) - {"name", "secret", "configMap", "emptyDir", "projected", "downwardAPI", "csi", "ephemeral"}:
            yield f"Pod Security: volume {volume}"
    for container in containers:
        context = container["securityContext"]
        if context["allowPrivilegeEscalation"] is not False or context["capabilities"] != {"drop": ["ALL"]}:
            yield f"Pod Security: {container['name']}"
        if set(context) & {"privileged", "procMount", "seLinuxOptions", "seccompProfile", "runAsNonRoot"}:
            yield f"Pod Security: {container['name']} says other than its pod"
        if any("hostPort" in port for port in container.get("ports", [])):
            yield f"Pod Security: {container['name']} has a port of the host"


def handlers(containers):
    for container in containers:
        hooks = {**container.get("lifecycle", {}), **{name: container[name] for name in PROBES if name in container}}
        for name, hook in hooks.items():
            if hook.get("exec", {"command": ["/auth-proxy"]})["command"][0] != "/auth-proxy":
                yield f"{name} of {container['name']}: the image has no other program than /auth-proxy"


def selectors(workload, documents):
    """Whether what selects pods or names their ports means this pod."""
    template = workload["spec"]["template"]
    labels = template["metadata"]["labels"].items()
    ports = {port["name"] for container in template["spec"]["containers"] for port in container.get("ports", [])}
    for document in documents:
        name, spec = f"{document['kind']} {document['metadata']['name']}", document["spec"]
        selector = spec.get("selector") or spec.get("podSelector") or {}
        if not (selector.get("matchLabels") or selector).items() <= labels:
            yield f"{name} selects {selector}"
        named = [port["targetPort"] for port in spec.get("ports", [])]
        named += [port["port"] for rule in spec.get("ingress", []) for port in rule["ports"]]
        if not set(named) <= ports:
            yield f"{name} means the ports {named}"
        target = spec.get("scaleTargetRef", {"kind": workload["kind"], "name": workload["metadata"]["name"]})
        if (target["kind"], target["name"]) != (workload["kind"], workload["metadata"]["name"]):
            yield f"{name} scales {target}"


def alone(proxy, pod, environment, shared):
    """The proxy's own container."""
    if (environment.get("HOST") == "127.0.0.1") is not shared:
        yield "HOST is 127.0.0.1 exactly where the application shares the pod"
    if environment.get("ADMIN_HOST", environment.get("HOST", SETTINGS["HOST"])) != "0.0.0.0":
        yield "the kubelet does not reach the admin port"
    ports = {port["name"]: str(port["containerPort"]) for port in proxy["ports"]}
    if ports["admin"] != environment["ADMIN_PORT"] or ports.get("http", environment["PORT"]) != environment["PORT"]:
        yield "ports and their variables differ"
    for name, path in PROBES.items():
        # Nothing waits for a Job's pod to be ready.
        probe = proxy.get(name, {"httpGet": {"path": path, "port": "admin"}} if name == "readinessProbe" else None)
        if probe["httpGet"] != {"path": path, "port": "admin"}:
            yield f"{name}: {probe}"
    context = {**pod["securityContext"], **proxy["securityContext"]}
    if not context["readOnlyRootFilesystem"] or (context["runAsUser"], context["runAsGroup"]) != (USER, USER):
        yield f"another user than the image's {USER}, or a root file system that can be written"
    if not {"memory", "cpu"} <= set(proxy["resources"]["requests"]) or "memory" not in proxy["resources"]["limits"]:
        yield f"resources: {proxy['resources']}"
    grace = seconds(environment.get("SHUTDOWN_GRACE", SETTINGS["SHUTDOWN_GRACE"]))
    pause = proxy.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    if pod["terminationGracePeriodSeconds"] <= grace + pause:
        yield f"terminationGracePeriodSeconds is not longer than {grace} + {pause}"
    (mount,) = proxy["volumeMounts"]
    if not environment["AZURE_CERTIFICATE_PATH"].startswith(mount["mountPath"] + "/") or "subPath" in mount:
        yield "the certificate is not where AZURE_CERTIFICATE_PATH says"


def compose():
    (document,) = read("docker-compose.yml")
    service = document["services"]["auth-proxy"]
    yield from unknown(service["environment"])
    yield from (f"{name} is missing" for name in sorted(REQUIRED - set(service["environment"])))
    options, command = re.search(r"^HEALTHCHECK (.*) CMD (.*)$", DOCKERFILE, re.MULTILINE).groups()
    check = {name.replace("-", "_"): value for name, value in re.findall(r"--(\S+)=(\S+)", options)}
    if {**check, "test": ["CMD", *yaml.safe_load(command)]} != {k: v if k == "test" else str(v) for k, v in service["healthcheck"].items()}:
        yield "another health check than the image's"
    if seconds(service["stop_grace_period"]) <= seconds(SETTINGS["SHUTDOWN_GRACE"]):
        yield "stop_grace_period is not longer than SHUTDOWN_GRACE"
    if str(service["ports"][0]) != f"127.0.0.1:{SETTINGS['PORT']}:{SETTINGS['PORT']}" or f":-{USER}:{USER}" not in service["user"]:
        yield f"ports {service['ports']}, user {service['user']}"


def unit():
    text = pathlib.Path("deploy/systemd/auth-proxy.service").read_text(encoding="utf-8")
    guide = pathlib.Path("docs/vm.md").read_text(encoding="utf-8")
    set_there = re.findall(r"^Environment=([A-Z_]+)=", text, re.MULTILINE) + re.findall(r"^([A-Z_]+)=", guide, re.MULTILINE)
    yield from unknown(set_there)
    yield from (f"{name} is missing" for name in sorted(REQUIRED - set(set_there)))
    if seconds(re.search("^TimeoutStopSec=(.*)", text, re.MULTILINE)[1]) <= seconds(SETTINGS["SHUTDOWN_GRACE"]):
        yield "TimeoutStopSec is not longer than SHUTDOWN_GRACE"
    given = re.search("^ListenStream=(.*)", pathlib.Path("deploy/systemd/auth-proxy.socket").read_text(encoding="utf-8"), re.MULTILINE)
    if given[1] != f"127.0.0.1:{SETTINGS['PORT']}":
        yield f"ListenStream={given[1]} is not PORT on the loopback"


def image():
    toolchain = re.search('channel = "(.*)"', pathlib.Path("rust-toolchain.toml").read_text(encoding="utf-8"))[1]
    versions = set(re.findall(r"(?:/rust:|RUSTUP_TOOLCHAIN=)([0-9.]+)", DOCKERFILE))
    if versions != {toolchain}:
        yield f"Rust {versions} instead of {toolchain}"
    if re.search(r"^EXPOSE (.*)$", DOCKERFILE, re.MULTILINE)[1] != SETTINGS["PORT"]:
        yield "EXPOSE is not PORT"


def main():
    forms = sorted(pathlib.Path("deploy/kubernetes").iterdir())
    parts = {str(folder): form(folder) for folder in forms}
    parts |= {"docker-compose.yml": compose(), "deploy/systemd, docs/vm.md": unit(), "Dockerfile.scratch": image()}
    complaints = [f"{name}: {complaint}" for name, part in parts.items() for complaint in part]
    print("\n".join(complaints or [f"{len(SETTINGS)} settings; {', '.join(parts)}: as promised"]))
    return bool(complaints)


if __name__ == "__main__":
    sys.exit(main())
