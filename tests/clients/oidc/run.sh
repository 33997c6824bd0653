#!/usr/bin/env bash
# Signs in to an independent OpenID provider with our program, MSAL and azure-identity: tests/clients/oidc/run.sh
#
# AUTH_PROXY_BIN names another binary than the release one.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../../.."

"$here/../install.sh" main node
place=${CLIENTS_DIR:-$PWD/target/clients}
# A module finds its packages beside itself.
cp "$here/provider.mjs" "$place/node/"
export AUTH_PROXY_BIN=${AUTH_PROXY_BIN:-$PWD/target/x86_64-unknown-linux-musl/release/auth-proxy}
export OIDC_PROVIDER=$place/node/provider.mjs
# Of this machine's proxies nothing must be used: everything is on loopback.
unset HTTP_PROXY HTTPS_PROXY ALL_PROXY http_proxy https_proxy all_proxy REQUESTS_CA_BUNDLE CURL_CA_BUNDLE
exec "$place/main/bin/python" -B "$here/compare.py" "$place/node/bin/node" </dev/null
