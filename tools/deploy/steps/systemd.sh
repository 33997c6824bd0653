# shellcheck shell=bash
# The unit: well-formed, hardened, and what it allows is what the program uses.
. tools/deploy/lib.sh
unit=deploy/systemd/auth-proxy.service

if have systemd-analyze systemd 'the unit'; then
    # Verified with a program that exists on this machine.
    sed "s|^ExecStart=.*|ExecStart=$PWD/$BINARY|" "$unit" >"$WORK/auth-proxy.service"
    cp deploy/systemd/auth-proxy.socket "$WORK"
    timeout 60 systemd-analyze verify "$WORK"/auth-proxy.{service,socket} 2>&1 | tee "$WORK/verify"
    if grep -Eq 'auth-proxy\.(service|socket)' "$WORK/verify"; then fail 'systemd-analyze verify complains'; fi
    ok 'the units: systemd-analyze verify'

    timeout 60 systemd-analyze security --offline=true --threshold=20 "$unit" >"$WORK/security"
    ok 'the unit: systemd-analyze security' "$(sed -n 's/.*exposure level for [^:]*: \([0-9.]*\).*/\1 (at most 2.0)/p' "$WORK/security")"
fi

# Podman's generator makes a unit of it.
quadlet=/usr/libexec/podman/quadlet
if [[ -x $quadlet ]]; then
    QUADLET_UNIT_DIRS=$PWD/deploy/podman timeout 60 "$quadlet" -dryrun >"$WORK/quadlet"
    grep -q '^ExecStart=.*--read-only' "$WORK/quadlet"
    ok 'deploy/podman/auth-proxy.container: quadlet -dryrun'
else
    skipped 'deploy/podman/auth-proxy.container: quadlet -dryrun' 'no quadlet (podman 4.5 or later); make deploy-check reads it'
fi

start_sim "$WORK/sim"
mapfile -t settings <"$WORK/env"
# As LoadCredential does it: a copy in a folder of the service's own.
mkdir "$WORK/credentials"
cp "$sim/certificate.pem" "$WORK/credentials"
port=$(free_port)
settings+=("AZURE_CERTIFICATE_PATH=$WORK/credentials/certificate.pem" HOST=127.0.0.1 "PORT=$port")
env -i PATH="$PATH" "${settings[@]}" "CHECK_URL=http://127.0.0.1:$port/openai/v1/models" \
    timeout 120 python3 tools/deploy/manager.py "$BINARY" | tee "$WORK/notified"
[[ $(cut -d ' ' -f 1-2 "$WORK/notified" | sed 's/ [0-9.]*\.[0-9]*$//' | paste -sd ' ') == 'READY=1 request 200 STOPPING=1 exit 0' ]]
ok 'Type=notify' "READY=1 after $(awk '/^READY/ { print $2 * 1000 }' "$WORK/notified") ms, a request, STOPPING=1 at SIGTERM, exit 0"

if have systemd-socket-activate systemd 'socket activation'; then
    given=$WORK/given.sock
    # It binds, and becomes the program at the first connection.
    systemd-socket-activate --listen="$given" --fdname=web "${settings[@]/#/--setenv=}" "$PWD/$BINARY" 2>"$WORK/activated" &
    children+=("$!")
    activated() { ask --fail --unix-socket "$given" http://localhost/health; }
    eventually 30 activated
    ask --fail --unix-socket "$given" http://localhost/openai/v1/models >"$WORK/models"
    kill -TERM "${children[-1]}"
    wait "${children[-1]}"
    unset 'children[-1]'
    grep -q "listening address=unix:$given socket_activation=web" "$WORK/activated"
    [[ -S $given ]]
    ok 'socket activation' 'a request over a Unix socket of systemd-socket-activate, exit 0, the socket stays'
fi

if have strace strace 'SystemCallFilter' && have systemd-analyze systemd 'SystemCallFilter'; then
    env -i PATH="$PATH" "${settings[@]}" "CHECK_URL=http://127.0.0.1:$port/openai/v1/models" \
        timeout 120 python3 tools/deploy/manager.py strace -f -o "$WORK/trace" "$BINARY"
    calls=$(timeout 60 python3 tools/deploy/syscalls.py "$unit" "$WORK/trace")
    ok 'SystemCallFilter' "$calls"
fi
