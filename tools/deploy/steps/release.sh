# shellcheck shell=bash
# `make dist`, and what a user does with each of its files.
. tools/deploy/lib.sh
. tools/deploy/podman.sh
. tools/deploy/docker.sh

targets=()
for target in $DIST_TARGETS; do
    if [[ $target == "$(uname -m)"-* ]] || have "${target%%-*}-linux-gnu-gcc" "gcc-${target%%-*}-linux-gnu" "$target"; then
        targets+=("$target")
    fi
done
# A key for this trial, which the step source-bundle takes, too.
key=target/tools/deploy/trial.key
signed=()
if have minisign minisign 'a signature'; then
    if [[ ! -e $key ]]; then minisign -G -W -s "$key" -p "$key.pub"; fi
    signed=(MINISIGN_KEY="$key")
fi
export AUTH_PROXY_SOURCE=https://git.example.com/auth-proxy
make dist DIST_TARGETS="${targets[*]}" "${signed[@]}"
if ((${#signed[@]})); then
    minisign -V -q -p "$key.pub" -m dist/SHA256SUMS
    sed 's/^./0/' dist/SHA256SUMS >"$WORK/changed"
    if minisign -V -q -p "$key.pub" -m "$WORK/changed" -x dist/SHA256SUMS.minisig; then fail 'a changed list of sums has a valid signature'; fi
    ok 'SHA256SUMS.minisig' 'valid, and not for other sums'
fi
(cd dist && sha256sum --check --quiet SHA256SUMS)
ok 'make dist' "$(cd dist && stat -c '%n %s' -- * | awk '{ printf "%s%s %.1f MB", (NR > 1 ? ", " : ""), $1, $2 / 1048576 }')"

for target in "${targets[@]}"; do
    architecture=${target%%-*}
    tarball=$(echo dist/auth-proxy-*-linux-"$architecture".tar.gz)
    mkdir "$WORK/$architecture"
    tar -xzf "$tarball" -C "$WORK/$architecture" --strip-components=1
    (cd "$WORK/$architecture" && sha256sum --check --quiet SHA256SUMS)
    if readelf --program-headers "$WORK/$architecture/auth-proxy" | grep INTERP; then fail 'not static'; fi
    [[ -z $(python3 deploy/dist/links.py "$WORK/$architecture") ]] || fail 'links that lead out of the tarball'
    ok "$architecture: the tarball's files and sums, a static binary" "$(find "$WORK/$architecture" -type f -printf '%P\n' | sort | paste -sd ' ')"
    python3 - "${tarball%.tar.gz}.cdx.json" <<'PYTHON'
import json, sys
bill = json.load(open(sys.argv[1]))
assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
names = {component["name"] for component in bill["components"]}
assert {"ureq", "rustls", "ring", "rsa"} <= names and not {"cc", "syn", "der_derive"} & names, names
references = {component["bom-ref"] for component in bill["components"]} | {bill["metadata"]["component"]["bom-ref"]}
assert all(set(d["dependsOn"]) <= references for d in bill["dependencies"]) and len(bill["dependencies"]) == len(references)
assert all(component["licenses"] and component["hashes"] for component in bill["components"])
PYTHON
    ok "$architecture: SBOM" "$(grep -c '"bom-ref"' "${tarball%.tar.gz}.cdx.json") components, each with licence and hash"
done

boms=(dist/*.cdx.json)
if target/tools/deploy/bin/python -c 'import cyclonedx'; then
    timeout 60 target/tools/deploy/bin/python - "${boms[@]}" <<'PYTHON'
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
for name in sys.argv[1:]:
    fault = JsonStrictValidator(SchemaVersion.V1_5).validate_str(open(name, encoding="utf-8").read())
    assert fault is None, (name, fault)
PYTHON
    ok 'SBOM: the strict schema of CycloneDX 1.5' "${#boms[@]} files"
else
    skipped 'SBOM: the strict schema of CycloneDX 1.5' 'no cyclonedx-python-lib (PyPI)'
fi

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
if have podman podman 'podman load'; then
    later "podman rmi --force localhost/auth-proxy:$version docker.io/library/auth-proxy:$version >/dev/null"
    for target in "${targets[@]}"; do
        archive=$(echo dist/auth-proxy-*-linux-"${target%%-*}"-image.tar.gz)
        timeout 120 podman load --input "$archive" | tee "$WORK/loaded"
        loaded=$(sed -n 's/^Loaded image[^:]*: *//p' "$WORK/loaded" | head -n 1)
        podman image inspect --format '{{.Architecture}} {{.User}} {{.Config.Entrypoint}} {{.Labels}}' "$loaded" | tee "$WORK/inspected"
        grep -Eq '^(amd64|arm64) 65532:65532 \[/auth-proxy\] .*Apache-2.0' "$WORK/inspected"
        for label in "version:$version" "revision:$(git rev-parse HEAD)" "source:$AUTH_PROXY_SOURCE"; do
            grep -q "org.opencontainers.image.$label" "$WORK/inspected"
        done
        ok "${target%%-*}: podman load" "$loaded, $(mb $(($(podman image inspect --format '{{.Size}}' "$loaded") / 1024)))"
        if [[ $target != "$(uname -m)"-* ]]; then continue; fi
        if find_engine "$loaded"; then ok "${target%%-*}: the loaded image runs"; else skipped 'the loaded image runs' 'podman runs no container here'; fi
    done
fi
if start_docker 'docker load'; then
    for target in "${targets[@]}"; do
        timeout 120 docker load --input "$(echo dist/auth-proxy-*-linux-"${target%%-*}"-image.tar.gz)"
        kind=$(docker image inspect --format '{{.Architecture}} {{.Config.User}} {{.Config.Healthcheck.Test}}' "auth-proxy:$version")
        if [[ $target == "$(uname -m)"-* ]]; then kind+=", $(timeout 60 docker run --rm "auth-proxy:$version" --version)"; fi
        ok "${target%%-*}: docker load" "$kind"
    done
fi
inside=()
if have skopeo skopeo 'the same file as an OCI archive'; then
    for target in "${targets[@]}"; do
        gunzip --stdout "dist/auth-proxy-"*"-linux-${target%%-*}-image.tar.gz" >"$WORK/image.tar"
        for kind in oci-archive docker-archive; do
            found=$(timeout 60 skopeo inspect --format '{{.Os}}/{{.Architecture}}, {{len .Layers}} layer' "$kind:$WORK/image.tar")
        done
        ok "${target%%-*}: an OCI archive and a docker archive: skopeo inspect" "$found"
    done
fi

if have skopeo skopeo 'the index of all architectures' && ((${#targets[@]} > 1)); then
    gunzip --stdout "dist/auth-proxy-$version-image.tar.gz" >"$WORK/index.tar"
    mkdir "$WORK/registry"
    # As into a registry: the digest stays.
    timeout 60 skopeo copy --quiet --all --preserve-digests "oci-archive:$WORK/index.tar" "dir:$WORK/registry"
    [[ sha256:$(sha256sum <"$WORK/registry/manifest.json" | cut -d ' ' -f 1) == "$(cat dist/IMAGE-DIGEST)" ]]
    ok 'the index: skopeo copy --all, the digest of IMAGE-DIGEST' "$(python3 -c '
import json, sys
print(", ".join("/".join(m["platform"][part] for part in ("os", "architecture")) for m in json.load(open(sys.argv[1]))["manifests"]))' "$WORK/registry/manifest.json")"
fi

python3 - dist "$version" "$(git rev-parse HEAD)" <<'PYTHON'
import hashlib, json, pathlib, re, sys
folder, version, revision = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
statement = json.loads((folder / f"auth-proxy-{version}.intoto.json").read_text())
assert statement["_type"] == "https://in-toto.io/Statement/v1" and statement["predicateType"] == "https://slsa.dev/provenance/v1"
subjects = {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]}
named = {path.name for path in folder.iterdir()} - {"SHA256SUMS", "SHA256SUMS.minisig", f"auth-proxy-{version}.intoto.json"}
assert subjects.keys() == named, subjects.keys() ^ named
assert all(hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest for name, digest in subjects.items())
definition = statement["predicate"]["buildDefinition"]
assert definition["resolvedDependencies"][0]["digest"]["gitCommit"] == revision
assert all(re.match("^[a-z]+:", uri) for uri in [definition["buildType"], statement["predicate"]["runDetails"]["builder"]["id"]])
vex = json.loads((folder / f"auth-proxy-{version}.openvex.json").read_text())
ignored = set(re.findall(r'id = "(RUSTSEC-[0-9-]+)"', pathlib.Path("deny.toml").read_text()))
assert vex["@context"].startswith("https://openvex.dev/ns/v") and {s["vulnerability"]["name"] for s in vex["statements"]} == ignored
bill = json.loads(next(folder.glob("*.cdx.json")).read_text())
components = {component["purl"] for component in bill["components"]}
for s in vex["statements"]:
    assert s["status"] == "not_affected" and s["justification"] and s["impact_statement"]
    assert all(c["@id"] in components for product in s["products"] for c in product["subcomponents"]), s
PYTHON
ok 'provenance and VEX' "of $(grep -c '"sha256"' "dist/auth-proxy-$version.intoto.json") files and crates; advisories as in deny.toml, their crates as in the SBOM"

if [[ " ${targets[*]} " == *' aarch64'* && $(uname -m) != aarch64 ]] && have qemu-aarch64-static qemu-user-static 'the aarch64 binary'; then
    arm=(timeout 120 qemu-aarch64-static "$WORK/aarch64/auth-proxy")
    start_sim "$WORK/sim"
    settings+=("PORT=$(free_port)")
    start "$WORK/arm.log" env -i "${settings[@]}" "${arm[@]}"
    healthy() { env -i "${settings[@]}" "${arm[@]}" healthcheck; }
    eventually 60 healthy
    chat "http://127.0.0.1:${settings[-1]#PORT=}" >"$WORK/response"
    grep -q '"content"' "$WORK/response"
    ok 'the aarch64 binary under qemu' "$("${arm[@]}" --version), healthcheck, a request through to the simulator"
fi
