#!/usr/bin/env bash
# run.sh [STEP...]: how the program is shipped, tried for real, as far as this machine can. Prints a line per thing tried:
# `ok`, `skipped` with the reason, or `failed` with the end of its log. Without arguments: all steps, in the order of steps/.
#
# Nothing is installed on the machine; a tool that is missing is a `skipped` that names its package. Only the checkers that
# come from PyPI are put into target/tools/deploy. Everything that is started is ended, containers, images and network
# namespaces included. Each step has 10 minutes (the builds 60).
set -euo pipefail
cd "$(dirname "$0")/../.."
TARGET=${TARGET:-x86_64-unknown-linux-musl}
export TARGET BINARY=${BINARY:-target/$TARGET/release/auth-proxy} SIM=${SIM:-target/debug/examples/sim}

steps=("$@")
if [[ ${#steps[@]} == 0 ]]; then
    for file in tools/deploy/steps/*.sh; do steps+=("$(basename "$file" .sh)"); done
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
tools/deploy/tools.sh >"$scratch/tools.log" 2>&1 || { cat "$scratch/tools.log" && exit 1; }
export REPORT=$scratch/report
: >"$REPORT"

failed=0
for step in "${steps[@]}"; do
    limit=600
    if [[ $step == release || $step == source-bundle ]]; then limit=3600; fi
    printf '%s\n' "$step"
    export WORK=$scratch/$step
    mkdir "$WORK"
    status=0
    # --foreground: Ctrl-C ends the step as well, and its trap cleans up.
    timeout --foreground --kill-after=30 "$limit" bash "tools/deploy/steps/$step.sh" 3>&1 >"$WORK/log" 2>&1 || status=$?
    if [[ $status != 0 ]]; then
        failed=$((failed + 1))
        echo "  failed   exit code $status; the end of its log:"
        tail -n 40 "$WORK/log" | sed 's/^/           /'
    fi
done
printf '%s ok, %s skipped, %s failed, in %s minutes\n' "$(grep -c '^ok' "$REPORT" || true)" "$(grep -c '^skipped' "$REPORT" || true)" \
    "$failed" "$(((SECONDS + 30) / 60))"
[[ $failed == 0 ]]
