#!/usr/bin/env bash
# sums.sh FOLDER: the checksums of what is in it and, with MINISIGN_KEY (a file), their signature. Both are the same for the same
# files and key.
set -euo pipefail
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$(dirname "$0")/../../Cargo.toml" | head -n 1)
cd "$1"
rm -f SHA256SUMS SHA256SUMS.minisig
sums=$(find . -type f -printf '%P\n' | LC_ALL=C sort | xargs sha256sum --)
echo "$sums" >SHA256SUMS
if [[ -n ${MINISIGN_KEY-} ]]; then
    # The comment that is signed would have the time.
    minisign -S -s "$MINISIGN_KEY" -m SHA256SUMS -t "auth-proxy $version" -c "auth-proxy $version" >/dev/null
fi
