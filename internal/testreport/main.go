// Command testreport reads `go test -json` and prints what a person wants of it:
// a line per package, the output of what failed and of nothing else, what was not
// run and why, and one closing count. It exits 1 when anything failed.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

func main() {
	r := newReport(os.Stdout)
	if err := r.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "error: read the test events:", err)
		os.Exit(1)
	}
	if !r.finish() {
		os.Exit(1)
	}
}

// event is one line of test2json.
type event struct {
	Action, Package, ImportPath, Test, Output string
	Elapsed                                   float64
}

type report struct {
	out                     io.Writer
	output                  map[[2]string][]string // by package and test, until it has ended
	passed, failed, skipped int
	notRun                  map[string]bool
	broken                  bool
}

func newReport(out io.Writer) *report {
	return &report{out: out, output: map[[2]string][]string{}, notRun: map[string]bool{}}
}

func (r *report) read(in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			fmt.Fprintln(r.out, lines.Text()) // go itself, not a test
			continue
		}
		r.event(e)
	}
	return lines.Err()
}

func (r *report) event(e event) {
	key := [2]string{e.Package, e.Test}
	switch e.Action {
	case "output":
		r.output[key] = append(r.output[key], e.Output)
		return
	case "build-output":
		fmt.Fprint(r.out, e.Output)
		return
	case "build-fail":
		r.broken = true
		return
	case "pass", "fail", "skip":
	default:
		return
	}
	if e.Test == "" {
		r.endPackage(e, r.output[key])
	} else {
		r.endTest(e, r.output[key])
	}
	delete(r.output, key)
}

func (r *report) endTest(e event, output []string) {
	switch e.Action {
	case "pass":
		r.passed++
	case "fail":
		r.failed++
		fmt.Fprintf(r.out, "\n%s in %s failed:\n%s\n", e.Test, e.Package, strings.Join(output, ""))
	case "skip":
		r.skipped++
		r.notRun[e.Test+": "+reason(output)] = true
	}
}

// reason is what a test said when it skipped itself.
func reason(output []string) string {
	for _, line := range output {
		if _, text, ok := strings.Cut(line, "not run: "); ok {
			return strings.TrimSpace(text)
		}
	}
	return "no reason given"
}

func (r *report) endPackage(e event, output []string) {
	switch e.Action {
	case "pass":
		fmt.Fprintf(r.out, "ok    %-55s %6.1f s\n", e.Package, e.Elapsed)
	case "fail":
		r.broken = true
		fmt.Fprintf(r.out, "FAIL  %-55s %6.1f s\n%s", e.Package, e.Elapsed, strings.Join(output, ""))
		for key, left := range r.output { // a test that never ended: a panic, a time-out
			if key[0] == e.Package && key[1] != "" {
				fmt.Fprintf(r.out, "\n%s did not end:\n%s\n", key[1], strings.Join(left, ""))
				delete(r.output, key)
			}
		}
	}
}

// finish prints what was not run and the count, and says whether all is well.
func (r *report) finish() bool {
	if len(r.notRun) > 0 {
		fmt.Fprintln(r.out, "\nnot run here:")
		lines := make([]string, 0, len(r.notRun))
		for line := range r.notRun {
			lines = append(lines, line)
		}
		slices.Sort(lines)
		for _, line := range lines {
			fmt.Fprintln(r.out, "  "+line)
		}
	}
	fmt.Fprintf(r.out, "\n%d passed, %d failed, %d skipped\n", r.passed, r.failed, r.skipped)
	return !r.broken && r.failed == 0
}
