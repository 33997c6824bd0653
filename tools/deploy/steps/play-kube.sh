# shellcheck shell=bash
# The forms that podman can run, as it runs them: settings from the ConfigMap, the certificate and the key from Secrets, the
# security context as it is written.
. tools/deploy/lib.sh
. tools/deploy/podman.sh

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
# The image of the pause container is podman's own work, and stays only if it was there before.
pause=$(podman images --quiet --filter reference='localhost/podman-pause')
later "[[ -n '$pause' ]] || podman images --quiet --filter reference=localhost/podman-pause | xargs --no-run-if-empty podman rmi --force >/dev/null"
down() {
    timeout 60 podman play kube --down "$WORK/pod.yaml"
    local name
    for name in "$pod-certificate" "$pod-api-key"; do
        if podman secret inspect "$name"; then podman secret rm "$name"; fi
        if podman volume exists "$name"; then podman volume rm "$name"; fi
    done
} >/dev/null 2>&1

# play FORM KIND: with certificate and key from Secrets or from ConfigMaps; sets `pod`, `container`, and where it listens.
play() {
    pod=auth-proxy-test-$$-$1 port=$(free_port) admin=$(free_port)
    timeout 60 kubectl kustomize "deploy/kubernetes/$1" | sed "s/\(auth-proxy-certificate\|auth-proxy-api-key\)$/$pod-\1/; s/$pod-auth-proxy-/$pod-/" >"$WORK/manifest"
    mapfile -t settings < <(grep -v -e '^HOST=' -e '^PORT=' -e '^SSL_CERT_FILE=' "$WORK/env")
    settings+=(HOST=127.0.0.1 "PORT=$port" ADMIN_HOST=127.0.0.1 "ADMIN_PORT=$admin" "PROXY_API_KEY=$key")
    timeout 60 target/tools/deploy/bin/python tools/deploy/play.py "$WORK/manifest" "$image" "$2" "$pod" \
        "$sim/certificate.pem" "$sim/ca.pem" "${settings[@]}" >"$WORK/pod.yaml"
    timeout 120 podman play kube "$WORK/pod.yaml"
    container=$(podman ps --all --filter "name=$pod" --format '{{.Names}}' | grep 'auth-proxy$')
}
logged() { podman logs "$container" 2>&1 | grep -q -e 'listening for administration' -e '^error:'; }
probe() { ask --fail "http://127.0.0.1:$admin/$1"; }
key=$(openssl rand -hex 32)
later down

kind=Secret
for form in sidecar-classic standalone; do
    play "$form" "$kind"
    eventually 60 logged
    if podman logs "$container" 2>&1 | grep -e 'is PEM in base64 once more' -e 'ca.pem holds no usable certificate'; then
        skipped 'certificate and key from Secrets' "podman $(podman version --format '{{.Client.Version}}') does not decode what it mounts: from ConfigMaps"
        down
        kind=ConfigMap
        play "$form" "$kind"
    fi
    for path in startupz readyz livez; do eventually 60 probe "$path"; done
    if [[ $form == standalone ]]; then
        [[ $(ask "http://127.0.0.1:$port/openai/v1/models" --write-out '%{http_code}' --output "$WORK/refused") == 401 ]]
        chat "http://127.0.0.1:$port" -H "api-key: $key" >"$WORK/response"
    else
        chat "http://127.0.0.1:$port" >"$WORK/response"
    fi
    grep -q '"content"' "$WORK/response"
    pid=$(podman inspect --format '{{.State.Pid}}' "$container")
    [[ $(awk '$1 == "Uid:" || $1 == "CapEff:" || $1 == "NoNewPrivs:" { print $2 }' "/proc/$pid/status" | paste -sd ' ') == '65532 0000000000000000 1' ]]
    ok "podman play kube, $form" 'the three probes respond, a request through, uid 65532 without capabilities'
    if [[ $form == sidecar-classic ]]; then
        application=$(podman ps --all --filter "name=$pod" --format '{{.Names}}' | grep -v -e 'auth-proxy$' -e 'infra$')
        asked() { timeout 60 podman start --attach "$application"; }
        eventually 60 asked
        ok 'the other container of the pod reaches it on 127.0.0.1'
    fi
    down
done
skipped 'podman play kube, native sidecars' 'podman knows none: the step play-walk runs one as a container beside the others'
