#!/usr/bin/env bash
# Drives the running proxy with the real SDKs: tests/clients/run.sh [default|tiny_http] [pytest arguments]
#
# Each requirements file has a virtual environment of its own under target/clients-venv, made again only when the file
# changes. AUTH_PROXY_BIN names another binary than the release one; with `tiny_http` the debug build of that feature.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."

server=default
if [[ ${1-} == default || ${1-} == tiny_http ]]; then
    server=$1
    shift
fi
export AUTH_PROXY_SERVER=$server

python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
    echo "tests/clients needs Python 3.10 or later; PYTHON names another interpreter" >&2
    exit 1
}

# venv NAME REQUIREMENTS: prints the interpreter of an environment that holds exactly these requirements.
venv() {
    local directory="target/clients-venv/$1" stamp
    stamp=$({ "$python" --version && cat "$2"; } | openssl dgst -sha256)
    if [[ $(cat "$directory/stamp" 2>/dev/null) != "$stamp" ]]; then
        echo "$directory: installing $2" >&2
        "$python" -m venv --clear "$directory" >&2
        "$directory/bin/python" -m pip install --quiet --disable-pip-version-check --no-input -r "$2" >&2
        # Last, so that an installation that was interrupted starts again.
        echo "$stamp" >"$directory/stamp"
    fi
    echo "$directory/bin/python"
}

if [[ $server == tiny_http && -z ${AUTH_PROXY_BIN-} ]]; then
    cargo build --locked --quiet --features tiny_http
    # A copy: the next build of the default server takes the name back.
    AUTH_PROXY_BIN=$PWD/target/debug/auth-proxy-tiny_http
    cp target/debug/auth-proxy "$AUTH_PROXY_BIN"
    export AUTH_PROXY_BIN
fi
cargo build --locked --quiet --example sim

for requirements in "$here"/requirements*.txt; do
    name=$(basename "$requirements" .txt)
    interpreter=$(venv "${name/requirements/main}" "$requirements")
    echo "== $name, server $server"
    # The virtual environments of old and new openai hold nothing else: tests of absent packages are not collected.
    "$interpreter" -B -m pytest -p no:cacheprovider --disable-warnings -q "$here" "$@" </dev/null
done
