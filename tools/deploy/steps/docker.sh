# shellcheck shell=bash
# Container and Compose as docs/install.md has them, word for word but for the values, with a Docker daemon.
. tools/deploy/lib.sh
. tools/deploy/docker.sh

if ! start_docker 'docs/install.md with Docker'; then exit; fi
timeout 120 docker build -f Dockerfile.scratch --target prebuilt --build-arg "BINARY=$BINARY" -t auth-proxy .
ok 'Dockerfile.scratch, target prebuilt: docker build' "Docker $(docker version --format '{{.Server.Version}}')"

# The simulator is on the loopback of the daemon's network; to containers it is two names with one address.
start_sim /certs
address=192.0.2.1
"${inside[@]}" ip address add "$address/32" dev lo
"${inside[@]}" sysctl --quiet --write net.ipv4.conf.all.route_localnet=1
"${inside[@]}" iptables --table nat --append PREROUTING --destination "$address" --protocol tcp --jump DNAT --to-destination 127.0.0.1
sed -i 's|^AZURE_AUTHORITY_HOST=localhost|AZURE_AUTHORITY_HOST=login.sim.test|; s|^API_BASE_URL=https://localhost|API_BASE_URL=https://openai.sim.test|' "$WORK/env"
declare -A simulated
while IFS='=' read -r name value; do simulated[$name]=$value; done <"$WORK/env"

project="$WORK/a project"
mkdir -p "$project/certs"
cp "$sim/certificate.pem" "$sim/ca.pem" "$project/certs"
chmod 600 "$project/certs/certificate.pem"
cp docker-compose.yml "$project"

# block SECTION: the lines of the first code block of docs/install.md that follow that text.
# shellcheck disable=SC2016  # the backticks are Markdown's
block() { awk -v text="$1" 'index($0, text) { found = 1 } found && /^```/ { if (open) exit; open = 1; next } open' docs/install.md; }
state() { docker inspect --format "{{.State.$1}}" "$2"; }
healthy() { [[ $(state Health.Status "$1") == healthy ]]; }

block '## Container' | sed -n '/^docker run/,$p' >"$WORK/run"
sed -i "s|^docker run --rm|& --detach|; s| auth-proxy\$| -e AZURE_AUTHORITY_HOST -e SSL_CERT_FILE=/certs/ca.pem --add-host login.sim.test:$address --add-host openai.sim.test:$address&|" "$WORK/run"
(
    for name in AZURE_CLIENT_ID AZURE_TENANT_ID API_BASE_URL AZURE_AUTHORITY_HOST; do export "$name=${simulated[$name]}"; done
    cd "$project" && timeout 60 bash -e "$WORK/run"
) | tee "$WORK/container"
container=$(cat "$WORK/container")
eventually 60 healthy "$container"
chat http://127.0.0.1:8080 >"$WORK/response"
grep -q '"content"' "$WORK/response"
timeout 60 docker stop -t 30 "$container"
ok 'docs/install.md: docker run, certificate of mode 0600' 'HEALTHCHECK says healthy, a request through the published port'

if ! have docker-compose docker-compose 'docker-compose up -d'; then exit; fi
sed -i "s|^\( *API_BASE_URL:\) .*|\1 ${simulated[API_BASE_URL]}|" "$project/docker-compose.yml"
cat >"$project/docker-compose.override.yml" <<END
services:
  auth-proxy:
    environment: {AZURE_AUTHORITY_HOST: "${simulated[AZURE_AUTHORITY_HOST]}", SSL_CERT_FILE: /certs/ca.pem}
    extra_hosts: ["login.sim.test:$address", "openai.sim.test:$address"]
END
block '## Compose' >"$WORK/up"
for name in AZURE_CLIENT_ID AZURE_TENANT_ID; do sed -i "s|^$name=.*|$name=${simulated[$name]}|" "$WORK/up"; done
(cd "$project" && timeout 120 bash -e "$WORK/up")
container=$(docker ps --quiet --filter name=auth-proxy)
eventually 60 healthy "$container"
chat http://127.0.0.1:8080 >"$WORK/response"
grep -q '"content"' "$WORK/response"
[[ $(docker inspect --format '{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.Memory}}' "$container") == 'true [ALL] 201326592' ]]
ask --fail http://127.0.0.1:8081/metrics | grep -q '^auth_proxy_ready 1'
ok 'docs/install.md: docker-compose up -d' 'healthy by its healthcheck, a request through the published port, metrics on the other one'

ask --no-buffer 'http://127.0.0.1:8080/sim/sse?events=30&pause_ms=100' >"$WORK/stream" &
stream=$!
eventually 30 grep -q data: "$WORK/stream"
(cd "$project" && timeout 60 docker-compose stop)
wait "$stream"
[[ $(tail -n 2 "$WORK/stream" | head -n 1) == 'data: [DONE]' && $(state ExitCode "$container") == 0 ]]
ok 'docker-compose stop lets an open stream finish, exit code 0'
