#!/usr/bin/env bash
# air-gap.sh VERSION DOCUMENT... -- ARCHITECTURE=BINARY...: one file with all that a network without internet needs: images,
# binaries, manifests with the image's digest, units, monitoring, documentation, and what says what is in it. From dist/, into
# dist/.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=$1
name=auth-proxy-$version-air-gap
shift
folder=target/dist/$name
rm -rf "$folder"
mkdir -p "$folder/images"
while [[ $1 != -- ]]; do
    cp "$1" "$folder"
    shift
done
shift
for pair in "$@"; do install -D -m 755 "${pair#*=}" "$folder/bin/${pair%%=*}/auth-proxy"; done
cp dist/*-image.tar.gz "$folder/images"
# Not the provenance: it is made afterwards, since it has the sum of this bundle.
cp dist/*.cdx.json dist/*.openvex.json dist/IMAGE-DIGEST "$folder"
# With the image that `docker load` makes of an archive: there is nothing to build from.
sed "/^    build:/,/^      dockerfile:/d; s/^    image: auth-proxy\$/&:$version/" docker-compose.yml >"$folder/docker-compose.yml"
mkdir "$folder/deploy"
cp -R docs "$folder"
cp -R deploy/kubernetes deploy/monitoring deploy/podman deploy/systemd "$folder/deploy"
grep -rlE '@?sha256:0{64}$' "$folder/deploy" | xargs sed -i -E "s/sha256:0{64}\$/$(cat dist/IMAGE-DIGEST)/"
python3 deploy/dist/links.py "$folder" >/dev/null
deploy/dist/sums.sh "$folder"
python3 deploy/dist/tarball.py "dist/$name.tar.gz" "$folder"
