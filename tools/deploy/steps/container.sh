# shellcheck shell=bash
# The image of Dockerfile.scratch, built from the binary of `make build`, and run as tightly as docs/install.md says.
. tools/deploy/lib.sh
. tools/deploy/podman.sh

if ! have podman podman 'the image'; then exit; fi
build_image
size=$(podman image inspect --format '{{.Size}}' "$image")
ok 'Dockerfile.scratch, target prebuilt: podman build' "$(mb $((size / 1024)))"
[[ $(podman image inspect --format '{{.User}} {{.Config.Entrypoint}} {{.HealthCheck.Test}}' "$image") == '65532:65532 [/auth-proxy] [CMD /auth-proxy healthcheck]' ]]
if [[ $UID == 0 ]]; then
    root=$(podman image mount "$image")
    files=$(find "$root" -mindepth 1 -printf '/%P ')
    podman image umount "$image" >/dev/null
    [[ $files == '/auth-proxy ' ]] || fail "the image holds $files"
    ok 'the image holds the binary alone, user 65532'
else
    skipped 'the image holds the binary alone' 'only root can look into it here'
fi
if command -v buildah >/dev/null; then
    later "buildah rmi --force $image-buildah >/dev/null"
    timeout 120 buildah build --layers=false -f Dockerfile.scratch --target prebuilt --build-arg "BINARY=$BINARY" -t "$image-buildah" .
    ok 'the same with buildah'
fi
skipped 'Dockerfile.scratch, its default target' 'it needs the image rust:alpine from a registry'

if ! find_engine "$image"; then
    skipped 'the image at work' 'podman runs no container here'
    exit
fi
start_sim /sim
chmod 755 "$sim"
chmod 644 "$sim"/*.pem
port=$(free_port)
settings+=(HOST=127.0.0.1 "PORT=$port")
base=http://127.0.0.1:$port

run tight
healthy() { podman exec "$container" /auth-proxy healthcheck; }
eventually 60 healthy
[[ $(ask "$base/health") == '{"status":"ok"}' ]]
ok 'read-only root, no capabilities, no new privileges, 32 MB: healthy by the image'\''s own check'
chat "$base" >"$WORK/response"
grep -q '"content"' "$WORK/response"
grep -q 'authorization: Bearer' "$WORK/sim.log"
ok 'a request through to the simulator'

pid=$(podman inspect --format '{{.State.Pid}}' "$container")
[[ $(awk '$1 == "CapEff:" || $1 == "CapPrm:" || $1 == "CapBnd:" { print $2 }' "/proc/$pid/status" | sort -u) == 0000000000000000 ]]
[[ $(awk '$1 == "NoNewPrivs:" { print $2 }' "/proc/$pid/status") == 1 ]]
[[ $(awk '$1 == "Uid:" { print $2 }' "/proc/$pid/status") == 65532 ]]
ok 'in /proc: uid 65532, no capability in any set, NoNewPrivs'

# Where version 1 of control groups has its limit, else version 2.
limit=$(cat "/sys/fs/cgroup/memory$(sed -n 's/.*:memory://p' "/proc/$pid/cgroup")/memory.limit_in_bytes" ||
    cat "/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$pid/cgroup")/memory.max")
[[ $limit == $((32 << 20)) ]] || fail "the kernel's limit of memory is $limit"
idle=$(status "$pid" VmRSS)
timeout 180 python3 tools/deploy/load.py "127.0.0.1:$port" 100 20 200
peak=$(status "$pid" VmHWM)
[[ $(podman inspect --format '{{.State.OOMKilled}} {{.State.Running}}' "$container") == 'false true' ]]
ok '100 streams at once within 32 MB, which the kernel enforces' "resident $(mb "$idle") idle, $(mb "$peak") at most"

ask --no-buffer "$base/sim/sse?events=30&pause_ms=100" >"$WORK/stream" &
stream=$!
eventually 30 grep -q data: "$WORK/stream"
timeout 60 podman kill --signal TERM "$container"
[[ $(timeout 60 podman wait "$container") == 0 ]]
wait "$stream"
[[ $(tail -n 2 "$WORK/stream" | head -n 1) == 'data: [DONE]' ]]
ok 'SIGTERM lets an open stream finish, exit code 0'

chmod 600 "$sim/certificate.pem"
run private
[[ $(timeout 60 podman wait "$container") == 3 ]]
podman logs "$container" 2>&1 | tee "$WORK/private"
grep -q 'certificate.pem is unreadable for this user.*mode 0600' "$WORK/private"
grep -q 'docker:' "$WORK/private"
ok 'a certificate with mode 0600' "$(grep -m 1 -o 'docker: .*' "$WORK/private")"
run owner --user "$(id -u):$(id -g)"
eventually 60 healthy
ok 'the same with --user of its owner: healthy'
