package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// measureAlone takes the figures that have no second contestant.
func measureAlone(ctx context.Context, o options, dir string) ([]row, error) {
	var rows []row
	if o.only != "" && o.only != "sluice" {
		return nil, nil
	}
	if selected(o, "many-hosts") && ctx.Err() == nil {
		r, err := manyHosts(ctx, o, dir)
		if err != nil {
			return rows, err
		}
		rows = append(rows, r)
	}
	if selected(o, "allocs") && ctx.Err() == nil {
		n, err := allocations()
		if err != nil {
			return rows, err
		}
		rows = append(rows, row{job: job{name: "allocs", title: "allocations per forwarded request", unit: "allocs", now: bar{zero: true}, goal: bar{zero: true}},
			figures: [3][]float64{{n}}})
	}
	return rows, nil
}

// manyHosts compares the proxy that knows ten thousand hosts with one that knows one.
func manyHosts(ctx context.Context, o options, dir string) (row, error) {
	r := row{job: job{name: "many-hosts", title: "10 000 registered hosts, against one", unit: "×", now: bar{absolute: 1.05}, goal: bar{absolute: 1}}}
	fmt.Fprintf(os.Stderr, "measuring %s\n", r.job.title)
	one, err := openStage(o, sluice{}, httpScene, filepath.Join(dir, "alone"))
	if err != nil {
		return r, err
	}
	defer one.close()
	many, err := openStage(o, sluice{}, manyHostsScene, filepath.Join(dir, "alone"))
	if err != nil {
		return r, err
	}
	defer many.close()
	measure := cpuPerRequest(32)
	for range o.rounds + 2 {
		a, err := measure(o, one)
		if err != nil {
			return r, err
		}
		b, err := measure(o, many)
		if err != nil {
			return r, err
		}
		r.figures[0] = append(r.figures[0], b/a)
	}
	return r, ctx.Err()
}

// proxyTestEnv carries the test binary's path into the isolated copy of this program.
const proxyTestEnv = "SLUICE_BENCH_PROXY_TEST"

// buildProxyTest compiles the proxy's benchmarks; buildPrograms calls it.
func buildProxyTest() error {
	if os.Getenv(proxyTestEnv) != "" {
		return nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	file := filepath.Join(cache, "sluice", "test", "proxy.test")
	if out, err := exec.Command("go", "test", "-c", "-o", file, "github.com/sluice-cni/sluice/proxy").CombinedOutput(); err != nil {
		return fmt.Errorf("build the proxy's benchmarks: %w\n%s", err, out)
	}
	return os.Setenv(proxyTestEnv, file)
}

var allocsPerOp = regexp.MustCompile(`(\d+) allocs/op`)

// allocations are the most that any of the keep-alive benchmarks makes per request.
func allocations() (float64, error) {
	fmt.Fprintln(os.Stderr, "measuring allocations per forwarded request")
	cmd := exec.Command(os.Getenv(proxyTestEnv), "-test.run", "^$", "-test.bench", "HTTPKeepAlive", "-test.benchtime", "5000x")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("run the proxy's benchmarks: %w\n%s", err, out)
	}
	most, found := 0, false
	for _, m := range allocsPerOp.FindAllStringSubmatch(string(out), -1) {
		n, _ := strconv.Atoi(m[1])
		most, found = max(most, n), true
	}
	if !found {
		return 0, fmt.Errorf("the proxy's benchmarks say nothing of allocations:\n%s", strings.TrimSpace(string(out)))
	}
	return float64(most), nil
}
