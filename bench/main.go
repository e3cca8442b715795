// Command bench measures the proxy's data path side by side with HAProxy and
// nginx: the same job, client, server and rules for each, interleaved in one run.
//
// Each contestant lives in a network namespace of its own, where real rules
// redirect the client's connections to it; a server runs beside it. What a
// request costs is read from the contestant's own processor clock, so that a busy
// client or machine does not count. It touches nothing outside its namespaces.
//
//	go run ./bench                     # the whole table
//	go run ./bench -jobs http -rounds 5
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/sluice-cni/sluice/cmd/sluice/sluicetest"
	"github.com/sluice-cni/sluice/internal/lab"
)

// options are what the command line says.
type options struct {
	jobs    string
	rounds  int
	time    time.Duration
	threads int
	profile string
	only    string
}

func main() {
	if role := os.Getenv(roleEnv); role != "" {
		exit(play(role, os.Args[1:]))
	}
	var o options
	flag.StringVar(&o.jobs, "jobs", "", "only jobs whose name begins with one of these, separated by commas; list them with -jobs help")
	flag.IntVar(&o.rounds, "rounds", 3, "how often each contestant is measured; medians are compared")
	flag.DurationVar(&o.time, "time", 1500*time.Millisecond, "length of one measurement")
	flag.IntVar(&o.threads, "threads", 2, "threads of each contestant (GOMAXPROCS, nbthread, worker_processes)")
	flag.StringVar(&o.profile, "profile", "", "write sluice's CPU profile to this `FILE`; the proxy then runs inside this program")
	flag.StringVar(&o.only, "only", "", "only this contestant: sluice, haproxy or nginx")
	flag.Parse()
	if o.jobs == "help" {
		for _, j := range jobs() {
			fmt.Printf("  %-14s %s\n", j.name, j.title)
		}
		return
	}
	exit(run(o))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run(o options) error {
	if err := buildPrograms(o); err != nil { // before Isolate, which has no network to fetch modules from
		return err
	}
	inside, code, err := lab.Isolate()
	if err != nil {
		return err
	}
	if !inside {
		os.Exit(code)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("/run", "sluice-bench-")
	if err != nil {
		return err
	}
	rows, err := measure(ctx, o, dir)
	printTable(os.Stdout, o, rows)
	return err
}

// buildPrograms makes the proxy, and the test binary that counts allocations when
// that job is asked for.
func buildPrograms(o options) error {
	if _, err := sluicetest.Build(); err != nil {
		return err
	}
	if !selected(o, "allocs") {
		return nil
	}
	return buildProxyTest()
}

// selected says whether a job of that name is to run.
func selected(o options, name string) bool {
	if o.jobs == "" {
		return true
	}
	for _, prefix := range strings.Split(o.jobs, ",") {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
