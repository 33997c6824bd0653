# shellcheck shell=bash
# The manifests: built by kustomize, and checked against the schemas of two versions of Kubernetes and against what they
# promise.
. tests/deploy/lib.sh
versions=(1.29 1.37)

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
    timeout 60 target/tools/deploy/bin/python tests/deploy/promises.py "$WORK"/*.yaml
    ok 'promises: restricted Pod Security, probes, reachable addresses, grace periods, resources'
fi
skipped 'a cluster' 'these steps start none'
