#!/usr/bin/env bash
# The time that every file of a release has: SOURCE_DATE_EPOCH, else the last commit's, else, in a source bundle, the one
# that all its files have.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [[ -n ${SOURCE_DATE_EPOCH-} ]]; then
    echo "$SOURCE_DATE_EPOCH"
elif [[ -e .git ]]; then
    git log -1 --format=%ct
else
    stat -c %Y Cargo.lock
fi
