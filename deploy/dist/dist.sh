#!/usr/bin/env bash
# dist.sh TARGET...: dist/ with everything of a release. Each file depends on the sources, the toolchain and the C compilers
# alone: two builds in different folders are equal to the bit.
set -euo pipefail
cd "$(dirname "$0")/../.."
tools=deploy/dist
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
SOURCE_DATE_EPOCH=$("$tools/epoch.sh")
export SOURCE_DATE_EPOCH LC_ALL=C PYTHONDONTWRITEBYTECODE=1
umask 022
rm -rf dist
mkdir dist

python3 "$tools/licences.py" dist/THIRD-PARTY-LICENSES.txt "$@"
for target in "$@"; do
    "$tools/compile.sh" "$target"
    binary=target/$target/release/auth-proxy
    architecture=${target%%-*}
    name=auth-proxy-$version-linux-$architecture

    python3 "$tools/sbom.py" "dist/$name.cdx.json" "$target" "$binary"
    python3 "$tools/image.py" "dist/$name-image.tar.gz" "$binary" "$architecture" "$version"

    folder=target/dist/$name
    rm -rf "$folder"
    mkdir -p "$folder/docs"
    cp "$binary" README.md CHANGELOG.md SECURITY.md LICENSE dist/THIRD-PARTY-LICENSES.txt deploy/systemd/auth-proxy.{service,socket} "$folder"
    cp -R docs/. "$folder/docs"
    sums=$(cd "$folder" && find . -type f -printf '%P\n' | sort | xargs sha256sum)
    echo "$sums" >"$folder/SHA256SUMS"
    python3 "$tools/tarball.py" "dist/$name.tar.gz" "$folder"
done
(cd dist && sha256sum -- *.gz *.json *.txt >SHA256SUMS)
ls -l dist
