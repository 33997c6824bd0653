# shellcheck shell=bash
# What the steps share. Each is sourced into a shell of its own, with REPORT, WORK (its folder), BINARY, SIM and TARGET.
set -Eeuo pipefail
shopt -s inherit_errexit
PATH=$PWD/target/tools/deploy/bin:$PATH:$PWD/target/tools/checkov/bin

children=()
cleanups=()

clean_up() {
    local status=$? child cleanup
    trap - EXIT INT TERM
    set +e
    # The other way round: what was started last ends first.
    for cleanup in $(printf '%s\n' "${!cleanups[@]}" | tac); do eval "${cleanups[$cleanup]}"; done
    for child in "${children[@]}"; do kill "$child"; done
    for child in "${children[@]}"; do wait "$child"; done
    exit "$status"
} 2>/dev/null
trap clean_up EXIT
trap 'exit 130' INT TERM
trap 'echo "failed in ${BASH_SOURCE[0]} line $LINENO: $BASH_COMMAND" >&2' ERR

# ok WHAT [FIGURES]
ok() {
    printf 'ok       %s\n' "$*" >>"$REPORT"
    printf '  ok       %s%s\n' "$1" "${2:+: $2}" >&3
}

# skipped WHAT REASON
skipped() {
    printf 'skipped  %s\n' "$*" >>"$REPORT"
    printf '  skipped  %s: %s\n' "$1" "$2" >&3
}

# fail WHY: ends the step.
fail() {
    echo "$*"
    exit 1
}

# have COMMAND PACKAGE WHAT: whether it is there; when not, WHAT is skipped.
have() {
    if command -v "$1" >/dev/null; then return 0; fi
    skipped "$3" "no $1 (package $2)"
    return 1
}

# later COMMAND: when the step ends.
later() { cleanups+=("$1"); }

# eventually SECONDS COMMAND...: until it succeeds; of what it says, only the last time counts.
eventually() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >"$WORK/tried" 2>&1; do
        if ((SECONDS >= end)); then
            cat "$WORK/tried"
            fail "not within the time: $*"
        fi
        sleep 0.1
    done
}

# start LOG COMMAND...: in the background until the step ends; its process id is $!.
start() {
    local log=$1
    shift
    "$@" >"$log" 2>&1 </dev/null &
    children+=($!)
}

# start_sim [OPTION...]: sets `sim`, the folder with ca.pem and certificate.pem, and `settings`, the proxy's environment,
# in which that folder has the name $1 of the place where the proxy runs.
start_sim() {
    local place=$1
    shift
    sim=$WORK/sim
    mkdir -p "$sim"
    start "$WORK/sim.log" "${inside[@]}" "$SIM" --stay --log --dir "$sim" --env-file "$WORK/env" "$@"
    eventually 60 grep -q '"ready":' "$WORK/sim.log"
    sed -i "s|$sim|$place|g" "$WORK/env"
    # shellcheck disable=SC2034  # for the step
    mapfile -t settings <"$WORK/env"
}
# A command before what start_sim and ask run, such as `ip netns exec NAME`.
inside=()

# alone WHAT: sets `inside` to a network namespace with a loopback and nothing else, `namespace` to its name; names come from
# its own /etc/hosts, and there is no name server. Without one WHAT is skipped and the step ends.
alone() {
    if ! have ip iproute2 "$1"; then exit; fi
    namespace=auth-proxy-test-$$
    if ! ip netns add "$namespace"; then
        skipped "$1" 'network namespaces need root here'
        exit
    fi
    later "ip netns delete $namespace"
    later "rm -r /etc/netns/$namespace"
    mkdir -p "/etc/netns/$namespace"
    # In the namespace these are /etc/hosts and /etc/resolv.conf.
    echo '127.0.0.1 localhost login.sim.test openai.sim.test' >"/etc/netns/$namespace/hosts"
    echo '# nobody' >"/etc/netns/$namespace/resolv.conf"
    ip -n "$namespace" link set lo up
    inside=(ip netns exec "$namespace")
    [[ -z $(ip -n "$namespace" route) ]]
}

# ask URL [CURL OPTION...]
ask() {
    "${inside[@]}" curl --silent --show-error --noproxy '*' --max-time 30 "$@"
}

# chat BASE [CURL OPTION...]: a chat completion through the proxy.
chat() {
    local base=$1
    shift
    ask "$base/openai/v1/chat/completions" --fail-with-body -H 'content-type: application/json' -H 'api-key: dummy' \
        --data '{"model":"gpt-4o","messages":[{"role":"user","content":"Say hello"}]}' "$@"
}

# status PID FIELD: a figure of /proc/PID/status in kB.
status() { awk -v field="$2:" '$1 == field { print $2 }' "/proc/$1/status"; }

# mb KB: with one decimal.
mb() { awk -v kb="$1" 'BEGIN { printf "%.1f MB", kb / 1024 }'; }

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
