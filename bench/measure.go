package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
)

// players in the order of the table's columns; ratios are taken to the second.
var players = []player{sluice{}, haproxy{}, nginx{}}

// A row is a job's figures: for each player what each round brought.
type row struct {
	job     job
	figures [3][]float64
}

// measure runs the selected jobs, scene by scene: all contestants of a scene are up
// at once, and take turns.
func measure(ctx context.Context, o options, dir string) ([]row, error) {
	var rows []row
	all := jobs()
	for len(all) > 0 && ctx.Err() == nil {
		scene := all[0].scene
		var group []job
		for len(all) > 0 && all[0].scene == scene {
			if selected(o, all[0].name) {
				group = append(group, all[0])
			}
			all = all[1:]
		}
		if len(group) == 0 {
			continue
		}
		more, err := measureScene(ctx, o, scene, group, dir)
		rows = append(rows, more...)
		if err != nil {
			return rows, err
		}
	}
	extra, err := measureAlone(ctx, o, dir)
	return append(rows, extra...), errors.Join(err, ctx.Err())
}

func measureScene(ctx context.Context, o options, scene scene, group []job, dir string) ([]row, error) {
	var stages [3]*stage
	for i, p := range players {
		if o.only != "" && o.only != p.name() {
			continue
		}
		s, err := openStage(o, p, scene, dir)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s cannot take part in %s: %v\n", p.name(), scene, err)
			continue
		}
		defer s.close()
		if s.program != nil {
			stages[i] = s
		}
	}
	var rows []row
	for _, j := range group {
		r, err := measureJob(ctx, o, j, stages)
		rows = append(rows, r)
		if err != nil {
			return rows, err
		}
	}
	return rows, nil
}

// measureJob lets the contestants take turns.
func measureJob(ctx context.Context, o options, j job, stages [3]*stage) (row, error) {
	fmt.Fprintf(os.Stderr, "measuring %s\n", j.title)
	r := row{job: j}
	if j.name == "http-p99" {
		if err := setRate(o, stages); err != nil {
			return r, err
		}
	}
	var failed [3]bool
	for range o.rounds {
		for i, s := range stages {
			if s == nil || failed[i] || ctx.Err() != nil {
				continue
			}
			figure, err := j.measure(o, s)
			switch {
			case errors.Is(err, errOnce):
			case err != nil:
				failed[i] = true
				fmt.Fprintf(os.Stderr, "%s fails at %s: %v\n", players[i].name(), j.title, err)
			default:
				r.figures[i] = append(r.figures[i], figure)
			}
		}
	}
	return r, ctx.Err()
}

// setRate gives all contestants half of the rate that saturates HAProxy.
func setRate(o options, stages [3]*stage) error {
	reference := stages[1]
	if reference == nil {
		reference = stages[slices.IndexFunc(stages[:], func(s *stage) bool { return s != nil })]
	}
	out, _, err := reference.watch(load{Kind: "http", Address: target(httpPort), Conns: 64, Time: o.time})
	if err != nil {
		return err
	}
	rate := float64(out.Done) / out.Elapsed.Seconds() / 2
	fmt.Fprintf(os.Stderr, "  at %.0f requests per second\n", rate)
	for _, s := range stages {
		if s != nil {
			s.rate = rate
		}
	}
	return nil
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// medianRatio compares round with round, so that what changes on the machine
// meanwhile falls on both sides.
func medianRatio(ours, theirs []float64) float64 {
	var all []float64
	for i := range min(len(ours), len(theirs)) {
		all = append(all, ours[i]/theirs[i])
	}
	return median(all)
}
