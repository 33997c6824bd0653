#!/usr/bin/env bash
# `make run`: the whole of it on this machine, against the simulator. `--once` ends after the demonstration instead of
# waiting for Ctrl-C. `--real` (`make run REAL=1`) runs the program with the settings of this environment instead.
set -euo pipefail
cd "$(dirname "$0")/.."
case $(uname -m) in aarch64 | arm64) processor=aarch64 ;; *) processor=x86_64 ;; esac
binary=target/${TARGET:-$processor-unknown-linux-musl}/release/auth-proxy
once=${1-}

if [[ $once == --real ]]; then
    echo 'make run REAL=1: auth-proxy with the settings of this environment'
    exec "$binary"
fi
echo 'make run: the simulator, nothing leaves this machine. With the settings of this environment: make run REAL=1'

bold='' plain=''
if [[ -t 1 ]]; then bold=$'\e[1m' plain=$'\e[0m'; fi
title() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
indent() { sed 's/^/  /'; }

directory=$(mktemp -d)
children=()

# Ends what this script started, by process id, and nothing else.
clean_up() {
    local status=$?
    trap - EXIT INT TERM
    for child in "${children[@]}"; do kill "$child" 2>/dev/null || true; done
    for child in "${children[@]}"; do wait "$child" 2>/dev/null || true; done
    rm -rf "$directory"
    exit "$status"
}
trap clean_up EXIT
trap 'exit 0' INT TERM

# line FILE PATTERN PID: the first line that matches, as soon as that process has written it.
line() {
    for _ in $(seq 300); do
        if grep -m1 -E "$2" "$1"; then return; fi
        kill -0 "$3" 2>/dev/null || break
        sleep 0.1
    done
    { echo "it did not start:" && indent <"$1"; } >&2
    exit 1
}

cargo build --locked --quiet --example sim

title 'A simulated Entra ID and Azure OpenAI, with a fresh certificate, and auth-proxy with these settings:'
target/debug/examples/sim --stay --log --pause-ms 150 --dir "$directory" --env-file "$directory/env" \
    >"$directory/azure.log" 2>&1 &
children+=($!)
line "$directory/azure.log" '"ready":' "$!" >"$directory/ready"
indent <"$directory/env"
mapfile -t settings <"$directory/env"
# Nothing else: no egress proxy or key of this shell.
env -i "${settings[@]}" "$binary" >"$directory/proxy.log" 2>&1 &
children+=($!)
address=$(line "$directory/proxy.log" 'listening.*address=' "$!")
address=$(sed -E 's/.*address=([^ ]+).*/\1/' <<<"$address")

curl=(curl --silent --show-error --noproxy '*' --max-time 30)
"${curl[@]}" --retry 20 --retry-delay 1 --fail --output "$directory/health" "http://$address/health"
title "GET http://$address/health"
indent <"$directory/health"
echo

chat=http://$address/openai/v1/chat/completions
curl+=(--no-buffer --header 'content-type: application/json')
question='"model":"gpt-4o","messages":[{"role":"user","content":"Say hello"}]'

"${curl[@]}" --verbose --fail --header 'api-key: dummy' --data "{$question}" "$chat" \
    2>"$directory/sent" >"$directory/response"
title 'The application sends'
tr -d '\r' <"$directory/sent" | sed -n 's/^> \(..*\)/\1/p' | indent
printf '\n  {%s}\n' "$question"
title 'Azure OpenAI receives (its body is the same)'
sed -n 's/^azure received  //p; s/^ \{16\}//p' "$directory/azure.log" | indent
title 'and responds'
grep -o '"message":{[^}]*}' "$directory/response" | indent

title 'The same as a stream, each event when it arrives'
"${curl[@]}" --fail --header 'api-key: dummy' --data "{\"stream\":true,$question}" "$chat" |
    while IFS= read -r event; do
        if [[ -n $event ]]; then printf '  %s  %s\n' "$(date +%T.%3N)" "${event:0:100}"; fi
    done

if [[ $once == --once ]]; then exit; fi

title 'Your turn:'
cat <<END
  curl -N $chat -H 'content-type: application/json' \\
    -d '{"stream":true,$question}'

Any client will do, with any key: base URL http://$address/openai/v1, or as an Azure endpoint http://$address
What Azure receives, and what the proxy logs, follows. Ctrl-C ends everything.
END
services=("${children[@]}")
tail -q -n 0 -f "$directory/azure.log" "$directory/proxy.log" &
children+=($!)
# Returns when one of them ends, which is a failure: Ctrl-C ends the script itself.
wait -n "${services[@]}" || true
echo 'one of the programs ended by itself' >&2
exit 1
