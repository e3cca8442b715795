#!/usr/bin/env bash
# gofmt, go vet and staticcheck (pinned in tools/lint) over the whole tree.
set -euo pipefail
cd "$(dirname "$0")/.."

unformatted=$(git ls-files '*.go' | xargs gofmt -l)
if [ -n "$unformatted" ]; then
	printf 'gofmt would change:\n%s\n' "$unformatted" >&2
	exit 1
fi
export GOFLAGS="${GOFLAGS:-} -trimpath" # compiled once for every clone
go vet ./...
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
go build -C tools/lint -o "$bin/" honnef.co/go/tools/cmd/staticcheck
"$bin/staticcheck" ./...
