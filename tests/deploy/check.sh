#!/usr/bin/env bash
# What can be said of the files of deploy/ by reading them: seconds, and nothing to install. PyYAML is among what the SDK
# tests have; without those it comes with the checkers of `make test-deploy`.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=target/clients-venv/main/bin/python
if ! "$python" -c 'import yaml' 2>/dev/null; then
    tests/deploy/tools.sh
    python=target/tools/deploy/bin/python
fi
exec "$python" -B tests/deploy/promises.py
