# shellcheck shell=bash
# The alert rules: well-formed, and each fires when it should.
. tools/deploy/lib.sh

if ! have promtool prometheus 'alert rules'; then exit; fi
timeout 60 promtool check rules deploy/monitoring/rules.yml | tee "$WORK/checked"
timeout 60 promtool test rules deploy/monitoring/rules_test.yml
ok 'alert rules: promtool check, promtool test' "$(grep -o '[0-9]* rules found' "$WORK/checked")"
