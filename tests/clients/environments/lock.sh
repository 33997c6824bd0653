#!/usr/bin/env bash
# Writes the .txt files, every package at a fixed version, from the .in files, which say what we want: run it after
# changing one of those. UV names another uv than the one that the tests install.
set -euo pipefail
cd "$(dirname "$0")"
uv=${UV:-../../../target/clients/uv/bin/uv}
for wanted in *.in; do
    "$uv" pip compile --quiet --universal --python-version 3.10 --no-annotate --no-header \
        "$wanted" --output-file "${wanted%.in}.txt"
done
