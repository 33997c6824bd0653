# shellcheck shell=bash
# Inside the machine that steps/vm.sh boots, as root: the commands of docs/vm.md, then what the unit promises.
. tools/deploy/lib.sh
exec 3>"$WORK/report"
touch "$REPORT"
later 'journalctl --no-pager --unit auth-proxy'

echo '127.0.0.1 localhost' >/etc/hosts
start_sim "$WORK/sim"
declare -A simulated
for setting in "${settings[@]}"; do simulated[${setting%%=*}]=${setting#*=}; done
mkdir "$WORK/unpacked"
tar -xzf "$TARBALL" -C "$WORK/unpacked" --strip-components=1
cp "$sim/certificate.pem" "$WORK/unpacked"
install -m 644 "$sim/ca.pem" /etc/ca.pem

# Word for word, but for the values, and the authority that is not the public one.
# shellcheck disable=SC2016  # the backticks are Markdown's
sed -n '/^```sh$/,/^```$/p' "$WORK/unpacked/docs/vm.md" | sed '1d; /^```$/,$d' >"$WORK/commands"
lines=$(wc -l <"$WORK/commands")
for name in AZURE_CLIENT_ID AZURE_TENANT_ID API_BASE_URL; do
    sed -i "s|^$name=.*|$name=${simulated[$name]}|" "$WORK/commands"
done
sed -i "/^API_BASE_URL=/a AZURE_AUTHORITY_HOST=${simulated[AZURE_AUTHORITY_HOST]}\nSSL_CERT_FILE=/etc/ca.pem" "$WORK/commands"
(cd "$WORK/unpacked" && bash -e "$WORK/commands") >"$WORK/installed"
[[ $(tail -n 1 "$WORK/installed") == '{"status":"ok"}' ]] || fail "the last command says $(tail -n 1 "$WORK/installed")"
ok 'docs/vm.md, its commands one by one' "$lines lines, $(systemctl --version | sed -n 's/^\(systemd [0-9]*\).*/\1/p')"

shown() { systemctl show --property "$1" --value auth-proxy; }
healthy() { ask --fail http://127.0.0.1:8080/health; }
[[ $(shown ActiveState) == active ]]
pid=$(shown MainPID)
[[ $(awk '$1 ~ /^Cap(Eff|Prm|Bnd|Amb):/ { print $2 }' "/proc/$pid/status" | sort -u) == 0000000000000000 ]]
[[ $(awk '$1 == "NoNewPrivs:" || $1 == "Seccomp:" { print $2 }' "/proc/$pid/status" | paste -sd ' ') == '1 2' ]]
user=$(awk '$1 == "Uid:" { print $2 }' "/proc/$pid/status")
[[ $user != 0 && $(stat -c '%u %a' /etc/auth-proxy/certificate.pem) == '0 600' ]]
chat http://127.0.0.1:8080 >"$WORK/response"
grep -q '"content"' "$WORK/response"
ask --fail http://127.0.0.1:8081/metrics | grep -q '^auth_proxy_ready 1'
ok 'a request through, and metrics' "user $user of DynamicUser, no capability, seccomp; the certificate is root's, 0600"

systemd-analyze security --threshold=20 --no-pager auth-proxy >"$WORK/security"
ok 'systemd-analyze security of the running unit' "$(sed -n 's/.*exposure level for [^:]*: \([0-9.]*\).*/\1 (at most 2.0)/p' "$WORK/security")"

kill -KILL "$pid"
restarted() { [[ $(shown NRestarts) == 1 && $(shown MainPID) != 0 ]] && healthy; }
eventually 60 restarted
ok 'killed: started again'

ask --no-buffer 'http://127.0.0.1:8080/sim/sse?events=30&pause_ms=100' >"$WORK/stream" &
stream=$!
eventually 30 grep -q data: "$WORK/stream"
systemctl stop auth-proxy
wait "$stream"
[[ $(tail -n 2 "$WORK/stream" | head -n 1) == 'data: [DONE]' && "$(shown Result) $(shown ExecMainStatus)" == 'success 0' ]]
ok 'systemctl stop lets an open stream finish, exit code 0'

sed -i 's|^API_BASE_URL=.*|API_BASE_URL=nonsense|' /etc/auth-proxy/auth-proxy.env
if systemctl start auth-proxy; then fail 'it starts with nonsense'; fi
[[ "$(shown ActiveState) $(shown ExecMainStatus) $(shown NRestarts)" == 'failed 2 0' ]]
journalctl --no-pager --unit auth-proxy | grep -q 'error: API_BASE_URL'
ok 'a wrong setting: failed, not started again, the reason in the journal'
