package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// printTable prints one line per job: the contestants' medians, ours over
// HAProxy's, and what is asked for.
func printTable(w io.Writer, o options, rows []row) {
	fmt.Fprintf(w, "\n%d rounds of %v each, interleaved; %d threads each; medians; the ratio is sluice / HAProxy\n\n", o.rounds, o.time, o.threads)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "job\t\tsluice\tHAProxy\tnginx\tratio\tbar now\tgoal\t")
	for _, r := range rows {
		ratio := "-"
		if x := medianRatio(r.figures[0], r.figures[1]); x != 0 {
			ratio = fmt.Sprintf("%.2f", x)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%v\t%v\t%s\n", r.job.title, r.job.unit,
			figure(r, 0), figure(r, 1), figure(r, 2), ratio, r.job.now, r.job.goal, r.verdict())
	}
	t.Flush()
}

func figure(r row, i int) string {
	if len(r.figures[i]) == 0 {
		return "n/a"
	}
	return strings.TrimSuffix(fmt.Sprintf("%.3g", median(r.figures[i])), "e+00")
}

// verdict says which of the two bars the figure meets.
func (r row) verdict() string {
	if len(r.figures[0]) == 0 {
		return "not available"
	}
	switch {
	case r.meets(r.job.goal):
		return "goal"
	case r.meets(r.job.now):
		return "met"
	}
	return "MISSED"
}

func (r row) meets(b bar) bool {
	ours := median(r.figures[0])
	switch {
	case b.zero:
		return ours == 0
	case b.absolute > 0:
		return ours <= b.absolute
	case b.ratio > 0:
		x := medianRatio(r.figures[0], r.figures[1])
		return x != 0 && x <= b.ratio
	}
	return true
}
