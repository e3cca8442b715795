#!/usr/bin/env bash
# Real Kubernetes on this machine: builds etcd, Kubernetes, CoreDNS, containerd and helm
# from their Go modules into the user's cache folder (once, about a quarter of an hour on two cores), then
# brings up a cluster of one node in namespaces of its own, installs sluice by its chart,
# and takes everything down again. Nothing is installed and nothing of the machine is
# touched but the cgroup hierarchies, where the run has a place of its own.
#   e2e.sh         the page and the other scenarios, each where it needs it in a cluster of its own
#   e2e.sh page    the page "Control Egress Traffic" only, printing what it does
#   e2e.sh shell   a shell in the cluster in place of scenarios
# SLUICE_TEST_ARGS are passed to go test; -run narrows it to some tests. With E2E_FULL=1 the
# load and fault tests are of their full size: 30 pods, five minutes without an API server.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-all}

if [ "$(id -u)" != 0 ]; then
	echo "error: this needs root: it makes cgroups, and namespaces of all kinds" >&2
	exit 1
fi
if ! command -v apt-get >/dev/null; then
	echo "error: this needs a Debian-like system (apt-get): it fetches runc there" >&2
	exit 1
fi
scripts/needs.sh nft curl
apt-cache show runc >/dev/null 2>&1 || apt-get -qq update

# Whatever interrupts this, what it wrote for itself goes.
TMPDIR=$(mktemp -d /tmp/sluice.XXXXXX)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT

began=$SECONDS
go run ./e2e/cluster/build etcd hyperkube coredns helm containerd >/dev/null
export SLUICE_TEST_CLUSTER=1
status=0
case $what in
page | shell)
	# A program of its own, not `go test`: it has the terminal.
	go test -c -o "$TMPDIR/cluster.test" ./e2e/cluster
	built=$((SECONDS - began))
	suite=^TestTheSuiteInAClusterOfItsOwn\$
	if [ "$what" = page ]; then
		"$TMPDIR/cluster.test" -progress -test.run "$suite/^the_page\$" || status=1
	else
		"$TMPDIR/cluster.test" -progress -shell -test.run "$suite" || status=1
	fi
	;;
all)
	built=$((SECONDS - began))
	# Beside the clusters: every package whose tests have an API server of their own.
	mapfile -t quick < <(go list -f '{{range .TestImports}}{{$.ImportPath}} {{.}}{{"\n"}}{{end}}{{range .XTestImports}}{{$.ImportPath}} {{.}}{{"\n"}}{{end}}' ./... |
		awk '/e2e\/cluster\/(quick|world|suite)$/ {print $1}' | sort -u)
	# One package at a time: a cluster takes a gigabyte and both cores. E2E_FULL is a flag of
	# the one package that has it, and what follows -args is the tests' own.
	for package in "${quick[@]}"; do
		own=()
		if [ -n "${E2E_FULL:-}" ] && [ "${package##*/e2e/}" = cluster ]; then own=(-args -full); fi
		# shellcheck disable=SC2086
		go test -count=1 -v -timeout 60m ${SLUICE_TEST_ARGS:-} "$package" "${own[@]}" || status=1
	done
	;;
*)
	echo "error: $what: not page or shell" >&2
	exit 1
	;;
esac
echo "${built} s to build what was not in the cache, $((SECONDS - began - built)) s of running"
exit "$status"
