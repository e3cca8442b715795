package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/internal/rest"
)

// replica is one server of a service: a process that is killed and started again
// at the same address.
type replica struct {
	service service
	name    string
	address netip.Addr
	leaf    string
	in      *lab.Namespace

	cmd   *exec.Cmd
	stdin io.WriteCloser

	mu     sync.Mutex
	deaths []span // the last of them
}

// span is a stretch of time.
type span struct{ from, to time.Time }

func (s span) meets(from, to time.Time) bool { return !s.to.Before(from) && !s.from.After(to) }

// keptDeaths is more than any request that is still to be judged can have met.
const keptDeaths = 64

// start starts the process and waits until it listens.
func (r *replica) start() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	args, err := json.Marshal(serverArgs{Name: r.name, Address: r.address.String(), Leaf: r.leaf, Clients: clientRootsFile(filepath.Dir(r.leaf))})
	if err != nil {
		return err
	}
	r.cmd = exec.Command(self)
	r.cmd.Env = append(os.Environ(), serverEnv+"="+string(args))
	r.cmd.Stderr = os.Stderr
	if r.stdin, err = r.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := r.in.Start(r.cmd); err != nil {
		return err
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		r.cmd.Process.Kill()
		r.cmd.Wait()
		return fmt.Errorf("server %s said %q and ended: %w", r.name, line, err)
	}
	return nil
}

// kill ends the process as a crash would. Its connections end somewhere between
// the signal and the process's last moment: that span is kept.
func (r *replica) kill() {
	from := time.Now()
	r.mu.Lock()
	r.deaths = append(r.deaths[max(0, len(r.deaths)-keptDeaths):], span{from, from.Add(time.Hour)})
	r.mu.Unlock()
	r.cmd.Process.Kill()
	r.cmd.Wait()
	r.mu.Lock()
	r.deaths[len(r.deaths)-1].to = time.Now()
	r.mu.Unlock()
	r.stdin.Close()
}

// died says whether the server was dying at some time within.
func (r *replica) died(from, to time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range r.deaths {
		if d.meets(from, to) {
			return true
		}
	}
	return false
}

// lastDeath says how long before t the last one had ended.
func (r *replica) lastDeath(t time.Time) string {
	born := r.bornBefore(t)
	if born.IsZero() {
		return "it had not died before"
	}
	return fmt.Sprintf("its last death was over %v before", t.Sub(born).Round(10*time.Microsecond))
}

// bornBefore is when the process that served at t had taken its place, the zero
// time for the first.
func (r *replica) bornBefore(t time.Time) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	var born time.Time
	for _, d := range r.deaths {
		if d.to.Before(t) {
			born = d.to
		}
	}
	return born
}

// fleet is every server.
type fleet struct {
	groups [][]*replica // by service
}

func startFleet(in *lab.Namespace, dir string) (*fleet, error) {
	f := &fleet{}
	for i, s := range services {
		var group []*replica
		for n := range s.replicas {
			r := &replica{service: s, name: fmt.Sprintf("%s %d", s.name, n), address: address(i, n), leaf: leafFile(dir), in: in}
			if err := r.start(); err != nil {
				f.groups = append(f.groups, group)
				f.end()
				return nil, err
			}
			group = append(group, r)
		}
		f.groups = append(f.groups, group)
	}
	return f, nil
}

func (f *fleet) end() {
	for _, group := range f.groups {
		for _, r := range group {
			r.kill()
		}
	}
}

// at is the server with an address, nil for none.
func (f *fleet) at(a netip.Addr) *replica {
	for _, group := range f.groups {
		for _, r := range group {
			if r.address == a {
				return r
			}
		}
	}
	return nil
}

// The pace of what happens to servers.
const (
	killEvery = time.Second
	stopEvery = 3 * time.Second
	downFor   = 500 * time.Millisecond // at most, and as long as the start takes
	stopFor   = 300 * time.Millisecond // at most
)

// apart is how many services are spared after one of them had its turn: a request
// that met a dying server must find the others of its service alive, for as long as
// it may take on a busy machine.
const apart = 4

// turns draws a service after the other, none again before others had their turn.
func (f *fleet) turns(d *draws) func() []*replica {
	var spared []int
	return func() []*replica {
		i := d.below(len(f.groups))
		for slices.Contains(spared, i) {
			i = d.below(len(f.groups))
		}
		if spared = append(spared, i); len(spared) > apart {
			spared = spared[1:]
		}
		return f.groups[i]
	}
}

// torment kills and stops servers until ctx ends, one server at a time: the others
// of its service can always serve.
func (f *fleet) torment(ctx context.Context, d *draws, t *tally) error {
	tick := time.NewTicker(killEvery)
	defer tick.Stop()
	next := f.turns(d)
	for stopped := time.Now(); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		group := next()
		r := group[d.below(len(group))]
		r.kill()
		t.kills.Add(1)
		rest.For(ctx, d.upTo(downFor))
		if err := r.start(); err != nil {
			return errors.Join(fmt.Errorf("start a killed server again: %w", err), ctx.Err())
		}
		if time.Since(stopped) < stopEvery {
			continue
		}
		stopped = time.Now()
		group = next()
		r = group[d.below(len(group))]
		r.cmd.Process.Signal(syscall.SIGSTOP)
		rest.For(ctx, d.upTo(stopFor))
		r.cmd.Process.Signal(syscall.SIGCONT)
		t.stops.Add(1)
	}
}
