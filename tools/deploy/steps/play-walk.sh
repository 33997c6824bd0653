# shellcheck shell=bash
# docs/kubernetes.md from a Deployment to a response, its commands word for word. In place of a cluster there is podman, and in
# place of the commands of kubectl that need a cluster what stands below; kustomize is the real one.
. tools/deploy/lib.sh
. tools/deploy/podman.sh

pods 'the walk of docs/kubernetes.md'
start_sim /certs

# What the reader has.
newcomer=$WORK/newcomer pod=auth-proxy-test-$$-walk port=$(free_port) admin=$(free_port)
mkdir -p "$newcomer/certs"
cp -R deploy "$newcomer"
mv "$newcomer/deploy/kubernetes/example/deployment.yaml" "$newcomer"
cp "$sim/certificate.pem" "$newcomer/certs"
mkdir -p "$WORK/secrets/auth-proxy-certificate"
cp "$sim/ca.pem" "$WORK/secrets/auth-proxy-certificate"
mapfile -t settings < <(grep -v -e '^HOST=' -e '^PORT=' -e '^SSL_CERT_FILE=' "$WORK/env")
settings+=(HOST=127.0.0.1 "PORT=$port" ADMIN_HOST=127.0.0.1 "ADMIN_PORT=$admin")
declare -A simulated
for setting in "${settings[@]}"; do simulated[${setting%%=*}]=${setting#*=}; done
later "timeout 60 podman play kube --down '$WORK/pod.yaml' >/dev/null"

mkdir "$WORK/bin"
cat >"$WORK/bin/editor" <<END
#!/bin/sh
sed -i 's|AZURE_CLIENT_ID=.*|AZURE_CLIENT_ID=${simulated[AZURE_CLIENT_ID]}|; s|AZURE_TENANT_ID=.*|AZURE_TENANT_ID=${simulated[AZURE_TENANT_ID]}|; s|API_BASE_URL=.*|API_BASE_URL=${simulated[API_BASE_URL]}|' "\$1"
END
cat >"$WORK/bin/kubectl" <<END
#!/usr/bin/env bash
set -euo pipefail
case "\$1 \$2" in
'create secret')
    cp "\${5#--from-file=certificate.pem=}" "$WORK/secrets/\$4/certificate.pem"
    ;;
'diff -k')
    diff <("$(command -v kubectl)" kustomize "\$3") deployment.yaml || true
    ;;
'apply -k')
    "$(command -v kubectl)" kustomize "\$3" >"$WORK/manifest"
    "$python" "$PWD/tools/deploy/play.py" "$WORK/manifest" "$image" "$pod" "$WORK/secrets" ${settings[*]@Q} >"$WORK/pod.yaml"
    timeout 120 podman play kube "$WORK/pod.yaml"
    ;;
'exec deployment/your-application')
    [[ "\$3 \$4 \$5" == '-c auth-proxy --' ]]
    timeout 60 podman exec "\$(podman ps --filter "name=$pod" --format '{{.Names}}' | grep 'auth-proxy\$')" "\${@:6}"
    ;;
*)
    echo "what is kubectl \$*?"
    exit 1
    ;;
esac
END
chmod +x "$WORK"/bin/*
# shellcheck disable=SC2016  # the backticks are Markdown's
awk '/^## From a Deployment/ { found = 1 } found && /^```/ { if (open) exit; open = 1; next } open' docs/kubernetes.md >"$WORK/walk"
commands=$(grep -c '^' "$WORK/walk")
((commands >= 3 && commands <= 6)) || fail "the walk has $commands commands, and 6 are what it may have"
(cd "$newcomer" && PATH="$WORK/bin:$PATH" EDITOR="$WORK/bin/editor" timeout 300 bash -e "$WORK/walk") | tee "$WORK/walked"
tail -n 20 "$WORK/walked" | grep -q 'upstream .*ok\|ok .*upstream' || fail 'the check of the last command is not ok'
ready() { ask --fail "http://127.0.0.1:$admin/readyz"; }
eventually 60 ready
chat "http://127.0.0.1:$port" >"$WORK/response"
grep -q '"content"' "$WORK/response"
application=$(podman ps --all --filter "name=$pod" --format '{{.Names}}' | grep -v -e 'auth-proxy$' -e 'infra$')
asked() { timeout 60 podman start --attach "$application"; }
eventually 60 asked
ok 'docs/kubernetes.md, from a Deployment to a response through the proxy' "$commands commands; the application reaches it on 127.0.0.1"
