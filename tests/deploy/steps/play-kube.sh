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
# The image of the pause container is podman's own work, and stays only if it was there before.
pause=$(podman images --quiet --filter reference='localhost/podman-pause')
later "[[ -n '$pause' ]] || podman images --quiet --filter reference=localhost/podman-pause | xargs --no-run-if-empty podman rmi --force >/dev/null"
down() {
    timeout 60 podman play kube --down "$WORK/pod.yaml"
    if podman secret inspect "$pod-certificate"; then podman secret rm "$pod-certificate"; fi
    if podman volume exists "$pod-certificate"; then podman volume rm "$pod-certificate"; fi
} >/dev/null 2>&1
later down

# play KIND: with the certificate from a Secret or from a ConfigMap; sets `container`.
play() {
    timeout 60 target/tools/deploy/bin/python tests/deploy/play.py "$WORK/manifest" "$image" "$1" "$pod-certificate" \
        "$sim/certificate.pem" "$sim/ca.pem" "${settings[@]}" >"$WORK/pod.yaml"
    timeout 120 podman play kube "$WORK/pod.yaml"
    container=$(podman ps --all --filter "name=$pod" --format '{{.Names}}' | grep 'auth-proxy$')
}
said() { podman logs "$container" 2>&1 | grep -q -e 'listening for administration' -e '^error:'; }
play Secret
eventually 60 said
if podman logs "$container" 2>&1 | grep 'is PEM in base64 once more'; then
    skipped 'the certificate from a Secret' "podman $(podman version --format '{{.Client.Version}}') mounts it without decoding it: from a ConfigMap"
    down
    play ConfigMap
fi
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
