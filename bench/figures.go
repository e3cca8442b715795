package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// lastCPU is where servers stay; clients stay on the first. -1 where that is one.
func lastCPU() int {
	if n := runtime.NumCPU(); n > 1 {
		return n - 1
	}
	return -1
}

func firstCPU() int {
	if runtime.NumCPU() > 1 {
		return 0
	}
	return -1
}

// watch runs a client against the stage and returns its outcome, and the
// processor time that the contestant used meanwhile.
func (s *stage) watch(l load) (outcome, time.Duration, error) {
	l.CA = s.ports.CA
	a, err := startActor(s.pod, "client", firstCPU(), l)
	if err != nil {
		return outcome{}, 0, err
	}
	defer a.end()
	var o outcome
	if err := a.hear(&o); err != nil {
		return o, 0, s.explain(err)
	}
	before, err := processorTime(s.clocks)
	if err = errors.Join(err, a.tell()); err != nil {
		return o, 0, err
	}
	if err := a.hear(&o); err != nil {
		return o, 0, s.explain(err)
	}
	after, err := processorTime(s.clocks)
	if err == nil && o.Done == 0 {
		err = errors.New("nothing was done")
	}
	return o, after - before, err
}

func (s *stage) explain(err error) error {
	text, _ := os.ReadFile(s.dir + "/log")
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return fmt.Errorf("%s: %w; its log ends:\n%s", s.player.name(), err, strings.Join(lines[max(0, len(lines)-5):], "\n"))
}

func cpuPerRequest(conns int) func(options, *stage) (float64, error) {
	return func(o options, s *stage) (float64, error) {
		out, used, err := s.watch(load{Kind: "http", Address: target(httpPort), Conns: conns, Time: o.time})
		return micro(used) / float64(out.Done), err
	}
}

func micro(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

func cpuPerConnection(o options, s *stage) (float64, error) {
	out, used, err := s.watch(load{Kind: "connections", Address: target(s.scene.port()), TLS: s.scene == tlsScene, Conns: 8, Time: o.time})
	return micro(used) / float64(out.Done), err
}

func cpuPerGB(o options, s *stage) (float64, error) {
	out, used, err := s.watch(load{Kind: "bytes", Address: target(s.scene.port()), TLS: s.scene == tlsScene, Conns: 4, Time: o.time})
	return micro(used) / 1e3 / (float64(out.Done) / 1e9), err
}

// addedP99 is what the contestant adds to the p99 of a direct connection, at the
// rate the whole row uses.
func addedP99(o options, s *stage) (float64, error) {
	l := load{Kind: "http", Conns: 64, Rate: s.rate, Time: 2 * o.time}
	l.Address = fmt.Sprintf("127.0.0.1:%d", s.ports.HTTP)
	direct, _, err := s.watch(l)
	if err != nil {
		return 0, err
	}
	l.Address = target(httpPort)
	through, _, err := s.watch(l)
	return micro(through.P99) - micro(direct.P99), err
}

// The number of connections that idleMemory opens, and how long the process gets
// to give back what it used for that.
const (
	idleConnections = 5000
	settleTime      = 2 * time.Second
)

// idleMemory is how much the process has grown when so many connections have
// made one exchange each and are idle.
func idleMemory(o options, s *stage) (float64, error) {
	l := load{Kind: "idle", Address: target(s.scene.port()), TLS: s.scene == tlsScene, Conns: 100, CA: s.ports.CA}
	grown := func() (int64, error) {
		before, err := residentMemory(s.clocks)
		if err != nil {
			return 0, err
		}
		a, err := startActor(s.pod, "client", firstCPU(), l)
		if err != nil {
			return 0, err
		}
		defer a.end()
		var ready outcome
		if err := a.hear(&ready); err != nil {
			return 0, s.explain(err)
		}
		time.Sleep(settleTime)
		after, err := residentMemory(s.clocks)
		return after - before, err
	}
	if s.warm {
		return 0, errOnce
	}
	s.warm = true
	if _, err := grown(); err != nil { // warm
		return 0, err
	}
	l.Conns = idleConnections
	bytes, err := grown()
	return float64(bytes) / idleConnections / 1024, err
}

// errOnce says that a figure is to be had once per process only: memory that
// was freed is used again.
var errOnce = errors.New("measured once")
