// Definitions (CRDs) of others' kinds that the chart renders, for the tests only: an API
// server judges the chart's PodMonitor and SecurityContextConstraints by them.
module github.com/sluice-cni/sluice/tools/definitions

go 1.26.0

require (
	github.com/openshift/api v0.0.0-20260420151639-34e60874783e
	github.com/prometheus-operator/prometheus-operator v0.85.0
)
