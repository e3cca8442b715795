#!/usr/bin/env bash
# Real Kubernetes on this machine: builds etcd, Kubernetes, CoreDNS, containerd and helm
# from their Go modules into the user's cache folder (once, about a quarter of an hour on two cores), then
# brings up a cluster of one node in namespaces of its own, installs sluice by its chart,
# runs the page and the other scenarios, and takes everything down. Nothing is installed
# and nothing of the machine is touched but the cgroup hierarchies, where the run has a
# place of its own.
# SLUICE_TEST_ARGS are passed to go test; -run narrows it to some tests. With E2E_FULL=1 the
# load and fault tests are of their full size: 30 pods, five minutes without an API server.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(id -u)" != 0 ]; then
	echo "error: make e2e needs root: it makes cgroups, and namespaces of all kinds" >&2
	exit 1
fi
if ! command -v apt-get >/dev/null; then
	echo "error: make e2e needs a Debian-like system (apt-get): it fetches runc there" >&2
	exit 1
fi
scripts/needs.sh nft curl
apt-cache show runc >/dev/null 2>&1 || apt-get -qq update

began=$SECONDS
go run ./e2e/cluster/build etcd hyperkube coredns helm >/dev/null
built=$((SECONDS - began))

# Beside the clusters: every package whose tests have an API server of their own.
mapfile -t quick < <(go list -f '{{range .TestImports}}{{$.ImportPath}} {{.}}{{"\n"}}{{end}}{{range .XTestImports}}{{$.ImportPath}} {{.}}{{"\n"}}{{end}}' ./... |
	awk '/e2e\/cluster\/(quick|world|suite)$/ {print $1}' | sort -u)
status=0
# One package at a time: a cluster takes a gigabyte and both cores. E2E_FULL is a flag of
# the one package that has it, and what follows -args is the tests' own.
for package in "${quick[@]}"; do
	own=()
	if [ -n "${E2E_FULL:-}" ] && [ "${package##*/e2e/}" = cluster ]; then own=(-args -full); fi
	# shellcheck disable=SC2086
	SLUICE_TEST_CLUSTER=1 go test -count=1 -v -timeout 60m ${SLUICE_TEST_ARGS:-} "$package" "${own[@]}" || status=1
done
echo "make e2e: ${built} s to build what was not in the cache, $((SECONDS - began - built)) s of tests"
exit "$status"
