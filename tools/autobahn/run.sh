#!/usr/bin/env bash
# Autobahn's WebSocket suite (RFC 6455 and permessage-deflate, some 500 cases) directly and through the proxy, as client
# and as server; fails unless the verdicts are the same case by case: tools/autobahn/run.sh [CASES...]
#
# Not part of `make test`: the suite needs Python 2.7 (PYTHON2 names it) and takes a quarter of an hour. AUTH_PROXY_BIN
# names another binary than the release one. CASES are patterns such as '1.*'; the default is all of them.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."

proxy=${AUTH_PROXY_BIN:-target/x86_64-unknown-linux-musl/release/auth-proxy}
python2=${PYTHON2:-python2.7}
work=$PWD/target/autobahn
cases=$(printf '"%s",' "${@:-*}")
cases="[${cases%,}]"

if [[ ! -x $work/suite/bin/wstest ]]; then
    "$python2" -m virtualenv --quiet "$work/suite"
    "$work/suite/bin/pip" install --quiet autobahntestsuite==0.8.2
fi
if [[ ! -x $work/ends/bin/websockets ]]; then
    "${PYTHON:-python3}" -m venv "$work/ends"
    "$work/ends/bin/pip" install --quiet --disable-pip-version-check websockets==17.4
fi
cargo build --locked --quiet --example sim

rm -rf "$work/run"
mkdir -p "$work/run"
started=()
trap 'kill "${started[@]}" 2>/dev/null || true' EXIT
trap 'exit 130' INT TERM

# first_line FILE: waits for the first line of a file.
first_line() {
    for _ in $(seq 300); do
        if [[ -s $1 ]]; then
            head -n 1 "$1"
            return
        fi
        sleep 0.1
    done
    echo "$1 stays empty" >&2
    return 1
}

openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext basicConstraints=critical,CA:FALSE \
    -addext subjectAltName=DNS:localhost -keyout "$work/run/key.pem" -out "$work/run/cert.pem" 2>/dev/null
cat "$work/run/cert.pem" "$work/run/key.pem" >"$work/run/server.pem"
target/debug/examples/sim --stay --dir "$work/run/sim" --env-file "$work/run/env" >"$work/run/sim.log" &
started+=($!)
first_line "$work/run/sim.log" >/dev/null
cat "$work/run/sim/ca.pem" "$work/run/cert.pem" >"$work/run/roots.pem"

# start_proxy NAME API_BASE_URL: leaves the port in `port`. The last settings win.
start_proxy() {
    # Before the process: on a busy machine it is looked into before the process opens it.
    : >"$work/run/$1.log"
    # shellcheck disable=SC2046
    env -i $(cat "$work/run/env") "SSL_CERT_FILE=$work/run/roots.pem" "API_BASE_URL=$2" "$proxy" 2>"$work/run/$1.log" &
    started+=($!)
    for _ in $(seq 100); do
        port=$(sed -n 's/.* listening address=127.0.0.1:\([0-9]*\).*/\1/p' "$work/run/$1.log")
        if [[ -n $port ]] && curl --silent --fail --output /dev/null "http://127.0.0.1:$port/health"; then
            return
        fi
        sleep 0.1
    done
    cat "$work/run/$1.log" >&2
    return 1
}

echo "== the suite as client, an echo server behind the proxy"
"$work/ends/bin/python" "$here/echo.py" serve >"$work/run/plain.port" &
started+=($!)
"$work/ends/bin/python" "$here/echo.py" serve "$work/run/server.pem" >"$work/run/tls.port" &
started+=($!)
plain=$(first_line "$work/run/plain.port")
tls=$(first_line "$work/run/tls.port")
start_proxy plain "http://localhost:$plain"
over_plain=$port
start_proxy tls "https://localhost:$tls"
over_tls=$port
cat >"$work/run/client.json" <<JSON
{"outdir": "$work/run/servers", "cases": $cases, "exclude-cases": [], "exclude-agent-cases": {}, "servers": [
  {"agent": "direct", "url": "ws://127.0.0.1:$plain"},
  {"agent": "proxy", "url": "ws://127.0.0.1:$over_plain"},
  {"agent": "proxy-tls", "url": "ws://127.0.0.1:$over_tls"}]}
JSON
"$work/suite/bin/wstest" -m fuzzingclient -s "$work/run/client.json" >"$work/run/client.log" 2>&1
verdict=0
python3 "$here/compare.py" "$work/run/servers/index.json" direct proxy proxy-tls || verdict=1

echo "== the suite as server, behind the proxy"
free=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$work/run/server.json" <<JSON
{"url": "ws://127.0.0.1:$free", "outdir": "$work/run/clients", "cases": $cases, "exclude-cases": [], "exclude-agent-cases": {}}
JSON
"$work/suite/bin/wstest" -m fuzzingserver -w 0 -s "$work/run/server.json" >"$work/run/server.log" 2>&1 &
started+=($!)
start_proxy reverse "http://127.0.0.1:$free"
until curl --silent --output /dev/null "http://127.0.0.1:$free/"; do sleep 0.1; done
for agent in direct proxy; do
    to=$free
    [[ $agent == direct ]] || to=$port
    "$work/ends/bin/python" "$here/echo.py" ask "ws://127.0.0.1:$to" "$agent" >/dev/null
done
python3 "$here/compare.py" "$work/run/clients/index.json" direct proxy || verdict=1
exit $verdict
