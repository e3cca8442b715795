package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// progress is a line a minute.
func (w *world) progress(out io.Writer, after time.Duration) {
	w.judge.mu.Lock()
	defer w.judge.mu.Unlock()
	var all score
	for _, s := range w.judge.scores {
		all.right, all.refused, all.lost, all.failed = all.right+s.right, all.refused+s.refused, all.lost+s.lost, all.failed+s.failed
	}
	fmt.Fprintf(out, "%6s  right %d, refused as ordered %d, lost with their server %d, failed %d\n", after, all.right, all.refused, all.lost, all.failed)
}

// report prints what happened and returns an error that names each criterion missed.
func (w *world) report(out io.Writer) error {
	j := w.judge
	j.mu.Lock()
	defer j.mu.Unlock()
	fmt.Fprintf(out, "\n%v at %.0f requests per second (saturation %.0f), seed %d\n\n", w.lasted.Round(time.Second), w.rate, w.saturated, w.options.seed)
	fmt.Fprintf(out, "| service | right | refused as ordered | lost with their server | failed |\n|---|---|---|---|---|\n")
	failed, total := len(j.suspects), 0
	for _, s := range append(services[:len(services):len(services)], stranger) {
		x := j.scores[s.name]
		failed, total = failed+x.failed, total+x.right+x.refused+x.lost+x.failed
		fmt.Fprintf(out, "| %s | %d | %d | %d | %d |\n", s.name, x.right, x.refused, x.lost, x.failed)
	}
	t := &w.tally
	fmt.Fprintf(out, "\n%d requests, p50 %v, p99 %v, slowest %v; %d messages on long streams; %d not sent for want of a free client\n", total,
		round(j.latency.quantile(0.5)), round(j.latency.quantile(0.99)), round(j.latency.most), t.messages.Load(), t.unsent.Load())
	fmt.Fprintf(out, "%d changes of the configuration (one per %v), %d of certificates, %d servers killed, %d stopped for a while; access log opened anew %d times, %d lines; slowest change in force after %v\n\n",
		t.changes.Load(), round(w.lasted/time.Duration(max(1, t.changes.Load()))), t.rotations.Load(), t.kills.Load(), t.stops.Load(), w.access.rotated, w.access.count, round(w.changer.flapping.slowest))
	var missed []error
	for _, line := range j.failures {
		fmt.Fprintln(out, "failed:", line)
	}
	if failed > 0 {
		missed = append(missed, fmt.Errorf("%d requests failed that neither policy ordered nor their server's death explains", failed))
	}
	missed = append(missed, w.reportCourse(out)...)
	complaints, err := w.proxy.complaints()
	if len(complaints) > 0 {
		missed = append(missed, fmt.Errorf("the proxy complained %d times:\n%s", len(complaints), strings.Join(complaints[:min(len(complaints), 10)], "\n")))
	}
	return errors.Join(append(missed, err)...)
}

// reportCourse prints what the proxy held over time.
func (w *world) reportCourse(out io.Writer) (missed []error) {
	fmt.Fprintf(out, "| held, mean of a quarter | first | second | third | last | peak | trend per hour |\n|---|---|---|---|---|---|---|\n")
	for i, q := range quantities {
		g := course(w.sampler.samples, i)
		if g.quarters[1] == 0 {
			missed = append(missed, fmt.Errorf("%s: was not measured", q.name))
			continue
		}
		fmt.Fprintf(out, "| %s %s |", q.name, q.label)
		for _, mean := range g.quarters {
			fmt.Fprintf(out, " %.1f |", mean/q.unit)
		}
		fmt.Fprintf(out, " %.1f | %+.1f |\n", g.peak/q.unit, g.perHour/q.unit)
		if g.grew(q.noise) {
			missed = append(missed, fmt.Errorf("%s grew: %.1f %s in the second quarter, %.1f in the last", q.name, g.quarters[1]/q.unit, q.label, g.quarters[3]/q.unit))
		}
	}
	return missed
}

func round(d time.Duration) time.Duration {
	if d > time.Second {
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(100 * time.Microsecond)
}
