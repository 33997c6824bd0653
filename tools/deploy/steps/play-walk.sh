# shellcheck shell=bash
# docs/kubernetes.md from a Deployment to a response, its commands word for word, with somebody's application that runs already:
# in a namespace, of another name, with ports of its own. Then the check of docs/runbooks/upgrade.md. In place of a cluster there
# is podman, and in place of the commands of kubectl that need a cluster what stands below; kustomize is the real one.
. tools/deploy/lib.sh
. tools/deploy/podman.sh

pods 'the walk of docs/kubernetes.md'
start_sim /certs

# What the reader has.
newcomer=$WORK/newcomer pod=auth-proxy-test-$$-walk port=$(free_port) admin=$(free_port)
mkdir -p "$newcomer/certs"
cp -R deploy "$newcomer"
# Without the two variables, which the reader adds.
sed '/name: OPENAI_/d' tools/deploy/foreign/deployment.yaml >"$newcomer/deployment.yaml"
cp "$sim/certificate.pem" "$newcomer/certs"
mkdir -p "$WORK/secrets/auth-proxy-certificate"
cp "$sim/ca.pem" "$WORK/secrets/auth-proxy-certificate"
mapfile -t settings < <(grep -v -e '^HOST=' -e '^PORT=' -e '^SSL_CERT_FILE=' "$WORK/env")
settings+=(HOST=127.0.0.1 "PORT=$port" ADMIN_HOST=127.0.0.1 "ADMIN_PORT=$admin")
declare -A simulated
for setting in "${settings[@]}"; do simulated[${setting%%=*}]=${setting#*=}; done
for name in "$pod" "$pod-check"; do later "timeout 60 podman pod rm --force --time 1 '$name-pod-0' '$name' >/dev/null"; done

mkdir "$WORK/bin"
# What the table under the commands says.
cat >"$WORK/bin/editor" <<END
#!/bin/sh
set -e
[ "\$1" = --wait ] && [ "\$#" = 3 ]
cd deploy/kubernetes/example
sed -i 's|AZURE_CLIENT_ID=.*|AZURE_CLIENT_ID=${simulated[AZURE_CLIENT_ID]}|; s|AZURE_TENANT_ID=.*|AZURE_TENANT_ID=${simulated[AZURE_TENANT_ID]}|; s|API_BASE_URL=.*|API_BASE_URL=${simulated[API_BASE_URL]}|; s|^namespace: .*|namespace: support|' kustomization.yaml
sed -i 's|^\( *\)- {name: DATABASE_URL.*|&\n\1- {name: OPENAI_BASE_URL, value: "http://127.0.0.1:18080/openai/v1"}\n\1- {name: OPENAI_API_KEY, value: dummy}|' deployment.yaml
END
# The real one, where that needs no cluster. `deployment/helpdesk` is an old pod without the proxy until the rollout is over.
cat >"$WORK/bin/kubectl" <<END
#!/usr/bin/env bash
set -euo pipefail
here=$WORK real=$(command -v kubectl)
if [[ "\$1" == -n ]]; then
    [[ \$2 == support ]]
    shift 2
fi
proxy() { podman ps --filter "name=$pod" --format '{{.Names}}' | grep 'auth-proxy\$'; }
case "\$1 \$2" in
'create secret')
    cp "\${5#--from-file=certificate.pem=}" "\$here/secrets/\$4/certificate.pem"
    ;;
'diff -k')
    diff -u "\$here/cluster" <("\$real" kustomize "\$3")
    ;;
'apply -k')
    "\$real" kustomize "\$3" >"\$here/manifest"
    "$python" "$PWD/tools/deploy/play.py" "\$here/manifest" "$image" "$pod" "\$here/secrets" ${settings[*]@Q} >"\$here/pod.yaml"
    timeout 120 podman play kube "\$here/pod.yaml"
    ;;
'rollout status')
    [[ "\$3 \$4" == 'deployment/helpdesk --timeout=3m' ]]
    until curl --silent --fail --noproxy '*' "http://127.0.0.1:$admin/readyz"; do sleep 0.2; done
    touch "\$here/rolled-out"
    ;;
'port-forward deployment/helpdesk')
    if [[ ! -e \$here/rolled-out ]]; then
        echo 'error: lost connection to pod: the old one listens on no port 18080' >&2
        exit 1
    fi
    sleep 1
    echo "\$3" >"\$here/forwarded"
    exec sleep 60
    ;;
'exec POD')
    [[ "\$3 \$4 \$5" == '-c auth-proxy --' ]]
    timeout 60 podman exec "\$(proxy)" "\${@:6}"
    ;;
'get pod')
    "$python" -c 'import json, sys, yaml
(it,) = [it["spec"]["template"] for it in yaml.safe_load_all(open(sys.argv[1])) if it["metadata"]["name"] == "helpdesk" and it["kind"] == "Deployment"]
print(json.dumps(it))' "\$here/manifest"
    ;;
'run auth-proxy-check')
    # The overrides are a JSON merge patch. The ConfigMap is the one in the cluster.
    [[ "\$3 \$4 \$5 \$6" == '--image=registry.example.com/auth-proxy:new --restart=Never --attach --rm' ]]
    { sed '/^---\$/,\$d' "\$here/config" && echo --- && jq '{apiVersion: "v1", kind: "Pod", metadata: {}} * .' <<<"\${7#--overrides=}"; } >"\$here/overridden"
    "$python" "$PWD/tools/deploy/play.py" "\$here/overridden" "$image" "$pod-check" "\$here/secrets" ${settings[*]@Q} >"\$here/check.yaml"
    timeout 120 podman play kube "\$here/check.yaml" >&2
    container=\$(podman ps --all --filter "name=$pod-check" --format '{{.Names}}' | grep 'auth-proxy-check\$')
    code=\$(timeout 60 podman wait "\$container")
    podman logs "\$container"
    exit "\$code"
    ;;
*)
    echo "what is kubectl \$*?"
    exit 1
    ;;
esac
END
# What kubectl forwards.
cat >"$WORK/bin/curl" <<END
#!/usr/bin/env bash
if [[ "\$*" == *127.0.0.1:18080* ]]; then
    for _ in {1..50}; do [[ -e $WORK/forwarded ]] || sleep 0.2; done
    [[ \$(cat "$WORK/forwarded") == 18080 ]] || exit 7
fi
exec "$(command -v curl)" --noproxy '*' "\${@/127.0.0.1:18080/127.0.0.1:$port}"
END
chmod +x "$WORK"/bin/*

# block FILE TEXT [FENCE]: the block of code after that text, with the reader's names. FENCE 1 opens the first one, 3 the second.
block() {
    # shellcheck disable=SC2016  # the backticks are Markdown's
    awk -v text="$2" -v fence="${3:-1}" 'index($0, text) { found = 1 } found && /^ *```/ { if (open) exit; open = --fence == 0; next } open' "$1" \
        | sed 's/NAMESPACE/support/; s|deployment/NAME|deployment/helpdesk|g; s|NEW_IMAGE|registry.example.com/auth-proxy:new|; s/^   //'
}
walk() { (cd "$newcomer" && PATH="$WORK/bin:$PATH" EDITOR="editor --wait" timeout 300 bash -e "$1"); }
block docs/kubernetes.md '## From a Deployment' >"$WORK/walk"
commands=$(grep -c '^' "$WORK/walk")
((commands >= 3 && commands <= 6)) || fail "the walk has $commands commands, and 6 are what it may have"
kubectl kustomize deploy/kubernetes/sidecar-classic >"$WORK/cluster"
walk "$WORK/walk" | tee "$WORK/walked"
tail -n 1 "$WORK/walked" | grep -q '"data"' || fail 'the last command shows no models through the proxy'
ok 'docs/kubernetes.md, from a Deployment to a response through the proxy' "$commands commands, with a Deployment of another name, in a namespace, whose own port is 8080"

mkdir "$WORK/alone"
cp "$newcomer/deploy/kubernetes/example/deployment.yaml" "$WORK/alone"
printf 'resources: [deployment.yaml]\n' >"$WORK/alone/kustomization.yaml"
kubectl kustomize "$WORK/alone" >"$WORK/before"
"$python" tools/deploy/only_proxy.py "$WORK/before" "$WORK/manifest" | tee "$WORK/difference"
ok 'what was applied differs from the Deployment by the proxy alone' "$(cat "$WORK/difference")"

block docs/kubernetes.md '## From a Deployment' 3 >"$WORK/check"
walk "$WORK/check" | tee "$WORK/checked"
tail -n 20 "$WORK/checked" | grep -q 'ok .*upstream' || fail 'the check inside the pod is not ok'
if "$WORK/bin/kubectl" diff -k "$newcomer/deploy/kubernetes/example"; then fail 'kubectl diff sees nothing'; fi
chat "http://127.0.0.1:$port" >"$WORK/response"
grep -q '"content"' "$WORK/response"
application=$(podman ps --all --filter "name=$pod" --format '{{.Names}}' | grep -e 'web$')
asked() { timeout 60 podman start --attach "$application"; }
eventually 60 asked
ok 'check inside the pod; the application reaches the proxy on 127.0.0.1'

if have jq jq 'docs/runbooks/upgrade.md, the new image'; then
    awk '/^---$/ { count++ } { print > (dir "/part" count + 0) }' dir="$WORK" "$WORK/manifest"
    grep -l '^  name: auth-proxy' "$WORK"/part* | head -n 1 | xargs sed '/^---$/d' >"$WORK/config"
    block docs/runbooks/upgrade.md '1. Try' >"$WORK/upgrade"
    walk "$WORK/upgrade" | tee "$WORK/upgraded"
    grep -q 'ok .*upstream' "$WORK/upgraded" || fail 'the check of the new image is not ok'
    grep -q 'name: auth-proxy-check' "$WORK/check.yaml"
    ok 'docs/runbooks/upgrade.md: check of the new image with the ConfigMap and Secret of a running pod'
fi
