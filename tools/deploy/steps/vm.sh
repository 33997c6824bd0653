# shellcheck shell=bash
# docs/vm.md on a machine of its own: systemd as process 1 with this system's programs, and a file system, processes
# and a loopback that nobody else sees (systemd-nspawn). tools/deploy/vm.sh is what happens inside.
. tools/deploy/lib.sh

if ! have systemd-nspawn systemd-container 'the unit under systemd'; then exit; fi
if [[ $UID != 0 ]]; then
    skipped 'the unit under systemd' 'a machine of its own needs root here'
    exit
fi
tarball=$(find dist -name "auth-proxy-*-linux-$(uname -m).tar.gz" 2>/dev/null)
if [[ -z $tarball ]]; then
    skipped 'the unit under systemd' 'dist/ has no tarball: the step release makes it'
    exit
fi
cat >"$WORK/trial.service" <<END
[Unit]
SuccessAction=exit
FailureAction=exit

[Service]
Type=oneshot
WorkingDirectory=/repository
Environment=WORK=/trial REPORT=/trial/report SIM=$SIM BINARY=$BINARY TARBALL=$tarball
ExecStart=/bin/bash tools/deploy/vm.sh
StandardOutput=append:/trial/inside
StandardError=append:/trial/inside
END
machine=(systemd-nspawn --quiet --directory=/ --volatile=yes --boot --register=no --private-network --machine="auth-proxy-test-$$"
    --tmpfs=/usr/local/bin --bind-ro=/etc/ssl --bind-ro=/etc/alternatives --bind-ro="$PWD:/repository" --bind="$WORK:/trial"
    --bind-ro="$WORK/trial.service:/etc/systemd/system/trial.service")
# Where no systemd runs there is nobody to make a scope.
if [[ ! -d /run/systemd/system ]]; then machine+=(--keep-unit); fi
# The unit wants a network that is up; nobody brings up another than the loopback.
boot=(systemd.unit=trial.service systemd.firstboot=no systemd.mask=systemd-networkd-wait-online.service)
if ! timeout --kill-after=10 180 "${machine[@]}" "${boot[@]}" </dev/null >"$WORK/console" 2>&1; then
    if [[ ! -e $WORK/inside ]]; then
        tail -n 5 "$WORK/console"
        skipped 'the unit under systemd' 'systemd-nspawn boots no machine here'
        exit
    fi
    cat "$WORK/inside"
    fail 'it went wrong inside'
fi
cat "$WORK/report" >>"$REPORT"
cat "$WORK/report" >&3
