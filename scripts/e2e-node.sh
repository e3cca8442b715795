#!/usr/bin/env bash
# The whole of e2e/node: load and faults at full size, and real containerd. The first
# time it builds containerd and fetches Debian's packages of containerd and runc, which
# takes a few minutes; nothing is installed, and what runc needs of the system (libseccomp2)
# is there wherever apt is.
# SLUICE_TEST_ARGS are passed to go test.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(id -u)" != 0 ]; then
	echo "error: make e2e-node needs root: it makes cgroups, and namespaces of all kinds" >&2
	exit 1
fi
if ! command -v apt-get >/dev/null; then
	echo "error: make e2e-node needs a Debian-like system (apt-get): it fetches runc and the older containerd there" >&2
	exit 1
fi
apt-cache show runc >/dev/null 2>&1 || apt-get -qq update
# shellcheck disable=SC2086
exec go test -count=1 -v -timeout 40m ${SLUICE_TEST_ARGS:-} ./e2e/node -args -full -runtime "${RUNTIMES:-2.4.2,1.6.20}"
