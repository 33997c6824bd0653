#!/bin/sh
# Fuzzes one target after the other: fuzz/run.sh SECONDS TARGET...   (`make fuzz` installs what it needs)
#
# Begins with fuzz/corpus and keeps what it finds in target/fuzz/corpus. A finding ends the run; its input is in
# target/fuzz/artifacts, and this repeats it: target/fuzz/x86_64-unknown-linux-gnu/release/TARGET FILE
set -eu
cd "$(dirname "$0")/.."
seconds=$1
shift
work=$PWD/target/fuzz
host=$(rustc -vV | sed -n 's/^host: //p')
export RUSTUP_TOOLCHAIN="${FUZZ_TOOLCHAIN:-nightly}" PATH="$PWD/target/tools/bin:$PATH"
# The lock file is the program's own, but for what libFuzzer needs.
cargo fuzz build --target "$host" --target-dir "$work"

for target; do
    mkdir -p "$work/corpus/$target" "$work/artifacts/$target"
    if [ "$target" = pem ]; then
        # Files with keys in them are new in every run, and so are not in fuzz/corpus.
        sh tests/data/make.sh "$work/pems"
        for pair in leaf other weak ec ed25519; do
            {
                printf '\0KEY'; openssl pkey -in "$work/pems/$pair.key" -outform DER
                printf '\0CRT'; openssl x509 -in "$work/pems/$pair.crt" -outform DER
            } > "$work/pems/$pair.blocks"
        done
        more=$work/pems
    elif [ "$target" = pfx ]; then
        sh tests/data/make.sh "$work/pems"
        rm -rf "$work/pfx"
        mkdir "$work/pfx"
        cp "$work"/pems/*.pfx "$work/pfx"
        more=$work/pfx
    else
        more=
    fi
    echo "--- $target, $seconds seconds"
    # Twice the longest line of a body that is accepted; a certificate file with a chain takes more.
    case $target in pem | pfx) longest=8192 ;; *) longest=2048 ;; esac
    # shellcheck disable=SC2086
    "$work/$host/release/$target" -max_total_time="$seconds" -max_len="$longest" -timeout=20 -rss_limit_mb=2048 \
        -dict="fuzz/dict/$target.dict" -artifact_prefix="$work/artifacts/$target/" -print_final_stats=1 -verbosity=1 \
        "$work/corpus/$target" "fuzz/corpus/$target" $more
done
