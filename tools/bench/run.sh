#!/usr/bin/env bash
# `make bench`: this program, nginx, haproxy, Caddy and a Python reference before the same TLS upstream, in turns.
#
# tools/bench/run.sh [PART...]: pausing requests counts streams paced memory growth bodies start; all of them unless given. Each
# keeps its figures in target/bench/results, and docs/performance.md is written from all that are there. It ends with the
# targets (targets.py) beside what was measured of this very binary. Nothing is asserted: a time says something beside
# another of the same run only. BENCH_SECONDS: how long each measurement of `pausing` takes, of which there are 54.
#
# tools/bench/run.sh --render writes the document again and measures nothing; compare.py says how far two runs agree.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."

missing=()
for tool in nginx haproxy wrk openssl; do
    command -v "$tool" >/dev/null || missing+=("$tool")
done
if ((${#missing[@]})); then
    echo "bench: these are missing: ${missing[*]} (on Debian: apt-get install nginx haproxy wrk openssl)" >&2
    exit 1
fi
for tool in valgrind strace; do
    command -v "$tool" >/dev/null || echo "bench: without $tool the part counts is left out" >&2
done

command -v caddy >/dev/null || echo "bench: without caddy (on Debian: apt-get install caddy) its rows are left out" >&2

venv=target/bench/venv
stamp=$({ python3 --version && cat "$here/requirements.txt"; } | openssl dgst -sha256)
if [[ $(cat "$venv/stamp" 2>/dev/null) != "$stamp" ]]; then
    python3 -m venv --clear "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input -r "$here/requirements.txt"
    echo "$stamp" >"$venv/stamp"
fi

exec "$venv/bin/python" -B "$here/bench.py" "$@"
