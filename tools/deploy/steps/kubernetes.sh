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

# combined NAME RESOURCE COMPONENT...: kustomize has paths below its own folder only for folders.
combined() {
    local folder=$WORK/$1 component
    mkdir -p "$folder"
    ln -sfn "$PWD/deploy" "$WORK/deploy"
    { printf 'resources: [%s]\n' "$2" && sed -n '/^configMapGenerator:/,/^patches:/p; /^images:/,$p' deploy/kubernetes/example/kustomization.yaml | sed '/^patches:/d'; } >"$folder/kustomization.yaml"
    shift 2
    if (($#)); then printf 'components:\n' >>"$folder/kustomization.yaml"; fi
    for component in "$@"; do printf -- '  - ../deploy/kubernetes/component/%s\n' "$component" >>"$folder/kustomization.yaml"; done
    build "$folder"
}

credentials=(certificate tls-secret key-vault workload-identity managed-identity)
for file in tools/deploy/foreign/*.yaml; do
    application=$(basename "$file" .yaml)
    mkdir "$WORK/$application"
    cp "$file" "$WORK/$application"
    printf 'resources: [%s]\n' "$application.yaml" >"$WORK/$application/kustomization.yaml"
    build "$WORK/$application" >"$WORK/before.yaml"
    for credential in "${credentials[@]}"; do
        mkdir "$WORK/$application-$credential"
        cp "$file" "$WORK/$application-$credential"
        combined "$application-$credential" "$application.yaml" "$credential" >"$WORK/built/$application-$credential.yaml"
        if "$python" -c 'import yaml'; then
            "$python" tools/deploy/only_proxy.py "$WORK/before.yaml" "$WORK/built/$application-$credential.yaml" | tee "$WORK/difference"
        fi
    done
    if [[ -e $WORK/difference ]]; then
        ok "somebody's $application with the component: differs by the proxy alone" "$(cat "$WORK/difference"); ${credentials[*]}"
    fi
done
cp tools/deploy/foreign/job.yaml "$WORK/job"
combined job job.yaml managed-identity network-policy >"$WORK/built/network-policy.yaml"

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
