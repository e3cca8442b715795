#!/usr/bin/env bash
# Runs every fuzz target of the module for the given time each (default 1m).
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-1m}
git grep -l '^func Fuzz' -- '*_test.go' | while read -r file; do
	for target in $(grep -oE '^func Fuzz\w+' "$file" | cut -d' ' -f2); do
		echo "fuzzing $target in $(dirname "$file") for $time"
		go test -C "$(dirname "$file")" -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 10x .
	done
done
