SHELL := /bin/bash
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X main.version=$(VERSION)

.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## static bin/sluice (and its link kubectl-sluice) and bin/sluice-cni, and the reference CNI plugins in bin/cni
	@echo "building bin/sluice and bin/sluice-cni"
	@CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/sluice ./cmd/sluice-cni
	@ln -sf sluice bin/kubectl-sluice
	@echo "building bin/cni: the reference plugins and cnitool"
	@CGO_ENABLED=0 go build -C tools/cni -trimpath -ldflags '-s -w' -o $(CURDIR)/bin/cni/ tool

IMAGE ?= sluice:$(VERSION)
image: build ## the container image as bin/sluice-image.tar (IMAGE=sluice:VERSION), without pulling anything
	@go run ./deploy/image -tag '$(IMAGE)' -o bin/sluice-image.tar bin/sluice bin/sluice-cni

chart: ## the Helm chart with Istio's definitions as bin/chart/sluice and bin/sluice-chart.tgz
	@scripts/chart.sh '$(VERSION)'

demo: build ## walk through the whole story in namespaces of its own (no root needed)
	@bin/sluice demo

test: ## every test; as root it installs what they need
	@scripts/test.sh

RUNTIMES ?= 2.4.2,1.6.20
e2e-node: ## the node under load and faults, with real containerd (as root; RUNTIMES=2.4.2,1.6.20)
	@RUNTIMES='$(RUNTIMES)' scripts/e2e-node.sh

e2e: ## a real Kubernetes of one node: install by the chart, the page, the scenarios, and down again (as root)
	@scripts/e2e.sh

e2e-page: ## the short way to see it: Kubernetes up, sluice by its chart, the page with kubectl, down again (as root)
	@scripts/e2e.sh page

cluster: ## the same cluster with a shell in it; Ctrl-D takes it down (as root)
	@scripts/e2e.sh shell

e2e-kind: ## the same scenarios in a cluster of kind's, by Kustomize, without a registry (as root; KIND_NODE_IMAGE= pulls one)
	@KIND_NODE_IMAGE='$(KIND_NODE_IMAGE)' scripts/e2e-kind.sh

lint: ## gofmt, go vet and staticcheck
	@scripts/lint.sh

bench: ## benchmarks of the rules, the resources and the data path; the plugin against its bars
	@scripts/needs.sh nft iptables-nft-restore iptables-legacy-restore
	@status=0; \
	go test -run '^$$' -bench . -benchmem ./rules/... ./mesh/... ./proxy/... || status=1; \
	go test -run '^$$' -bench . -benchtime 30x ./cmd/sluice-cni || status=1; \
	$(MAKE) --no-print-directory bench-proxies || status=1; \
	exit $$status

BENCH_ARGS ?=
bench-proxies: ## the data path beside HAProxy and nginx (BENCH_ARGS="-jobs http"; -jobs help lists them)
	@scripts/needs.sh haproxy nginx nginx-stream h2load
	go run ./bench $(BENCH_ARGS)

SOAK_TIME ?= 20m
soak: ## the proxy at half of its load for SOAK_TIME (20m): servers die, its configuration changes
	go run ./soak -time $(SOAK_TIME)

FUZZTIME ?= 1m
fuzz: ## every fuzz target for FUZZTIME (1m) each
	@scripts/fuzz.sh $(FUZZTIME)

PAIRS ?= 20000
oracle: ## the long run of the rules' property test: PAIRS (20000) configs and flows
	@scripts/needs.sh iptables-nft-restore iptables-legacy-restore
	go test -count=1 -timeout 60m -run TestTheKernelDecidesAsDecideDoes -v ./rules/nft ./rules/iptables -args -pairs $(PAIRS)

clean: ## remove what was built
	rm -rf bin

.PHONY: help build image chart demo test e2e-node e2e e2e-page cluster e2e-kind lint bench bench-proxies soak fuzz oracle clean
