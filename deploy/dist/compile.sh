#!/usr/bin/env bash
# compile.sh TARGET: the release binary for that target, the same bits in whatever folder and from whatever source of crates
# (a registry, or vendor/) it is built. `make build` and `make dist` come here.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=$1

# Before the paths are named: on a new machine the folder of the crates is not there yet.
"${CARGO:-cargo}" fetch --quiet --locked --target "$target"

# Paths in panic messages and debug data, each replaced by a fixed one: this folder, and where cargo keeps the crates.
cargo_home=${CARGO_HOME:-$HOME/.cargo}
flags=("--remap-path-prefix=$PWD=/auth-proxy" "--remap-path-prefix=$PWD/vendor=/crates")
c_flags="'-ffile-prefix-map=$PWD=/auth-proxy' '-ffile-prefix-map=$PWD/vendor=/crates'"
for registry in "$cargo_home"/registry/src/*/; do
    [[ -d $registry ]] || continue
    flags+=("--remap-path-prefix=${registry%/}=/crates")
    c_flags+=" '-ffile-prefix-map=${registry%/}=/crates'"
done
# A folder's name may have a space.
export "CFLAGS_${target//-/_}=$c_flags" CC_SHELL_ESCAPED_FLAGS=1

# ring has C files: another processor's need its compiler. The linker comes with Rust.
if [[ $target != "$(uname -m)"-* ]]; then
    architecture=${target%%-*}
    compiler=CC_${target//-/_} linker=CARGO_TARGET_${target//-/_}_LINKER
    export "$compiler=${!compiler:-$architecture-linux-gnu-gcc}" "${linker^^}=rust-lld"
    pack=--pack-dyn-relocs=relr
else
    pack=-Wl,-z,pack-relative-relocs
fi

# A static binary that may lie anywhere moves itself at start: by a short list of places, not one of 24 bytes for each.
[[ $target != *-musl ]] || flags+=("-Clink-arg=$pack")
CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f' && echo "${flags[*]}")
export CARGO_ENCODED_RUSTFLAGS

# What `--version` says: the last commit that changed the program, so that documents alone do not change its bits.
AUTH_PROXY_COMMIT=$(deploy/dist/commit.sh)
export AUTH_PROXY_COMMIT

# No time in it: where this is set or changes, ring and all that needs it would be compiled once more.
unset SOURCE_DATE_EPOCH
"${CARGO:-cargo}" build --locked --release --target "$target"
# Whatever the umask: in an image another user runs it.
chmod 755 "target/$target/release/auth-proxy"
