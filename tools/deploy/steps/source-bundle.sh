# shellcheck shell=bash
# `make vendor`: builds in another folder, without a network and without cargo's own store, and gives the same bits.
. tools/deploy/lib.sh

# With what the step release had.
export AUTH_PROXY_SOURCE=https://git.example.com/auth-proxy
signed=()
if [[ -e target/tools/deploy/trial.key ]]; then signed=(MINISIGN_KEY="$PWD/target/tools/deploy/trial.key"); fi
make vendor "${signed[@]}"
bundle=$(echo dist/auth-proxy-*-source.tar.gz)
ok 'make vendor' "$(mb $(($(stat -c %s "$bundle") / 1024)))"

alone=(unshare --net)
if [[ $UID != 0 ]]; then alone=(unshare --map-root-user --net); fi
if ! "${alone[@]}" true; then
    skipped 'a build without a network' 'this user may make no network namespace'
    exit
fi
elsewhere="$WORK/another folder"
mkdir "$elsewhere" "$WORK/cargo"
tar -xzf "$bundle" -C "$elsewhere" --strip-components=1
epoch=$(deploy/dist/epoch.sh)
[[ $(cd "$elsewhere" && deploy/dist/epoch.sh) == "$epoch" ]]
targets=$(cd dist && printf '%s\n' auth-proxy-*-linux-*.cdx.json | sed 's/.*-linux-\(.*\)\.cdx\.json/\1-unknown-linux-musl/' | paste -sd ' ')
"${alone[@]}" env "CARGO_HOME=$WORK/cargo" make -C "$elsewhere" dist DIST_TARGETS="${targets:-$TARGET}" "${signed[@]}"
[[ ! -e $WORK/cargo/registry ]]
ok 'builds with no network and an empty cargo store' "${targets:-$TARGET}"

if [[ -z $targets ]]; then
    skipped 'the same bits' 'dist/ has nothing to compare with: the step release makes it'
elif [[ -n $(git status --porcelain --untracked-files=no) ]]; then
    skipped 'the same bits' 'there are changes that are not committed, and the bundle is what is committed'
else
    (cd "$elsewhere/dist" && sha256sum --check SHA256SUMS && grep -v source "$OLDPWD/dist/SHA256SUMS" | sha256sum --check)
    ok 'the same bits as in dist/' "$(wc -l <"$elsewhere/dist/SHA256SUMS") files"
fi
