#!/usr/bin/env bash
# testssl.sh against the program, with an RSA and with an ECDSA certificate: protocols, ciphers, forward secrecy, the server's
# preference, known weaknesses. Fails for a finding above low. What the certificate itself says (chain, revocation, dates) is its
# issuer's, and not looked at. Needs testssl.sh and openssl, and says so when it lacks them. BINARY names the program.
set -euo pipefail
cd "$(dirname "$0")/../.."
binary=${BINARY:-target/x86_64-unknown-linux-musl/release/auth-proxy}
testssl=$(command -v testssl.sh || command -v testssl || true)
if [[ -z $testssl ]] || ! command -v openssl >/dev/null; then
    echo 'tls: skipped: it needs testssl.sh (apt-get install testssl.sh) and openssl' >&2
    exit 0
fi
scratch=$(mktemp -d)
child=
stop() {
    if [[ -n $child ]]; then
        kill "$child" 2>/dev/null || true
        wait "$child" 2>/dev/null || true
        child=
    fi
}
finish() {
    stop
    rm -rf "$scratch"
}
trap finish EXIT

new_key() { # KIND
    if [[ $1 == RSA ]]; then
        openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048
    else
        openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256
    fi
}

status=0
for kind in RSA ECDSA; do
    new_key "$kind" >"$scratch/tls.key" 2>/dev/null
    openssl req -x509 -new -key "$scratch/tls.key" -days 2 -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost -out "$scratch/tls.crt"
    # Nothing needs to be forwarded: it has no token, and asks a port for one that nobody listens on.
    env -i AZURE_TOKEN_CREDENTIALS=ManagedIdentityCredential AZURE_POD_IDENTITY_AUTHORITY_HOST=http://127.0.0.1:1 \
        API_BASE_URL=https://127.0.0.1:2 HOST=127.0.0.1 PORT=0 LOG_FORMAT=text \
        TLS_CERT_FILE="$scratch/tls.crt" TLS_KEY_FILE="$scratch/tls.key" "$binary" 2>"$scratch/log" &
    child=$!
    port=
    for _ in {1..200}; do
        port=$(sed -n 's/.* listening address=127\.0\.0\.1:\([0-9]*\).*/\1/p' "$scratch/log")
        if [[ -n $port ]]; then break; fi
        sleep 0.05
    done
    if [[ -z $port ]]; then
        cat "$scratch/log" >&2
        exit 1
    fi
    # Its own status counts findings of every kind; the file has which.
    "$testssl" --quiet --warnings off --color 0 --ip 127.0.0.1 --csvfile "$scratch/$kind.csv" -p -s -f -P -U \
        "localhost:$port" >"$scratch/$kind.txt" 2>&1 || true
    # "id","fqdn/ip","port","severity","finding",…
    # What it lacks itself (old ciphers in the openssl beside it) is no finding about the server.
    findings=$(awk -F'","' '$4 ~ /^(MEDIUM|HIGH|CRITICAL|FATAL|WARN)$/ && $1 != "\"engine_problem"' "$scratch/$kind.csv")
    looked_at=$(awk -F'","' '$4 ~ /^(OK|INFO|LOW)$/' "$scratch/$kind.csv" | wc -l)
    if [[ -n $findings ]] || ((looked_at < 20)); then
        cat "$scratch/$kind.txt" >&2
        printf 'tls: %s: findings above low, %s in order:\n%s\n' "$kind" "$looked_at" "$findings" >&2
        status=1
    else
        echo "tls: $kind: $looked_at findings, none above low"
    fi
    stop
done
exit "$status"
