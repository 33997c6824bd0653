#!/usr/bin/env bash
# dist.sh TARGET...: dist/ with everything of a release. Each file depends on the sources, the toolchain and the C compilers
# alone: two builds in different folders are equal to the bit. MINISIGN_KEY signs it; AUTH_PROXY_SOURCE (the repository's address)
# and BUILDER_ID are said in labels and provenance.
set -euo pipefail
cd "$(dirname "$0")/../.."
tools=deploy/dist
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
SOURCE_DATE_EPOCH=$("$tools/epoch.sh")
# The commit of all of it; `--version` says the last one that changed the program.
AUTH_PROXY_REVISION=$(if [[ -e .git ]]; then git rev-parse HEAD; else cat REVISION; fi)
export SOURCE_DATE_EPOCH AUTH_PROXY_REVISION LC_ALL=C PYTHONDONTWRITEBYTECODE=1
if [[ -n ${MINISIGN_KEY-} ]]; then MINISIGN_KEY=$(realpath "$MINISIGN_KEY"); fi
# In whatever order they are named: the image index and the provenance list them.
mapfile -t targets < <(printf '%s\n' "$@" | sort -u)
set -- "${targets[@]}"
umask 022
rm -rf dist
mkdir dist

python3 "$tools/licences.py" dist/THIRD-PARTY-LICENSES.txt "$@"
documents=(README.md CHANGELOG.md UPGRADING.md SUPPORT.md SECURITY.md LICENSE dist/THIRD-PARTY-LICENSES.txt)
binaries=()
for target in "$@"; do
    "$tools/compile.sh" "$target"
    binary=target/$target/release/auth-proxy
    architecture=${target%%-*}
    name=auth-proxy-$version-linux-$architecture
    binaries+=("$architecture=$binary")

    python3 "$tools/sbom.py" "dist/$name.cdx.json" "$target" "$binary"
    python3 "$tools/image.py" "dist/$name-image.tar.gz" "$version" "$architecture=$binary" >/dev/null

    folder=target/dist/$name
    rm -rf "$folder"
    mkdir -p "$folder/docs"
    cp "$binary" "${documents[@]}" deploy/systemd/* "$folder"
    cp -R docs/. "$folder/docs"
    python3 "$tools/links.py" "$folder" >/dev/null
    "$tools/sums.sh" "$folder"
    python3 "$tools/tarball.py" "dist/$name.tar.gz" "$folder"
done
# By this digest the image is named in manifests, whatever registry it is copied to.
python3 "$tools/image.py" "dist/auth-proxy-$version-image.tar.gz" "$version" "${binaries[@]}" >dist/IMAGE-DIGEST
python3 "$tools/vex.py" "dist/auth-proxy-$version.openvex.json" "$version" "$(cat dist/IMAGE-DIGEST)"
"$tools/air-gap.sh" "$version" "${documents[@]}" -- "${binaries[@]}"
python3 "$tools/provenance.py" "dist/auth-proxy-$version.intoto.json" dist "$@"
"$tools/sums.sh" dist
ls -l dist
