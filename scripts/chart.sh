#!/usr/bin/env bash
# Puts the Helm chart together: bin/chart/sluice from deploy/chart/sluice, with the
# version that is built and, in crds/, the definitions of Istio's kinds, which helm
# installs where they are missing and never touches again. bin/sluice-chart.tgz is the
# same, packed.
set -euo pipefail
cd "$(dirname "$0")/.."
version=${1:?usage: scripts/chart.sh VERSION}

semantic='^v?[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$'
if [[ $version =~ $semantic ]]; then chart=${version#v}; else chart=0.0.0-git-$version; fi
rm -rf bin/chart
mkdir -p bin/chart
cp -r deploy/chart/sluice bin/chart/sluice
sed -i "s/^version: .*/version: $chart/; s/^appVersion: .*/appVersion: \"$version\"/" bin/chart/sluice/Chart.yaml
go run ./deploy/crds -o bin/chart/sluice/crds
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -C bin/chart -czf bin/sluice-chart.tgz sluice
echo "bin/chart/sluice and bin/sluice-chart.tgz hold chart $chart"
