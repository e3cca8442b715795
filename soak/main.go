// Command soak runs the shipped proxy for a long time at half of what saturates it,
// while its servers are killed, stopped and restarted, one of 30 000 resources changes
// every 100 ms, and certificates, authorities among them, change every 5 s. It fails when a request fails that no policy and no server's death
// explains, or when memory, goroutines or descriptors grow.
//
// It measures no speed; bench does. It touches nothing outside its namespaces.
//
//	go run ./soak -time 20m
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/sluice-cni/sluice/cmd/sluice/sluicetest"
	"github.com/sluice-cni/sluice/internal/lab"
)

// options are what the command line says.
type options struct {
	time  time.Duration
	limit float64
	seed  uint64
	keep  string
	crowd int
}

func main() {
	if args := os.Getenv(serverEnv); args != "" {
		exit(serve(args))
	}
	var o options
	flag.DurationVar(&o.time, "time", 20*time.Minute, "how long the load lasts; the trend of the second quarter to the last counts")
	flag.Float64Var(&o.limit, "limit", math.Inf(1), "the most requests per second, where that is less than half of saturation")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "of everything that is drawn: a run's own is printed")
	flag.IntVar(&o.crowd, "resources", 30_000, "how many resources there are that nobody asks for, a third of each kind")
	flag.StringVar(&o.keep, "log", "", "copy the proxy's log to this `FILE`, and the end of its access log beside it")
	flag.Parse()
	exit(run(o))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// run builds the program, enters namespaces of its own, soaks and judges.
func run(o options) error {
	if _, err := sluicetest.Build(); err != nil { // before Isolate, which has no network to fetch modules from
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
	w, err := openWorld(o)
	if err != nil {
		return err
	}
	err = w.soak(ctx)
	return errors.Join(err, w.close())
}
