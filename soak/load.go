package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// load is the clients: requests by the clock, whatever becomes of the earlier ones.
type load struct {
	judge    *judge
	draws    *draws
	flapping *registration
	roots    *tls.Config
	web2     []*web2Client
	number   atomic.Int64
	due      chan time.Time
}

const (
	workers      = 64
	backlog      = 4000 // requests that are due and wait for a worker
	measureFor   = 4 * time.Second
	answerWithin = 60 * time.Second
	pourEvery    = 5 * time.Millisecond
)

// operation is a kind of request, with its share of all.
type operation struct {
	share int
	run   func(*worker, time.Time)
}

func web(share int, s service, method, path string, body int) operation {
	return operation{share, func(w *worker, due time.Time) { w.web(s, method, path, body, due) }}
}

func web2(share int, s service, method, path string, body int) operation {
	return operation{share, func(w *worker, due time.Time) { w.web2(s, method, path, body, due) }}
}

// operations are the mix.
var operations = []operation{
	web(24, static, "GET", "/small", 0),
	web(3, static, "GET", "/slow", 0),
	web(3, static, "GET", "/large", 0),
	web(3, static, "GET", "/chunks", 0),
	web(5, static, "POST", "/echo", 200),
	web(2, static, "POST", "/echo", 90_000),
	web(14, byName, "GET", "/small", 0),
	web(2, byName, "POST", "/echo", 2_000),
	web(12, origin, "GET", "/small", 0),
	web(2, origin, "GET", "/large", 0),
	web(2, origin, "POST", "/echo", 20_000),
	web2(10, second, "GET", "/small", 0),
	web2(2, second, "GET", "/large", 0),
	web2(2, second, "GET", "/slow", 0),
	web2(2, second, "POST", "/echo", 20_000),
	web2(2, byName, "GET", "/small", 0), // to HTTP/1.1
	web2(2, stranger, "GET", "/small", 0),
	web(8, flap, "GET", "/small", 0),
	web(4, stranger, "GET", "/small", 0),
	{6, (*worker).lines},
	{4, (*worker).sealed},
	{1, (*worker).strangeLines},
	{1, (*worker).strangeSealed},
}

// worker is one client: it keeps a connection for HTTP from request to request.
type worker struct {
	load *load
	conn *webConn
}

func (l *load) draw() operation {
	total := 0
	for _, o := range operations {
		total += o.share
	}
	n := l.draws.below(total)
	for _, o := range operations {
		if n -= o.share; n < 0 {
			return o
		}
	}
	return operations[0]
}

// id names a request in its header and in the access log.
func (l *load) id() string { return fmt.Sprintf("soak-%d", l.number.Add(1)) }

// saturation is how many requests per second are answered when every worker sends
// the next as soon as it has the last one's answer.
func (l *load) saturation(ctx context.Context) float64 {
	begun := time.Now()
	var done atomic.Int64
	var all sync.WaitGroup
	for range workers / 2 {
		all.Go(func() {
			w := &worker{load: l}
			defer w.close()
			for time.Since(begun) < measureFor && ctx.Err() == nil {
				l.draw().run(w, time.Now())
				done.Add(1)
			}
		})
	}
	all.Wait()
	return float64(done.Load()) / time.Since(begun).Seconds()
}

// pour makes requests due at a rate until ctx ends, then waits until the last is
// answered. Latency counts from when a request was due.
func (l *load) pour(ctx context.Context, rate float64, t *tally) {
	l.due = make(chan time.Time, backlog)
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			w := &worker{load: l}
			defer w.close()
			for due := range l.due {
				l.draw().run(w, due)
			}
		})
	}
	tick := time.NewTicker(pourEvery)
	defer tick.Stop()
	begun, sent := time.Now(), 0
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case now := <-tick.C:
			for ; float64(sent) < rate*now.Sub(begun).Seconds(); sent++ {
				select {
				case l.due <- begun.Add(time.Duration(float64(sent) / rate * float64(time.Second))):
				default:
					t.unsent.Add(1) // nobody is free: the machine's fault or the proxy's; the report says how many
				}
			}
		}
	}
	close(l.due)
	all.Wait()
}
