// Package agent is the node's agent: one process that serves the connections of every
// pod on the node. It joins what agent/core decides to the holder (agent/link), to the
// pods (agent/pods), and to what says which pods there are and what they should be.
//
//	holder ─ pods, gone, retire ─▶ ┐                ┌ exempt, start, apply … ─▶ agent/pods
//	sweeps, container runtime ───▶ │  agent/core    │
//	policy, ranges, snapshots ───▶ ┘ one goroutine  └ take, seen, retired ────▶ holder
package agent
