#!/usr/bin/env bash
# IMDS at its real address, 169.254.169.254 port 80, in a network namespace: the program and azure-identity (where the SDK tests
# have installed it) get a token there without any setting but the choice; without the address the program says what blocks it.
# Needs root and `ip`, and says so when it lacks them. BINARY and SIM name the programs.
set -euo pipefail
cd "$(dirname "$0")/../.."
binary=${BINARY:-target/x86_64-unknown-linux-musl/release/auth-proxy}
sim=${SIM:-target/debug/examples/sim}
python=target/clients/main/bin/python

if ((EUID != 0)) || ! command -v ip >/dev/null; then
    echo 'imds: skipped: it needs root and `ip` (iproute2)' >&2
    exit 0
fi
name=auth-proxy-imds-$$
scratch=$(mktemp -d)
child=
finish() {
    if [[ -n $child ]]; then
        kill "$child" 2>/dev/null || true
        wait "$child" 2>/dev/null || true
    fi
    ip netns delete "$name" 2>/dev/null || true
    rm -rf "$scratch"
}
trap finish EXIT
ip netns add "$name"
ip -n "$name" link set lo up
ip -n "$name" address add 169.254.169.254/32 dev lo
inside() { ip netns exec "$name" "$@"; }

touch "$scratch/ready"
ip netns exec "$name" "$sim" --dir "$scratch" --env-file "$scratch/env" --identity 169.254.169.254:80 --stay >"$scratch/ready" &
child=$!
for _ in {1..200}; do
    if grep -q ready "$scratch/ready"; then break; fi
    sleep 0.05
done
settings=(AZURE_TOKEN_CREDENTIALS=ManagedIdentityCredential HTTPS_PROXY=http://127.0.0.1:1 NO_PROXY=localhost
    "$(grep ^API_BASE_URL= "$scratch/env")" "$(grep ^SSL_CERT_FILE= "$scratch/env")")

check() { inside env -i "${settings[@]}" "$@" "$binary" check; }
expect() { # WORDS FILE
    if ! grep -qF -- "$1" "$2"; then
        echo "imds: not found: $1" >&2
        cat "$2" >&2
        exit 1
    fi
}
check >"$scratch/out"
expect 'IMDS http://169.254.169.254/metadata/identity/oauth2/token' "$scratch/out"
expect 'ok       upstream' "$scratch/out"
echo 'imds: system-assigned identity: ok'
check AZURE_CLIENT_ID=aaaaaaaa-2222-4333-8444-555555555551 >"$scratch/out"
expect 'application        aaaaaaaa-2222-4333-8444-555555555551' "$scratch/out"
echo 'imds: user-assigned identity: ok'
if [[ -x $python ]]; then
    inside "$python" -c '
from azure.identity import ManagedIdentityCredential
print(len(ManagedIdentityCredential().get_token("https://cognitiveservices.azure.com/.default").token) > 100)' >"$scratch/out"
    expect True "$scratch/out"
    echo 'imds: azure-identity: ok'
fi

# What a network policy or another cloud looks like.
ip -n "$name" address delete 169.254.169.254/32 dev lo
status=0
check CONNECT_TIMEOUT=2s >"$scratch/out" || status=$?
expect 'allow egress to 169.254.169.254/32 port 80' "$scratch/out"
[[ $status == 5 ]] || {
    echo "imds: exit code $status in place of 5" >&2
    exit 1
}
echo 'imds: not reachable: named'
