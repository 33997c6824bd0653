"""only_proxy.py BEFORE AFTER: whether manifests with the component differ from those without it by the proxy alone.

The proxy is taken out of AFTER, by name; what is left must be BEFORE, down to the order of containers and volumes. With the
proxy, no port may be used twice in a pod, and the ConfigMaps that it names must be there. Prints what is not.
"""

import copy
import sys

import yaml


def read(path):
    with open(path, encoding="utf-8") as file:
        return {(document["kind"], document["metadata"]["name"]): document for document in yaml.safe_load_all(file)}


def is_ours(name):
    return name == "auth-proxy" or name.startswith("auth-proxy-")


def pod_template(document):
    """A workload's; a CronJob has it deeper."""
    spec = document.get("spec", {})
    return spec.get("jobTemplate", {}).get("spec", spec).get("template")


def containers(pod):
    return pod.get("initContainers", []) + pod["containers"]


def ports(container):
    """Where a container listens: what it declares, and the proxy's settings."""
    declared = {str(port["containerPort"]) for port in container.get("ports", [])}
    variables = {variable["name"]: variable.get("value") for variable in container.get("env", [])}
    return declared | ({variables["PORT"], variables["ADMIN_PORT"]} if container["name"] == "auth-proxy" else set())


def misfits(document, documents):
    """What keeps the pods of a workload from starting, or its containers from listening."""
    pod = pod_template(document)["spec"]
    taken = [port for container in containers(pod) for port in ports(container)]
    yield from (f"port {port} is used twice" for port in sorted(set(taken)) if taken.count(port) > 1)
    names = [port["name"] for container in containers(pod) for port in container.get("ports", []) if "name" in port]
    yield from (f"two ports are named {name}" for name in sorted(set(names)) if names.count(name) > 1)
    yield from (f"the container {container['name']} has no image" for container in containers(pod) if "image" not in container)
    sources = [source for container in containers(pod) for source in container.get("envFrom", [])]
    volumes = pod.get("volumes", [])
    used = {("ConfigMap", source["configMapRef"]["name"]) for source in sources if "configMapRef" in source}
    used |= {("ConfigMap", volume["configMap"]["name"]) for volume in volumes if "configMap" in volume}
    used |= {("Secret", source["secretRef"]["name"]) for source in sources if "secretRef" in source}
    used |= {("Secret", volume["secret"]["secretName"]) for volume in volumes if "secret" in volume}
    space = document["metadata"].get("namespace")
    for kind, name in sorted(used):
        found = [it for (of, _), it in documents.items() if of == kind]
        if not any((it["metadata"]["name"], it["metadata"].get("namespace")) == (name, space) for it in found):
            # A Secret is made by other means, unless one is generated.
            if kind == "ConfigMap" or any(it["metadata"]["name"].startswith(f"{name}-") for it in found):
                yield f"there is no {kind} {name} in its namespace {space}"


def without_proxy(document):
    """What is left of a workload, and how many of each part were taken out."""
    rest = copy.deepcopy(document)
    template = pod_template(rest)
    taken = {"label": template["metadata"]["labels"].pop("auth-proxy", None)}
    template["metadata"]["labels"].pop("auth-proxy-credential", None)
    pod = template["spec"]
    for part in ("initContainers", "volumes"):
        entries = pod.pop(part, [])
        taken[part] = [entry["name"] for entry in entries if is_ours(entry["name"])]
        others = [entry for entry in entries if not is_ours(entry["name"])]
        if others:
            pod[part] = others
        if part == "initContainers" and taken[part] and not is_ours(entries[0]["name"]):
            taken[part] = f"not the first of {[entry['name'] for entry in entries]}"
    return rest, taken


def main(before, after):
    before, after = read(before), read(after)
    complaints = [f"{kind} {name} is gone" for kind, name in before.keys() - after.keys()]
    new = after.keys() - before.keys()
    complaints += [f"{kind} {name} is new" for kind, name in new if kind != "ConfigMap" or not is_ours(name)]
    if len(new) != 1:
        complaints.append(f"not one ConfigMap is new, but {sorted(new)}")
    with_proxy = 0
    for key in before.keys() & after.keys():
        document, rest = after[key], after[key]
        if pod_template(document):
            complaints += [f"{key}: {complaint}" for complaint in misfits(document, after)]
            rest, taken = without_proxy(document)
            excluded = document["metadata"].get("labels", {}).get("auth-proxy") == "none"
            wanted = (None, []) if excluded else ("sidecar", ["auth-proxy"])
            if (taken["label"], taken["initContainers"]) != wanted or bool(taken["volumes"]) is excluded:
                complaints.append(f"{key}: of the proxy there is {taken}")
            with_proxy += not excluded
        if rest != before[key]:
            complaints.append(f"{key} differs in more than the proxy")
    if not with_proxy:
        complaints.append("no workload has the proxy")
    print("\n".join(complaints or [f"{with_proxy} with the proxy, {len(before) - with_proxy} unchanged"]))
    return bool(complaints)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
