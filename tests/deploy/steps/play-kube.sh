# shellcheck shell=bash
# The pod of two containers as podman runs it: settings from the ConfigMap, the certificate from the Secret, the security
# context as it is written.
. tests/deploy/lib.sh
. tests/deploy/podman.sh

if ! have podman podman 'podman play kube' || ! have kubectl kubernetes-client 'podman play kube'; then exit; fi
if ! target/tools/deploy/bin/python -c 'import yaml'; then
    skipped 'podman play kube' 'no PyYAML (PyPI)'
    exit
fi
build_image
if ! find_engine "$image"; then
    skipped 'podman play kube' 'podman runs no container here'
    exit
fi
start_sim /certs
pod=auth-proxy-test-$$
port=$(free_port) admin=$(free_port)
mapfile -t settings < <(grep -v -e '^HOST=' -e '^PORT=' -e '^SSL_CERT_FILE=' "$WORK/env")
settings+=(HOST=127.0.0.1 "PORT=$port" ADMIN_HOST=127.0.0.1 "ADMIN_PORT=$admin")
timeout 60 kubectl kustomize deploy/kubernetes/sidecar-classic | sed "s/your-application/$pod/; s/auth-proxy-certificate/$pod-certificate/" >"$WORK/manifest"
timeout 60 target/tools/deploy/bin/python tests/deploy/play.py "$WORK/manifest" "$image" "$pod-certificate" \
    "$sim/certificate.pem" "$sim/ca.pem" "${settings[@]}" >"$WORK/pod.yaml"

# The image of the pause container is podman's own work, and stays only if it was there before.
before=$(podman images --quiet | sort)
later "podman images --quiet | sort | comm -13 <(echo '$before') - | xargs --no-run-if-empty podman rmi --force >/dev/null"
later "timeout 60 podman play kube --down '$WORK/pod.yaml' >/dev/null; podman secret rm $pod-certificate >/dev/null; podman volume rm $pod-certificate >/dev/null"
timeout 120 podman play kube "$WORK/pod.yaml"
container=$(podman ps --filter "name=$pod" --format '{{.Names}}' | grep 'auth-proxy$')
probe() { ask --fail "http://127.0.0.1:$admin/$1"; }
for path in startupz readyz livez; do eventually 60 probe "$path"; done
chat "http://127.0.0.1:$port" >"$WORK/answer"
grep -q '"content"' "$WORK/answer"
pid=$(podman inspect --format '{{.State.Pid}}' "$container")
[[ $(awk '$1 == "Uid:" || $1 == "CapEff:" || $1 == "NoNewPrivs:" { print $2 }' "/proc/$pid/status" | paste -sd ' ') == '65532 0000000000000000 1' ]]
ok 'podman play kube, sidecar-classic' 'the three probes answer, a request through, uid 65532 without capabilities'

application=$(podman ps --all --filter "name=$pod" --format '{{.Names}}' | grep -v -e 'auth-proxy$' -e 'infra$')
asked() { timeout 60 podman start --attach "$application"; }
eventually 60 asked
ok 'the other container of the pod reaches it on 127.0.0.1'
