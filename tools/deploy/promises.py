"""promises.py [--write]: what deploy/, docker-compose.yml and Dockerfile.scratch promise and no schema checks, against docs/
(whose settings are those of the program: tests/spec/structure) and against each other. Prints every complaint. With --write it
writes the files that are made from others."""

import functools
import pathlib
import re
import sys

import yaml

KUBERNETES = pathlib.Path("deploy/kubernetes")
COMPONENTS = KUBERNETES / "component"
GUIDE = pathlib.Path("docs/kubernetes.md").read_text(encoding="utf-8")
DOCUMENTED = pathlib.Path("docs/settings.md").read_text(encoding="utf-8")
DOCKERFILE = pathlib.Path("Dockerfile.scratch").read_text(encoding="utf-8")
SETTINGS = {name: default.strip("`") for name, default in re.findall(r"^\| `([A-Z_]+)` \| ([^|]+) \|", DOCUMENTED, re.MULTILINE)}
REQUIRED = {name for name, default in SETTINGS.items() if default == "required"}
USER = int(re.search(r"^USER (\d+):\1$", DOCKERFILE, re.MULTILINE)[1])
PROBES = {"startupProbe": "/startupz", "readinessProbe": "/readyz", "livenessProbe": "/livez"}
# The same limit in every form.
MEMORY_MIB = 192
# Kubernetes' ports: those that an application seldom has itself, and one number for the runbooks.
SIDECAR_PORT, ADMIN_PORT = "18080", "18081"


@functools.cache
def read(path):
    with open(path, encoding="utf-8") as file:
        return list(yaml.safe_load_all(file))


def seconds(text):
    return int(re.fullmatch(r"(\d+)s?", str(text))[1])


def mebibytes(text):
    found = re.fullmatch(r"(\d+)(?:Mi|m|M)", str(text))
    return int(found[1]) if found else text


def unknown(names):
    return [f"{name} is no setting of the program" for name in names if name not in SETTINGS]


def missing(environment):
    """What the program requires of this credential and is not set, or is set and belongs to another one."""
    if environment.get("AZURE_TOKEN_CREDENTIALS") == "ManagedIdentityCredential":
        others = REQUIRED - {"API_BASE_URL"}
    elif "AZURE_FEDERATED_TOKEN_FILE" in environment:
        others = {"AZURE_CERTIFICATE_PATH"}
    else:
        others = set()
    names = REQUIRED - others - set(environment)
    return [f"{name} is missing" for name in sorted(names)] + [f"{name} is of another credential" for name in sorted(others & set(environment))]


def merged(base, patch):
    """A strategic merge of what the components need: mappings by key, lists of what has a name by name, the patch's first."""
    if isinstance(base, dict) and isinstance(patch, dict):
        return {**base, **{key: merged(base[key], value) if key in base else value for key, value in patch.items()}}
    if isinstance(base, list) and isinstance(patch, list) and all("name" in entry for entry in base + patch):
        rest = {entry["name"]: entry for entry in base}
        return [merged(rest.pop(entry["name"], {}), entry) for entry in patch] + list(rest.values())
    return patch


def kustomized(folder, components=()):
    """A folder's kustomization and documents, its workload with these components."""
    (kustomization,) = read(folder / "kustomization.yaml")
    if {"kustomization.yaml", *kustomization["resources"]} != {path.name for path in folder.iterdir()}:
        raise ValueError(f"the resources are not the files of {folder}")
    documents = [document for name in kustomization["resources"] for document in read(folder / name)]
    for name in components:
        (component,) = read(COMPONENTS / name / "kustomization.yaml")
        files = {"kustomization.yaml", *component.get("resources", [])} | {patch["path"] for patch in component.get("patches", [])}
        if files != {path.name for path in (COMPONENTS / name).iterdir()}:
            raise ValueError(f"the files of the component {name} are not all used")
        for patch in component["patches"]:
            (change,) = read(COMPONENTS / name / patch["path"])
            documents = [
                # Kind and name are the workload's.
                merged(document, {**change, "kind": document["kind"], "metadata": document["metadata"]})
                if document["kind"] == change["kind"]
                else document
                for document in documents
            ]
    return kustomization, documents


def form(folder, components=(), shared=True):
    """One way to run it in Kubernetes; `shared`: in the pod of the application."""
    kustomization, documents = kustomized(folder, components)
    (workload,) = [document for document in documents if document["kind"] == "Deployment"]
    template = workload["spec"]["template"]
    pod = template["spec"]
    containers = pod.get("initContainers", []) + pod["containers"]
    (proxy,) = [container for container in containers if container["name"] == "auth-proxy"]

    images = {image["name"]: image.get("digest", "") for image in kustomization["images"]}
    for container in containers:
        if not re.search("@?sha256:[0-9a-f]{64}$", images.get(container["image"], container["image"])):
            yield f"the image of {container['name']} is not named by its digest"
    if template["metadata"]["labels"].get("auth-proxy") != ("sidecar" if shared else "standalone"):
        yield f"the label auth-proxy of the pods: {template['metadata']['labels']}"
    yield from restricted(pod, containers)
    yield from handlers(containers)
    yield from selectors(workload, documents)
    if shared and kustomization.get("namespace") is None:
        yield "manifests with a namespace of their own would not find the ConfigMap: no `namespace`"
    variables = {v["name"]: v["value"] for container in containers if container is not proxy for v in container.get("env", [])}
    if shared and variables != {"OPENAI_BASE_URL": f"http://127.0.0.1:{SIDECAR_PORT}/openai/v1", "OPENAI_API_KEY": "dummy"}:
        yield f"the application's way to the proxy: {variables}"
    (config,) = kustomization["configMapGenerator"]
    environment = dict(literal.split("=", 1) for literal in config["literals"])
    texts = [(COMPONENTS / name / "kustomization.yaml").read_text(encoding="utf-8") for name in components]
    for names in re.findall(r"Your ConfigMap is without ([A-Z_]+) and ([A-Z_]+)", "\n".join(texts)):
        environment = {name: value for name, value in environment.items() if name not in names}
    if {"configMapRef": {"name": config["name"]}} not in proxy["envFrom"]:
        yield f"the proxy does not read the ConfigMap {config['name']}"
    environment |= {variable["name"]: variable["value"] for variable in proxy["env"]}
    yield from unknown(environment)
    yield from missing(environment)
    yield from alone(proxy, pod, environment, shared)

    # Whoever follows the first lines of the file has these Secrets.
    texts.append((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    made = set(re.findall(r"kubectl (?:-n NAMESPACE )?create secret (?:generic|tls) (\S+)", "\n".join(texts)))
    used = {volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume}
    if not used <= made or f"kubectl apply -k {folder}" not in texts[-1] or f"](../{folder})" not in GUIDE:
        yield f"how to apply it: Secrets {made} made, {used} used"
    if proxy not in pod["containers"] and (proxy["restartPolicy"] != "Always" or proxy is not containers[0] or "lifecycle" in proxy):
        yield "an init container that is no sidecar, not the first, or one that takes its time to end"


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
        if context.get("runAsNonRoot") is False or context.get("seccompProfile", {"type": "RuntimeDefault"}) != {"type": "RuntimeDefault"}:
            yield f"Pod Security: {container['name']} says other than its pod"
        if set(context) & {"privileged", "procMount", "seLinuxOptions"}:
            yield f"Pod Security: {container['name']}: {context}"
        if any("hostPort" in port for port in container.get("ports", [])):
            yield f"Pod Security: {container['name']} has a port of the host"
    if pod["automountServiceAccountToken"] is not False or pod["enableServiceLinks"] is not False:
        yield "the API server's token, or variables for Services, in a pod that needs neither"


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
    containers = template["spec"].get("initContainers", []) + template["spec"]["containers"]
    ports = {port["name"] for container in containers for port in container.get("ports", [])}
    numbers = {port["containerPort"] for container in containers for port in container.get("ports", [])}
    (monitor,) = read(KUBERNETES / "monitoring" / "pod-monitor.yaml")
    policy, imds = read(COMPONENTS / "network-policy" / "network-policy.yaml")
    others = [policy] if ("auth-proxy", "sidecar") in labels else []
    variables = {variable["name"]: variable.get("value") for container in containers for variable in container.get("env", [])}
    if (imds["spec"]["podSelector"]["matchLabels"].items() <= labels) is not ("AZURE_TOKEN_CREDENTIALS" in variables):
        yield "the network policy for IMDS is for managed identity"
    for document in documents + others:
        name, spec = f"{document['kind']} {document['metadata']['name']}", document["spec"]
        selector = spec.get("selector") or spec.get("podSelector") or {}
        if not (selector.get("matchLabels") or selector).items() <= labels:
            yield f"{name} selects {selector}"
        named = [port["targetPort"] for port in spec.get("ports", [])]
        named += [port["port"] for rule in spec.get("ingress", []) for port in rule["ports"]]
        # Named ports of native sidecars do not work in every network plugin.
        if not set(named) <= (numbers if document is policy else ports):
            yield f"{name} means the ports {named}"
        protocols = {port["name"]: port.get("appProtocol") for port in spec.get("ports", [])}
        if document["kind"] == "Service" and protocols != {"http": "https", "proxy-admin": "http"}:
            yield f"{name} has other ports than TLS for callers and plain HTTP for monitoring"
        target = spec.get("scaleTargetRef", {"kind": workload["kind"], "name": workload["metadata"]["name"]})
        if (target["kind"], target["name"]) != (workload["kind"], workload["metadata"]["name"]):
            yield f"{name} scales {target}"
    (expression,) = monitor["spec"]["selector"]["matchExpressions"]
    if dict(labels).get(expression["key"]) not in expression["values"] or monitor["spec"]["podMetricsEndpoints"][0]["port"] not in ports:
        yield "the PodMonitor does not find it"


def alone(proxy, pod, environment, shared):
    """The proxy's own container."""
    if (environment.get("HOST") == "127.0.0.1") is not shared:
        yield "HOST is 127.0.0.1 exactly where the application shares the pod"
    if environment.get("ADMIN_HOST", environment.get("HOST", SETTINGS["HOST"])) != "0.0.0.0":
        yield "the kubelet does not reach the admin port"
    ports = {port["name"]: str(port["containerPort"]) for port in proxy["ports"]}
    callers = {"TLS_CERT_FILE", "TLS_KEY_FILE", "PROXY_API_KEYS_FILE"}
    if (callers & set(environment)) != (set() if shared else callers):
        yield "TLS and keys for callers exactly where they come from other pods"
    if environment["ADMIN_PORT"] != ADMIN_PORT or environment["PORT"] != (SIDECAR_PORT if shared else SETTINGS["PORT"]):
        yield "other ports than the docs have"
    if ports.get("proxy-admin") != environment["ADMIN_PORT"] or ports.get("http", environment["PORT"]) != environment["PORT"]:
        yield "ports and their variables differ"
    for name, path in PROBES.items():
        if proxy[name]["httpGet"] != {"path": path, "port": "proxy-admin"}:
            yield f"{name}: {proxy[name]}"
    context = {**pod["securityContext"], **proxy["securityContext"]}
    if not context["readOnlyRootFilesystem"] or (context["runAsUser"], context["runAsGroup"]) != (USER, USER):
        yield f"another user than the image's {USER}, or a root file system that can be written"
    if not {"memory", "cpu"} <= set(proxy["resources"]["requests"]) or mebibytes(proxy["resources"]["limits"]["memory"]) != MEMORY_MIB:
        yield f"resources: {proxy['resources']}"
    grace = seconds(environment.get("SHUTDOWN_GRACE", SETTINGS["SHUTDOWN_GRACE"]))
    pause = proxy.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    if pod["terminationGracePeriodSeconds"] <= grace + pause:
        yield f"terminationGracePeriodSeconds is not longer than {grace} + {pause}"
    mounts = {mount["mountPath"]: mount for mount in proxy.get("volumeMounts", [])}
    volumes = {volume["name"] for volume in pod["volumes"]}
    for mount in mounts.values():
        if mount["name"] not in volumes or "subPath" in mount or mount["readOnly"] is not True:
            yield f"the mount {mount}"
    for name, value in environment.items():
        is_file = name.endswith(("_PATH", "_FILE"))
        if is_file and not any(value == path or value.startswith(path + "/") for path in mounts):
            yield f"nothing is mounted where {name} says"
    token = mounts.get("/var/run/secrets/kubernetes.io/serviceaccount", {}).get("name")
    if shared and proxy not in pod["containers"] and {"name": token, "emptyDir": {"sizeLimit": "1Mi"}} not in pod["volumes"]:
        yield "the API server's token is mounted where the application has it"


def same(path, wanted, source, write):
    """Whether a file is what it is made from another one."""
    if write:
        path.write_text(wanted, encoding="utf-8")
    elif not path.exists() or path.read_text(encoding="utf-8") != wanted:
        yield f"{path} is not made from {source}: tools/deploy/check.sh --write"


def cronjobs(write=False):
    """A CronJob has its pod template deeper: the patch of each component once more, without its comments."""
    for source in sorted([*COMPONENTS.glob("*/sidecar.yaml"), *COMPONENTS.glob("*/credential.yaml")]):
        body = source.read_text(encoding="utf-8").partition("\nspec:\n")[2]
        lines = [f"    {line}" for line in body.splitlines() if not line.lstrip().startswith("#")]
        head = f"# {source.name} for a CronJob: `tools/deploy/check.sh --write` after a change there.\n"
        head += "apiVersion: batch/v1\nkind: CronJob\nmetadata:\n  name: any\nspec:\n  jobTemplate:\n    spec:\n"
        yield from same(source.with_name("cronjob.yaml"), head + "\n".join(lines) + "\n", source, write)


def scaling():
    """docs/capacity.md describes what standalone does."""
    page = pathlib.Path("docs/capacity.md").read_text(encoding="utf-8")
    (workload,) = read(KUBERNETES / "standalone" / "deployment.yaml")
    scaler = read(KUBERNETES / "standalone" / "scaling.yaml")[0]["spec"]
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    request = int(container["resources"]["requests"]["cpu"].removesuffix("m"))
    used = request * scaler["metrics"][0]["resource"]["target"]["averageUtilization"] // 100
    if f"{scaler['minReplicas']} replicas, each `MAX_CONNECTIONS=300`, limit 41 MiB, request {request}m" not in page:
        yield f"docs/capacity.md has no row of {scaler['minReplicas']} replicas with a CPU request of {request}m"
    microseconds = int(re.search(r"^\| event of a stream \| \d+ µs \| (\d+) µs", page, re.MULTILINE)[1])
    said = re.search(r"with the (\d+)m that `standalone` has, a replica is added for each ([\d,]+) events per second, or (\d+) streams of 30", page)
    events = used * 1000 // microseconds // 100 * 100
    if said is None or said.groups() != (str(request), f"{events:,}", str(events // 30 // 10 * 10)):
        yield f"docs/capacity.md, when a replica is added: {said and said.groups()}; {request}m, {events:,} events"


def rule(write=False):
    """The PrometheusRule is the file of alert rules, indented."""
    path = KUBERNETES / "monitoring" / "prometheus-rule.yaml"
    text = path.read_text(encoding="utf-8")
    head = text[: text.index("\nspec:\n") + len("\nspec:\n")]
    rules = pathlib.Path("deploy/monitoring/rules.yml").read_text(encoding="utf-8")
    wanted = head + re.sub("^(?=.)", "  ", rules, flags=re.MULTILINE)
    yield from same(path, wanted, "deploy/monitoring/rules.yml", write)


def health_check():
    """The image's, with the names that compose has."""
    options, command = re.search(r"^HEALTHCHECK (.*) CMD (.*)$", DOCKERFILE, re.MULTILINE).groups()
    check = {name.replace("-", "_"): value for name, value in re.findall(r"--(\S+)=(\S+)", options)}
    return {**check, "test": ["CMD", *yaml.safe_load(command)]}


def compose():
    (document,) = read("docker-compose.yml")
    service = document["services"]["auth-proxy"]
    yield from unknown(service["environment"])
    yield from missing(service["environment"])
    if health_check() != {k: v if k == "test" else str(v) for k, v in service["healthcheck"].items()}:
        yield "another health check than the image's"
    yield from container(
        read_only=service["read_only"],
        capabilities=service["cap_drop"] == ["ALL"],
        no_new_privileges="no-new-privileges:true" in service["security_opt"],
        user=f":-{USER}:{USER}" in service["user"],
        memory=mebibytes(service["mem_limit"]),
        grace=seconds(service["stop_grace_period"]),
        ports=service["ports"],
        environment=service["environment"],
    )


def quadlet():
    text = pathlib.Path("deploy/podman/auth-proxy.container").read_text(encoding="utf-8")
    values = {}
    for line in text.splitlines():
        if line and line[0] not in "#[":
            name, _, value = line.partition("=")
            values.setdefault(name, []).append(value)
    environment = dict(variable.split("=", 1) for variable in values["Environment"])
    yield from unknown(environment)
    yield from missing(environment)
    check = health_check()
    health = {"cmd": " ".join(check.pop("test")[1:]), **{name.replace("_", ""): value for name, value in check.items()}}
    given = {name[6:].lower(): value[0] for name, value in values.items() if name.startswith("Health")}
    if health != given:
        yield f"another health check than the image's: {given}"
    if not re.search("@sha256:[0-9a-f]{64}$", values["Image"][0]):
        yield "the image is not named by its digest"
    arguments = " ".join(values["PodmanArgs"])
    yield from container(
        read_only=values["ReadOnly"] == ["true"],
        capabilities=values["DropCapability"] == ["all"],
        no_new_privileges=values["NoNewPrivileges"] == ["true"],
        user=(values["User"], values["Group"]) == ([str(USER)], [str(USER)]),
        memory=mebibytes(re.search(r"--memory=(\S+)", arguments)[1]),
        grace=seconds(re.search(r"--stop-timeout=(\S+)", arguments)[1]),
        ports=values["PublishPort"],
        environment=environment,
    )


def container(read_only, capabilities, no_new_privileges, user, memory, grace, ports, environment):
    """What Kubernetes is given, where there is none."""
    for name, kept in {"read-only": read_only, "no capabilities": capabilities, "no new privileges": no_new_privileges, "user": user}.items():
        if not kept:
            yield f"other than in Kubernetes: {name}"
    if memory != MEMORY_MIB:
        yield f"the limit of memory is not {MEMORY_MIB}m"
    if grace <= seconds(SETTINGS["SHUTDOWN_GRACE"]):
        yield "the time to stop is not longer than SHUTDOWN_GRACE"
    if [str(port) for port in ports] != [f"127.0.0.1:{port}:{port}" for port in (SETTINGS["PORT"], runbooks_port())]:
        yield f"ports {ports}"
    if environment.get("ADMIN_PORT") != runbooks_port() or "ADMIN_HOST" in environment:
        yield "ADMIN_PORT is not the port of the runbooks, or a port of the container's loopback is published"


def runbooks_port():
    """Where docs/runbooks/README.md looks for the status page outside of Kubernetes."""
    text = pathlib.Path("docs/runbooks/README.md").read_text(encoding="utf-8")
    if not re.search(rf"port-forward POD {ADMIN_PORT}`.*`http://localhost:{ADMIN_PORT}/`", text):
        raise ValueError(f"docs/runbooks/README.md does not forward {ADMIN_PORT}")
    return re.search(r"on that machine at `http://localhost:(\d+)/`", text)[1]


def unit():
    text = pathlib.Path("deploy/systemd/auth-proxy.service").read_text(encoding="utf-8")
    guide = pathlib.Path("docs/vm.md").read_text(encoding="utf-8")
    set_there = dict(re.findall(r"^Environment=([A-Z_]+)=(.*)", text, re.MULTILINE) + re.findall(r"^([A-Z_]+)=(.*)", guide, re.MULTILINE))
    yield from unknown(set_there)
    yield from missing(set_there)
    if (set_there.get("ADMIN_HOST"), set_there.get("ADMIN_PORT")) != ("127.0.0.1", runbooks_port()):
        yield "ADMIN_PORT is not the port of the runbooks, on the loopback"
    if set_there["HOST"] != "127.0.0.1":
        yield "it listens beyond the loopback"
    if seconds(re.search("^TimeoutStopSec=(.*)", text, re.MULTILINE)[1]) <= seconds(SETTINGS["SHUTDOWN_GRACE"]):
        yield "TimeoutStopSec is not longer than SHUTDOWN_GRACE"
    given = re.search("^ListenStream=(.*)", pathlib.Path("deploy/systemd/auth-proxy.socket").read_text(encoding="utf-8"), re.MULTILINE)
    if given[1] != f"127.0.0.1:{SETTINGS['PORT']}":
        yield f"ListenStream={given[1]} is not PORT on the loopback"
    if mebibytes(re.search("^MemoryMax=(.*)", text, re.MULTILINE)[1]) != MEMORY_MIB:
        yield f"MemoryMax is not {MEMORY_MIB}M"
    for line in ("DynamicUser=yes", "CapabilityBoundingSet=", "NoNewPrivileges=yes", "ProtectSystem=strict"):
        if f"\n{line}\n" not in text:
            yield f"other than in Kubernetes: {line}"


def image():
    toolchain = re.search('channel = "(.*)"', pathlib.Path("rust-toolchain.toml").read_text(encoding="utf-8"))[1]
    versions = set(re.findall(r"(?:/rust:|RUSTUP_TOOLCHAIN=)([0-9.]+)", DOCKERFILE))
    if versions != {toolchain}:
        yield f"Rust {versions} instead of {toolchain}"
    if re.search(r"^EXPOSE (.*)$", DOCKERFILE, re.MULTILINE)[1] != SETTINGS["PORT"]:
        yield "EXPOSE is not PORT"


def main(*arguments):
    if "--write" in arguments:
        list(rule(write=True)) + list(cronjobs(write=True))
    parts = {"sidecar-classic": form(KUBERNETES / "sidecar-classic"), "standalone": form(KUBERNETES / "standalone", shared=False)}
    for name in ("certificate", "tls-secret", "key-vault", "workload-identity", "managed-identity"):
        parts[f"component/{name}"] = form(KUBERNETES / "example", ("sidecar", name))
    parts |= {"CronJobs": cronjobs(), "docs/capacity.md": scaling(), "monitoring": rule()}
    parts |= {"docker-compose.yml": compose(), "deploy/podman": quadlet(), "deploy/systemd, docs/vm.md": unit(), "Dockerfile.scratch": image()}
    complaints = [f"{name}: {complaint}" for name, part in parts.items() for complaint in part]
    print("\n".join(complaints or [f"{len(SETTINGS)} settings; {', '.join(parts)}: as promised"]))
    return bool(complaints)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
