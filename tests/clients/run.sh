#!/usr/bin/env bash
# Drives the running proxy with the real SDKs: tests/clients/run.sh [default] [oldest] [tiny_http] [litellm-proxy] [pytest arguments]
#
# `default` is the matrix of today, `oldest` the oldest SDKs, `tiny_http` its core on the server of that name, `litellm-proxy` what takes longer to install.
# The parts run side by side, each with a simulator and a proxy of its own; what each printed comes when it has ended.
# AUTH_PROXY_BIN names another binary than the release one; `tiny_http` always takes the debug build of that feature.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."

servers=() environments=()
while [[ ${1-} =~ ^(default|oldest|tiny_http|litellm-proxy)$ ]]; do
    servers+=("$1")
    shift
done
if [[ ${#servers[@]} == 0 ]]; then servers=(default); fi
for server in "${servers[@]}"; do
    case $server in
    default) environments+=(main node openai-newest) ;;
    oldest) environments+=(openai-oldest) ;;
    tiny_http) environments+=(openai-newest) ;;
    *) environments+=("$server") ;;
    esac
done

# What was started here ends here.
children=()
trap 'if ((${#children[@]})); then kill "${children[@]}" 2>/dev/null || true; fi' EXIT
trap 'exit 130' INT TERM

# Downloads take their time while the compiler takes its own.
"$here/install.sh" "${environments[@]}" &
children+=("$!")
cargo build --locked --quiet --example sim
if [[ " ${servers[*]} " == *" tiny_http "* ]]; then
    cargo build --locked --quiet --features tiny_http
    # A copy: the next build of the default server takes the name back.
    cp target/debug/auth-proxy target/debug/auth-proxy-tiny_http
fi
wait "${children[0]}"
children=()

place=${CLIENTS_DIR:-$PWD/target/clients}
mkdir -p "$place/log"
# What an import compiles is kept for the next part, and not among the sources.
export PYTHONPYCACHEPREFIX=$place/pycache
names=() next=0 failed=()

# The oldest part that still runs ends: its output, and whether it failed.
finish() {
    local name=${names[next]} status=0
    wait "${children[next]}" || status=$?
    echo "== $name"
    cat "$place/log/$name"
    # 5: a selection by name has nothing in this part.
    if ((status != 0 && !(status == 5 && selective))); then failed+=("$name"); fi
    next=$((next + 1))
}

# part NAME COMMAND...: in the background, at most three parts at a time.
part() {
    local name=$1
    shift
    if ((${#names[@]} - next >= 3)); then finish; fi
    "$@" </dev/null >"$place/log/$name" 2>&1 &
    names+=("$name") children+=("$!")
}

# tests NAME ENVIRONMENT FILE...: a part that is these tests of ours.
tests() {
    local name=$1 environment=$2
    shift 2
    part "$name" "$place/$environment/bin/python" -m pytest -p no:cacheprovider --disable-warnings -q \
        "${@/#/$here/}" "${options[@]}"
}

options=("$@")
selective=$(($# > 0))
for server in "${servers[@]}"; do
    export AUTH_PROXY_SERVER=$server
    case $server in
    default)
        tests libraries main test_litellm.py test_langchain.py test_docs.py
        tests openai main test_openai.py test_realtime.py
        tests node main test_npm.py test_aimock.py
        tests http main test_http.py test_assertion.py test_identity.py
        tests openai-newest openai-newest test_openai.py test_realtime.py
        if ((!selective)); then part oidc "$here/oidc/run.sh"; fi
        ;;
    oldest) tests openai-oldest openai-oldest test_openai.py ;;
    tiny_http) AUTH_PROXY_BIN=$PWD/target/debug/auth-proxy-tiny_http tests tiny_http openai-newest test_openai.py ;;
    litellm-proxy) tests litellm-proxy litellm-proxy test_litellm_proxy.py ;;
    esac
done
while ((next < ${#names[@]})); do finish; done
if ((${#failed[@]})); then
    echo "tests/clients: failed: ${failed[*]}" >&2
    exit 1
fi
