#!/usr/bin/env bash
# The pictures in docs/status-page: the status page in four states, against the simulator, as a headless Chromium shows it,
# which must have nothing to complain about: the page's security policy included, which allows no script.
# Needs chromium (or CHROMIUM), pngquant, openssl and curl. `tools/screenshots.sh [DIRECTORY]`
set -euo pipefail
cd "$(dirname "$0")/.."
pictures=$(realpath "${1:-docs/status-page}")
browser=${CHROMIUM:-chromium}
binary=$PWD/target/debug/auth-proxy
max_bytes=61440

directory=$(mktemp -d)
children=()

# Ends what this script started, by process id, and nothing else.
stop() {
    for child in "${children[@]}"; do kill "$child" 2>/dev/null || true; done
    for child in "${children[@]}"; do wait "$child" 2>/dev/null || true; done
    children=()
    rm -f "$directory"/*.log
}
trap 'stop; rm -rf "$directory"' EXIT
trap 'exit 1' INT TERM

# Waits until a command succeeds.
eventually() {
    for _ in $(seq 600); do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 0.1
    done
    echo "this did not happen: $*" >&2
    cat "$directory/proxy.log" >&2
    exit 1
}

curl=(curl --silent --noproxy '*' --max-time 10)
page_has() { "${curl[@]}" "http://$admin/" | grep -qF "$1"; }
address() { sed -nE "s/.* $1 address=([^ ]+).*/\1/p" "$directory/proxy.log"; }
# request STATUS: the upstream responds like that.
request() { "${curl[@]}" --output /dev/null "http://$proxy/sim/status/$1" || true; }

# fail STATUS: it responds as Azure does with this error.
fail() {
    "${curl[@]}" --output /dev/null -H 'content-type: application/json' --data "{\"model\":\"error-$1\",\"messages\":[]}" \
        "http://$proxy/openai/v1/chat/completions" || true
}

# start_sim OPTION...
start_sim() {
    target/debug/examples/sim --stay --dir "$directory" --env-file "$directory/env" "$@" >"$directory/sim.log" 2>&1 &
    children+=($!)
    eventually grep -q '"ready":' "$directory/sim.log"
}

# start_proxy NAME=VALUE...: with the simulator's settings and these, and nothing of this shell. It runs beside its files, so
# that no picture shows where those are.
start_proxy() {
    local settings
    mapfile -t settings <"$directory/env"
    (cd "$directory" && exec env -i "${settings[@]}" ADMIN_PORT=0 "$@" "$binary" >"$directory/proxy.log" 2>&1) &
    children+=($!)
    eventually grep -q 'listening for administration' "$directory/proxy.log"
    proxy=$(address listening) admin=$(address 'listening for administration')
}

# open_page OPTION...: opens the page.
open_page() {
    "$browser" --headless --no-sandbox --disable-gpu --no-first-run --user-data-dir="$directory/profile" \
        --hide-scrollbars "$@" "http://$admin/"
}

# picture NAME HEIGHT
picture() {
    open_page --enable-logging=stderr --dump-dom >"$directory/dom" 2>"$directory/browser.log"
    if grep -F CONSOLE "$directory/browser.log"; then
        echo "$1: the browser complains" >&2
        exit 1
    fi
    grep -qF 'Last problems' "$directory/dom"
    local file=$pictures/$1.png bytes
    open_page --disable-lcd-text --window-size="1000,$2" --screenshot="$file" 2>/dev/null
    pngquant --force --strip --output "$file" 16 "$file"
    bytes=$(stat -c %s "$file")
    if ((bytes > max_bytes)); then
        echo "$file is larger than $max_bytes bytes" >&2
        exit 1
    fi
    echo "$file: $bytes bytes"
    stop
}

cargo build --locked --quiet --bin auth-proxy --example sim
mkdir -p "$pictures"

start_sim
start_proxy
eventually page_has 'auth-proxy is ready'
for _ in $(seq 25); do request 200; done
eventually page_has '>25<'
picture ready 960

start_sim
start_proxy AZURE_CLIENT_ID=7b1de6a4-52c3-4d0f-9e86-0c3f6c1b2d10
eventually page_has AADSTS700016
picture no-token 1200

openssl req -x509 -newkey rsa:2048 -nodes -days 3 -subj '/CN=auth-proxy' \
    -keyout "$directory/key" -out "$directory/certificate" 2>/dev/null
cat "$directory/key" "$directory/certificate" >"$directory/short.pem"
start_sim --token-lifetime 20 --register "$directory/short.pem"
start_proxy AZURE_CERTIFICATE_PATH=short.pem
eventually page_has 'auth-proxy is ready'
# What a copy that broke off leaves.
head -c 1000 "$directory/key" >"$directory/short.pem"
eventually page_has still_in_use
request 200
picture certificate 1170

start_sim
start_proxy
eventually page_has 'auth-proxy is ready'
for _ in $(seq 40); do fail 429; done
for _ in $(seq 12); do fail 401; done
for _ in $(seq 9); do request 200; done
eventually page_has '>9<'
picture upstream 1040
