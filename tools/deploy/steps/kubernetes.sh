# shellcheck shell=bash
# The manifests: what they promise (`make deploy-check`), built by kustomize, and against the schemas of two versions of
# Kubernetes.
. tools/deploy/lib.sh
versions=(1.29 1.37)

if timeout 300 tests/clients/install.sh main; then
    timeout 60 tools/deploy/check.sh
    ok 'promises: restricted Pod Security, probes, reachable addresses, grace periods, resources, settings, versions'
else
    skipped 'promises' 'no PyYAML: PyPI cannot be reached'
fi

if ! have kubectl kubernetes-client 'kustomizations'; then exit; fi
for form in deploy/kubernetes/*/; do
    form=$(basename "$form")
    timeout 60 kubectl kustomize "deploy/kubernetes/$form" >"$WORK/$form.yaml"
done
ok 'kubectl kustomize' "$(cd deploy/kubernetes && echo *)"

if have kubernetes-validate 'kubernetes-validate of PyPI' 'schemas of Kubernetes'; then
    for version in "${versions[@]}"; do
        timeout 120 kubernetes-validate --strict -k "$version" "$WORK"/*.yaml
    done
    ok 'schemas of Kubernetes' "${versions[*]}"
fi
skipped 'a cluster' 'these steps start none'
