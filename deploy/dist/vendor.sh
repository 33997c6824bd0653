#!/usr/bin/env bash
# vendor.sh: dist/auth-proxy-VERSION-source.tar.gz, the sources with every crate they need. `make dist` in it needs no network.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
SOURCE_DATE_EPOCH=$(deploy/dist/epoch.sh)
export SOURCE_DATE_EPOCH PYTHONDONTWRITEBYTECODE=1
if [[ -n ${MINISIGN_KEY-} ]]; then MINISIGN_KEY=$(realpath "$MINISIGN_KEY"); fi
umask 022
folder=target/dist/auth-proxy-$version-source
rm -rf "$folder"
mkdir -p "$folder" dist

# What is committed; a change that is not is left out on purpose.
git archive HEAD | tar -x -C "$folder"
deploy/dist/commit.sh >"$folder/COMMIT"
git rev-parse HEAD >"$folder/REVISION"
# With their versions in the folders' names, as in cargo's own store: so paths, and with them the binary, are the same.
"${CARGO:-cargo}" vendor --quiet --locked --versioned-dirs "$folder/vendor" >/dev/null
cat >>"$folder/.cargo/config.toml" <<'CONFIG'

# This is a source bundle: every crate is in vendor/.
[source.crates-io]
replace-with = "vendor"

[source.vendor]
directory = "vendor"

[net]
offline = true
CONFIG
python3 deploy/dist/tarball.py "dist/auth-proxy-$version-source.tar.gz" "$folder"
deploy/dist/sums.sh dist
ls -l "dist/auth-proxy-$version-source.tar.gz"
