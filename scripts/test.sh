#!/usr/bin/env bash
# Runs every test. As root on a Debian-like system it first installs what is
# missing: a C compiler (the race detector needs one), iptables in both variants
# (rules/iptables), and curl, Python and Node (e2e). Without a compiler the suite runs without -race and says so.
# Debian 12's containerd and runc (e2e/node) are unpacked into the user's cache folder:
# nothing of them is installed or started. SLUICE_TEST_ARGS are passed to go test.
set -uo pipefail
cd "$(dirname "$0")/.."

has() { command -v "$1" >/dev/null; }
compiler() { has "${CC:-gcc}" || has clang; }

needed=(iptables-nft-restore iptables-legacy-restore curl python3 node)
compiler || needed+=(gcc)
scripts/needs.sh "${needed[@]}"

old_containerd() { apt-cache show --no-all-versions containerd 2>/dev/null | grep -q '^Version: 1\.6\.20'; }
if [ "$(id -u)" = 0 ] && has apt-get; then
	apt-cache show containerd runc >/dev/null 2>&1 || apt-get -qq update
	if old_containerd; then
		export SLUICE_TEST_RUNTIMES=${SLUICE_TEST_RUNTIMES:-1.6.20}
	fi
fi

race=()
if compiler; then
	race=(-race)
	export CGO_ENABLED=1
else
	echo "note: no C compiler here, so the suite runs without the race detector (install gcc to have it)"
fi

# What has no paths in it is compiled once for every clone; its tests run in each (-count).
export GOFLAGS="${GOFLAGS:-} -trimpath"

echo "building and running the tests; the first run compiles for a few minutes"
# shellcheck disable=SC2086
{
	go test "${race[@]}" -count=1 -json -timeout 9m ${SLUICE_TEST_ARGS:-} ./...
	main=$?
	for nested in tools/http1diff e2e/grpc; do
		go test -C "$nested" "${race[@]}" -count=1 -json . || main=1
	done
	exit "$main"
} | go run ./internal/testreport
status=("${PIPESTATUS[@]}")
[ "${status[0]}" = 0 ] && [ "${status[1]}" = 0 ]
