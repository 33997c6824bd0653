# shellcheck shell=bash
# The forms that podman can run, as it runs them: settings from the ConfigMap, files with the mode and group of their Secrets, the
# security context as it is written.
. tools/deploy/lib.sh
. tools/deploy/podman.sh

pods 'podman play kube'
start_sim /certs
down() { timeout 60 podman play kube --down "$WORK/pod.yaml" >/dev/null 2>&1; }

# The Secrets, as the first lines of the kustomizations make them.
secrets=$WORK/secrets
mkdir -p "$secrets"/auth-proxy-{certificate,server-tls,callers}
cp "$sim"/{certificate,ca}.pem "$secrets/auth-proxy-certificate"
openssl req -x509 -newkey rsa:2048 -sha256 -days 1 -nodes -subj /CN=auth-proxy -addext subjectAltName=DNS:auth-proxy,IP:127.0.0.1 \
    -keyout "$secrets/auth-proxy-server-tls/tls.key" -out "$secrets/auth-proxy-server-tls/tls.crt"
openssl rand -hex 32 | tee "$WORK/team-a.key" | "$BINARY" hash-key team-a >>"$secrets/auth-proxy-callers/callers"

# play FORM: sets `pod`, `container`, and where it listens.
play() {
    pod=auth-proxy-test-$$-$1 port=$(free_port) admin=$(free_port)
    timeout 60 kubectl kustomize "deploy/kubernetes/$1" >"$WORK/manifest"
    mapfile -t settings < <(grep -v -e '^HOST=' -e '^PORT=' -e '^SSL_CERT_FILE=' "$WORK/env")
    settings+=(HOST=127.0.0.1 "PORT=$port" ADMIN_HOST=127.0.0.1 "ADMIN_PORT=$admin")
    timeout 60 "$python" tools/deploy/play.py "$WORK/manifest" "$image" "$pod" "$secrets" "${settings[@]}" \
        >"$WORK/pod.yaml"
    timeout 120 podman play kube "$WORK/pod.yaml"
    container=$(podman ps --all --filter "name=$pod" --format '{{.Names}}' | grep 'auth-proxy$')
}
logged() { podman logs "$container" 2>&1 | grep -q -e 'listening for administration' -e '^error:'; }
named() { podman logs "$container" 2>&1 | grep ' caller=team-a '; }
probe() { ask --fail "http://127.0.0.1:$admin/$1"; }
later down

for form in sidecar-classic standalone; do
    play "$form"
    eventually 60 logged
    for path in startupz readyz livez; do eventually 60 probe "$path"; done
    if [[ $form == standalone ]]; then
        trust=(--cacert "$secrets/auth-proxy-server-tls/tls.crt")
        [[ $(ask "https://127.0.0.1:$port/openai/v1/models" "${trust[@]}" --write-out '%{http_code}' --output "$WORK/refused") == 401 ]]
        [[ $(ask "http://127.0.0.1:$port/openai/v1/models" --write-out '%{http_code}' --output "$WORK/refused") == 400 ]]
        chat "https://127.0.0.1:$port" "${trust[@]}" -H "authorization: Bearer $(cat "$WORK/team-a.key")" >"$WORK/response"
        eventually 10 named
        ok 'standalone: TLS and a key for each caller' '401 without a key, 400 without TLS, the log has the name'
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
