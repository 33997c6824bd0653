#!/usr/bin/env bash
# The commit that the program is built from: AUTH_PROXY_COMMIT, else the last one that changed it, else, in a source bundle,
# what its file COMMIT says; nothing when nobody knows.
set -euo pipefail
cd "$(dirname "$0")/../.."
program=(src Cargo.toml Cargo.lock rust-toolchain.toml)
if [[ -n ${AUTH_PROXY_COMMIT-} ]]; then
    echo "$AUTH_PROXY_COMMIT"
elif [[ -e .git ]]; then
    commit=$(git log -1 --format=%h --abbrev=12 -- "${program[@]}")
    if git diff --quiet HEAD -- "${program[@]}"; then echo "$commit"; else echo "$commit-modified"; fi
elif [[ -f COMMIT ]]; then
    cat COMMIT
fi
