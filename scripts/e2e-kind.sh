#!/usr/bin/env bash
# A cluster by kind on this machine, without a container registry: builds Kubernetes,
# containerd, etcd, CoreDNS and kind from their Go modules into the user's cache folder and
# a node image out of them and Debian's packages (once), then has kind make a cluster on a
# podman that is not installed, in namespaces of its own, installs sluice by Kustomize's
# preset kind, runs the suite of e2e/cluster/suite and takes everything down.
# KIND_NODE_IMAGE names an image of kind's own to pull instead of the one that is built.
# SLUICE_TEST_ARGS are passed to go test.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(id -u)" != 0 ]; then
	echo "error: make e2e-kind needs root: it makes cgroups, and namespaces of all kinds" >&2
	exit 1
fi
if ! command -v apt-get >/dev/null; then
	echo "error: make e2e-kind needs a Debian-like system (apt-get): podman and the node image's system come from there" >&2
	exit 1
fi
scripts/needs.sh nft iptables-nft-restore curl mmdebstrap
apt-cache show podman >/dev/null 2>&1 || apt-get -qq update

# Whatever interrupts this, what it wrote for itself goes.
TMPDIR=$(mktemp -d /tmp/sluice.XXXXXX)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT

began=$SECONDS
# shellcheck disable=SC2086
SLUICE_TEST_KIND=1 go test -count=1 -v -p 1 -timeout 90m ${SLUICE_TEST_ARGS:-} ./e2e/kind/...
echo "$((SECONDS - began)) s in all, with the building of what was not in the cache"
