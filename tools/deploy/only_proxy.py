"""only_proxy.py BEFORE AFTER: whether manifests with the component differ from those without it by the proxy alone.

The proxy is taken out of AFTER, by name; what is left must be BEFORE, down to the order of containers and volumes. Prints
what is not.
"""

import copy
import sys

import yaml


def read(path):
    with open(path, encoding="utf-8") as file:
        return {(document["kind"], document["metadata"]["name"]): document for document in yaml.safe_load_all(file)}


def is_ours(name):
    return name == "auth-proxy" or name.startswith("auth-proxy-")


def without_proxy(document):
    """What is left of a workload, and how many of each part were taken out."""
    rest = copy.deepcopy(document)
    template = rest["spec"]["template"]
    taken = {"label": template["metadata"]["labels"].pop("auth-proxy", None)}
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
        if "template" in document["spec" if "spec" in document else "metadata"]:
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
