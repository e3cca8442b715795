// Package demo tells the story of "Control Egress Traffic" on this machine: a
// pod, a cluster and an internet made of network namespaces, the real CNI chain,
// the real proxy, and the page's commands in the page's order, each with what was
// expected and what happened.
//
// It must run inside lab.Isolate: it mounts, routes and programs as it likes,
// and all of that ends with the process.
package demo

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"time"
)

// Options are how to run the demo.
type Options struct {
	Out io.Writer
	// In is read for a line before each step when Step is set.
	In   io.Reader
	Step bool
	// Color marks the verdicts for a terminal.
	Color bool
	// Sluice is the sluice executable; PluginDirs hold sluice-cni, ptp and host-local.
	Sluice     string
	PluginDirs []string
}

// Result counts what happened.
type Result struct {
	Steps, Different int
	Took             time.Duration
}

// Run plays every step. The error says why the demo could not be played to its
// end; steps that differ from what was expected are counted, not errors.
func Run(ctx context.Context, o Options) (Result, error) {
	if err := o.check(); err != nil {
		return Result{}, err
	}
	began := time.Now()
	w, err := newWorld(ctx, o)
	if err != nil {
		return Result{}, err
	}
	defer w.close()
	p := printer{out: o.Out, color: o.Color}
	var r Result
	keys := bufio.NewReader(o.In)
	p.introduction(w)
	for _, s := range w.story() {
		if ctx.Err() != nil {
			return r, context.Cause(ctx)
		}
		r.Steps++
		p.before(r.Steps, s)
		if o.Step {
			p.pause(ctx, keys)
		}
		h := s.do(ctx)
		if ctx.Err() != nil {
			return r, context.Cause(ctx)
		}
		if !h.asExpected {
			r.Different++
			h.lines = append(h.lines, w.proxySays()...)
		}
		p.after(s, h)
		if h.fatal {
			return r, fmt.Errorf("step %d cannot be played, and the rest needs it", r.Steps)
		}
	}
	r.Took = time.Since(began)
	return r, w.failure()
}

// step is one thing that is typed, or done in the place of Kubernetes.
type step struct {
	section string // the page's heading, where one starts
	title   string
	where   place
	typed   string // "" when nothing is typed
	notes   []string
	expect  string
	do      func(ctx context.Context) happened
}

// place is where a command is typed.
type place string

const (
	onNode place = "$"
	inPod  place = "pod$"
)

// happened is what a step did.
type happened struct {
	asExpected bool
	lines      []string
	// fatal means that later steps make no sense.
	fatal bool
}

func as(ok bool, lines ...string) happened { return happened{asExpected: ok, lines: lines} }

func broken(err error) happened {
	return happened{lines: []string{"failed: " + err.Error()}, fatal: true}
}
