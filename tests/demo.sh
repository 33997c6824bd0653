#!/usr/bin/env bash
# `make run`: the program at work on this machine, or, with the Azure variables set, at work for real.
set -euo pipefail
cd "$(dirname "$0")/.."
binary=target/${TARGET:-x86_64-unknown-linux-musl}/release/auth-proxy

if [[ -n ${AZURE_CLIENT_ID-}${AZURE_TENANT_ID-}${AZURE_CERTIFICATE_PATH-}${AZURE_CLIENT_CERTIFICATE_PATH-}${API_BASE_URL-} ]]; then
    exec "$binary"
fi

directory=$(mktemp -d)
children=()

# Ends what this script started, by process id, and nothing else.
clean_up() {
    trap - EXIT INT TERM
    for child in "${children[@]}"; do kill "$child" 2>/dev/null || true; done
    for child in "${children[@]}"; do wait "$child" 2>/dev/null || true; done
    rm -rf "$directory"
}
trap clean_up EXIT
trap 'echo; exit 0' INT TERM

title() { printf '\n\033[1m%s\033[0m\n' "$*"; }
# Without a terminal there is nobody to see colours.
[[ -t 1 ]] || title() { printf '\n%s\n' "$*"; }

# wait_for FILE PATTERN PID: the first line that matches, or the whole file and the end.
wait_for() {
    for _ in $(seq 300); do
        if grep -m1 -E "$2" "$1" 2>/dev/null; then return; fi
        kill -0 "$3" 2>/dev/null || break
        sleep 0.1
    done
    cat "$1" >&2
    echo "no line like '$2' came" >&2
    exit 1
}

cargo build --locked --quiet --example sim

title "Starting a simulated Entra ID and Azure OpenAI with a fresh certificate"
target/debug/examples/sim --dir "$directory" --env-file "$directory/env" >"$directory/sim.out" 2>&1 &
children+=($!)
wait_for "$directory/sim.out" '^\{.*ready' "$!" >/dev/null

title "Starting auth-proxy with"
sed 's/^/  /' "$directory/env"
(
    set -a
    # shellcheck disable=SC1091
    . "$directory/env"
    HOST=127.0.0.1
    PORT=${PORT:-0}
    exec "$binary"
) >"$directory/proxy.log" 2>&1 &
children+=($!)
proxy=$!
address=$(wait_for "$directory/proxy.log" 'listening.*address=' "$proxy" | sed -E 's/.*address=([^ ]+).*/\1/')
