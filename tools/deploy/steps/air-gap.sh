# shellcheck shell=bash
# No internet and no DNS: a network namespace with a loopback and nothing else, names from /etc/hosts, authority and
# upstream of one's own, with their own CA.
. tools/deploy/lib.sh

alone 'a network of its own'
start_sim "$WORK/sim"
sed -i 's|^AZURE_AUTHORITY_HOST=localhost|AZURE_AUTHORITY_HOST=login.sim.test|; s|^API_BASE_URL=https://localhost|API_BASE_URL=https://openai.sim.test|' "$WORK/env"
mapfile -t settings <"$WORK/env"
start "$WORK/proxy.log" "${inside[@]}" env -i "${settings[@]}" PORT=8080 "$BINARY"
proxy=$!
healthy() { ask http://127.0.0.1:8080/health | grep '"ok"'; }
eventually 60 healthy
chat http://127.0.0.1:8080 >"$WORK/response"
grep -q '"content"' "$WORK/response"
grep -q 'host: openai.sim.test' "$WORK/sim.log"
[[ $(ip netns identify "$proxy") == "$namespace" ]]
ok 'no route, no name server: signed in and a request through' 'AZURE_AUTHORITY_HOST, API_BASE_URL, SSL_CERT_FILE, /etc/hosts'

# A name that nobody knows is a response, not a wait.
start "$WORK/lost.log" "${inside[@]}" env -i "${settings[@]}" PORT=8081 AZURE_AUTHORITY_HOST=login.microsoftonline.com "$BINARY"
lost() {
    ask http://127.0.0.1:8081/health | grep '"reason":".*could not be resolved' \
        && grep -q 'cannot resolve login.microsoftonline.com' "$WORK/lost.log"
}
eventually 60 lost
ok 'the public authority' "$(ask http://127.0.0.1:8081/health | grep -o '"reason":"[^"]*"')"
