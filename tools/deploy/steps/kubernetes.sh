# shellcheck shell=bash
# The manifests: what they promise (`make deploy-check`), built by kustomize, against the schemas of two versions of Kubernetes
# and against checkov; and the component beside applications that know nothing of it.
. tools/deploy/lib.sh
versions=(1.29 1.37)
python=target/tools/deploy/bin/python

if timeout 300 tests/clients/install.sh main; then
    timeout 60 tools/deploy/check.sh
    ok 'promises: restricted Pod Security, probes, reachable addresses, grace periods, resources, settings, versions'
else
    skipped 'promises' 'no PyYAML: PyPI cannot be reached'
fi

if ! have kubectl kubernetes-client 'kustomizations'; then exit; fi
build() { timeout 60 kubectl kustomize "$1"; }
mkdir "$WORK/built" "$WORK/custom"
for form in example sidecar-classic standalone; do build "deploy/kubernetes/$form" >"$WORK/built/$form.yaml"; done
# Kinds that Kubernetes itself does not know have no schema here.
build deploy/kubernetes/monitoring >"$WORK/custom/monitoring.yaml"
ok 'kubectl kustomize' 'example sidecar-classic standalone monitoring'
if ! "$python" -c 'import yaml'; then
    skipped "somebody's applications, schemas, checkov" 'PyPI cannot be reached'
    exit
fi

# combined NAME RESOURCE COMPONENT...: in the folder $WORK/NAME, built. kustomize has paths below its own folder only for folders.
combined() {
    local folder=$WORK/$1 component
    mkdir -p "$folder"
    cp "tools/deploy/foreign/$2" "$folder"
    ln -sfn "$PWD/deploy" "$WORK/deploy"
    {
        # As the manifests have it, if they do.
        sed -n 's/^  namespace:/namespace:/p' "$folder/$2" | sort -u
        printf 'resources: [%s]\n' "$2"
        sed -n '/^configMapGenerator:/,$p' deploy/kubernetes/example/kustomization.yaml
    } >"$folder/kustomization.yaml"
    shift 2
    if [[ " $* " == *' managed-identity '* ]]; then sed -i '/AZURE_.*_ID=/d' "$folder/kustomization.yaml"; fi
    printf 'components:\n' >>"$folder/kustomization.yaml"
    for component in "$@"; do printf -- '  - ../deploy/kubernetes/component/%s\n' "$component" >>"$folder/kustomization.yaml"; done
    build "$folder"
}
# alone FILE: built without the component.
alone() {
    mkdir -p "$WORK/alone"
    cp "$1" "$WORK/alone/manifests.yaml"
    printf 'resources: [manifests.yaml]\n' >"$WORK/alone/kustomization.yaml"
    build "$WORK/alone"
}
only_proxy() { "$python" tools/deploy/only_proxy.py "$@"; }

credentials=(certificate tls-secret key-vault workload-identity managed-identity)
for file in tools/deploy/foreign/*.yaml; do
    application=$(basename "$file" .yaml)
    alone "$file" >"$WORK/before.yaml"
    for credential in "${credentials[@]}"; do
        combined "$application-$credential" "$application.yaml" "$credential" >"$WORK/built/$application-$credential.yaml"
        only_proxy "$WORK/before.yaml" "$WORK/built/$application-$credential.yaml" | tee "$WORK/difference"
    done
    ok "somebody's $application with the component: differs by the proxy alone" "$(cat "$WORK/difference"); ${credentials[*]}"
done

# What a reader may add to one of them.
built() { grep -c -e "$2" "$WORK/built/$1.yaml" || true; }
combined network-policy job.yaml managed-identity network-policy >"$WORK/built/network-policy.yaml"
combined optional deployment.yaml certificate optional >"$WORK/built/optional.yaml"
[[ "$(built deployment-certificate 'startupProbe\|readinessProbe') $(built optional 'startupProbe\|readinessProbe') $(built optional livenessProbe)" == '2 0 1' ]]
ok 'optional: neither startup nor readiness probe'
combined ports deployment.yaml certificate >/dev/null
# shellcheck disable=SC2016  # the backticks are Markdown's
awk '/^  ```yaml$/ { open = 1; next } /^  ```$/ { open = 0 } open' docs/kubernetes.md | sed 's/^  //; s/name: NAME/name: helpdesk/' >>"$WORK/ports/kustomization.yaml"
sed -i 's/containerPort: 8081/containerPort: 18081/' "$WORK/ports/deployment.yaml"
build "$WORK/ports" >"$WORK/built/ports.yaml"
alone "$WORK/ports/deployment.yaml" >"$WORK/before.yaml"
only_proxy "$WORK/before.yaml" "$WORK/built/ports.yaml"
[[ "$(built ports 'containerPort: 28081') $(built ports 'name: proxy-admin')" == '1 1' ]]
ok 'the patch of docs/kubernetes.md for other ports' 'beside an application that has 18081'
mkdir "$WORK/team"
cp tools/deploy/foreign/deployment.yaml "$WORK/team"
sed -n '/^#   namespace:/,/^[^#]/s/^#   //p' deploy/kubernetes/platform/kustomization.yaml \
    | sed 's|namespace: TEAM|namespace: support|; s|"https://.*"|../deploy/kubernetes/platform|' >"$WORK/team/kustomization.yaml"
build "$WORK/team" >"$WORK/built/team.yaml"
alone tools/deploy/foreign/deployment.yaml >"$WORK/before.yaml"
only_proxy "$WORK/before.yaml" "$WORK/built/team.yaml"
[[ "$(built team 'image: registry.example.com/auth-proxy@sha256') $(built team 'AZURE_CLIENT_ID:\|AZURE_TENANT_ID:\|API_BASE_URL:')" == '1 3' ]]
ok 'platform: the kustomization of a team, as its first lines have it' 'image, tenant and upstream of the platform'
alone deploy/kubernetes/example/deployment.yaml | sed 's/^metadata:/&\n  namespace: your-namespace/' >"$WORK/before.yaml"
only_proxy "$WORK/before.yaml" "$WORK/built/example.yaml"

# docs/runbooks/rotate-caller-keys.md, step 1: what `kubectl apply` gets has both keys.
mkdir -p "$WORK/keys/bin"
ln -s "$(realpath "$BINARY")" "$WORK/keys/bin/auth-proxy"
page=docs/runbooks/rotate-caller-keys.md
awk '/^ *```/ { if (open) exit; open = 1; next } open' "$page" >"$WORK/keys/commands"
# shellcheck disable=SC2016  # the backticks are Markdown's
sed -n 's/.*In Kubernetes, from that file: `\(.*\) | kubectl apply -f -`.*/\1/p' "$page" >>"$WORK/keys/commands"
openssl rand -hex 32 | "$BINARY" hash-key team-a >"$WORK/keys/callers"
(cd "$WORK/keys" && PATH="$PWD/bin:$PATH" timeout 60 bash -e commands) >"$WORK/secret.yaml"
[[ $(sed -n 's/^  callers: //p' "$WORK/secret.yaml" | base64 --decode | grep -c '^team-a ') == 2 ]]
ok "$page: the Secret has both keys of the caller"
# A command that wants an id comes after one that shows it.
for page in docs/runbooks/*.md; do
    if grep -q -e '--query .*thumbprint' "$page"; then grep -q -e '--query .*keyId' "$page" || fail "$page: where is the key id?"; fi
done

# What would not start, or not listen, is found.
refused() {
    if only_proxy "$WORK/before.yaml" "$WORK/wrong.yaml" >"$WORK/complaints"; then fail "not found: $1"; fi
    grep -q "$1" "$WORK/complaints" || fail "$(cat "$WORK/complaints") instead of: $1"
}
alone tools/deploy/foreign/deployment.yaml >"$WORK/before.yaml"
combined wrong deployment.yaml certificate >/dev/null
sed -i '/^namespace:/d' "$WORK/wrong/kustomization.yaml"
build "$WORK/wrong" >"$WORK/wrong.yaml"
refused 'there is no ConfigMap auth-proxy in its namespace support'
sed 's/"18080"/"8080"/' "$WORK/built/deployment-certificate.yaml" >"$WORK/wrong.yaml"
refused 'port 8080 is used twice'
sed 's/name: proxy-admin/name: admin/' "$WORK/built/deployment-certificate.yaml" >"$WORK/wrong.yaml"
refused 'two ports are named admin'
sed '/image: registry.example.com.helpdesk/d' "$WORK/built/deployment-certificate.yaml" >"$WORK/wrong.yaml"
refused 'the container web has no image'
ok 'found: a ConfigMap of another namespace, a port or a port name used twice, a container without an image'

if have kubernetes-validate 'kubernetes-validate of PyPI' 'schemas of Kubernetes'; then
    for version in "${versions[@]}"; do
        timeout 240 kubernetes-validate --strict -k "$version" "$WORK"/built/*.yaml >"$WORK/validated"
    done
    ok 'schemas of Kubernetes' "${versions[*]}, $(find "$WORK/built" -name '*.yaml' | wc -l) manifests"
fi
if have checkov 'checkov of PyPI' 'checkov'; then
    mkdir "$WORK/ours"
    cp "$WORK"/built/{example,sidecar-classic,standalone}.yaml "$WORK"/custom/*.yaml "$WORK/ours"
    # Its rules are in the package; it would ask its maker for texts about them.
    if ! LOG_LEVEL=CRITICAL timeout 240 checkov --config-file tools/deploy/checkov.yaml --skip-download --compact -d "$WORK/ours" >"$WORK/checkov" 2>"$WORK/checkov.log"; then
        cat "$WORK/checkov"
        fail 'checkov has findings'
    fi
    ok 'checkov' "$(sed -n 's/^Passed checks: \([0-9]*\), Failed checks: \([0-9]*\).*/\1 passed, \2 failed/p' "$WORK/checkov"); each exception with its reason in tools/deploy/checkov.yaml"
fi
skipped 'a cluster' 'these steps start none'
