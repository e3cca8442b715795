package main

import (
	"fmt"
	"slices"
	"time"
)

// load is what a client does. It says {"Ready":true} when its connections are open
// and warm, waits to be told, works for Time, and says what came of it.
type load struct {
	Kind    string // http, connections, bytes or idle
	Address string
	TLS     bool // the client speaks TLS to the server, through the proxy
	CA      string
	Conns   int
	Rate    float64 // requests per second whatever the answers do; 0: as fast as they come
	Time    time.Duration
}

// outcome is what a client did while it was watched.
type outcome struct {
	Ready    bool
	Done     int // requests, connections or bytes
	Elapsed  time.Duration
	P50, P99 time.Duration
}

func (l load) run() error {
	switch l.Kind {
	case "http":
		return l.http()
	case "connections":
		return l.connections()
	case "bytes":
		return l.bytes()
	case "idle":
		return l.idle()
	}
	return fmt.Errorf("load %q: no such kind", l.Kind)
}

// ready announces that the measurement may begin, and waits for its beginning.
func ready() error {
	if err := say(outcome{Ready: true}); err != nil {
		return err
	}
	waitForTell()
	return nil
}

// report sorts the latencies and says the outcome.
func report(done int, elapsed time.Duration, latencies []time.Duration) error {
	o := outcome{Done: done, Elapsed: elapsed}
	if n := len(latencies); n > 0 {
		slices.Sort(latencies)
		o.P50, o.P99 = latencies[n/2], latencies[n*99/100]
	}
	if err := say(o); err != nil {
		return err
	}
	waitForTell() // what is still open stays open until the clocks are read
	return nil
}
