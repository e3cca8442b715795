#!/usr/bin/env bash
# Runs every test. As root on a Debian-like system it installs a C compiler first
# (the race detector needs one); without one the suite runs without -race and says so.
# SLUICE_TEST_ARGS are passed to go test.
set -uo pipefail
cd "$(dirname "$0")/.."

compiler() { command -v "${CC:-gcc}" >/dev/null || command -v clang >/dev/null; }

if ! compiler && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	echo "installing gcc: the race detector needs a C compiler"
	apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y gcc libc6-dev >/dev/null
fi

race=()
if compiler; then
	race=(-race)
	export CGO_ENABLED=1
else
	echo "note: no C compiler here, so the suite runs without the race detector (install gcc to have it)"
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
# shellcheck disable=SC2086
go test "${race[@]}" -v -timeout 9m ${SLUICE_TEST_ARGS:-} ./... 2>&1 | tee "$log" |
	grep --line-buffered -vE '^(=== |\s*--- (PASS|SKIP)|PASS$|    [a-z_]+_test\.go:[0-9]+: not run: |\?   .*no test files)'
status=${PIPESTATUS[0]}

passed=$(grep -cE '^\s*--- PASS' "$log")
failed=$(grep -cE '^\s*--- FAIL' "$log")
skipped=$(grep -cE '^\s*--- SKIP' "$log")
if [ "$skipped" -gt 0 ]; then
	echo
	echo "not run here:"
	grep -A1 -E '^\s*--- SKIP|not run: ' "$log" | awk '
		/--- SKIP/ { name = $3 }
		/not run: / { sub(/.*not run: /, ""); reason = $0; if (name != "") print "  " name ": " reason; else print "  " reason; name = "" }' | sort -u
fi
echo
echo "$passed passed, $failed failed, $skipped skipped"
exit "$status"
