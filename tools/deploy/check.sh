#!/usr/bin/env bash
# What can be said of the files of deploy/ by reading them. PyYAML is among what the SDK tests have installed.
set -euo pipefail
cd "$(dirname "$0")/../.."
tests/clients/install.sh main
exec "${CLIENTS_DIR:-target/clients}/main/bin/python" -B tools/deploy/promises.py "$@"
