package demo

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
)

// printer writes the story: plain text, and color where it was asked for.
type printer struct {
	out   io.Writer
	color bool
}

type ink string

const (
	bold   ink = "1"
	faint  ink = "2"
	red    ink = "31"
	green  ink = "32"
	yellow ink = "33"
	cyan   ink = "36"
)

func (p printer) paint(i ink, s string) string {
	if !p.color {
		return s
	}
	return "\x1b[" + string(i) + "m" + s + "\x1b[0m"
}

func (p printer) introduction(w *world) {
	fmt.Fprintln(p.out, p.paint(bold, "sluice demo: control egress traffic"))
	fmt.Fprint(p.out, `
   pod sleep ─────────────────── node ─┬─ internet: `+hostHTTPBin+`, `+hostGoogle+`, `+hostDatabase+`, DNS
   curl ▸ redirect ▸ sluice proxy      └─ cluster:  `+strings.Join(serviceNames(), ", ")+`

Namespaces of this process stand for all of these; nothing reaches your network.
The commands are run by `+w.clientName()+`.
`)
}

func (p printer) before(n int, s step) {
	if s.section != "" {
		fmt.Fprintf(p.out, "\n%s\n", p.paint(bold, "── "+s.section+" ──"))
	}
	fmt.Fprintf(p.out, "\n%s %s\n", p.paint(bold, fmt.Sprintf("%2d.", n)), p.paint(bold, s.title))
	for _, note := range s.notes {
		p.field(faint, "", note)
	}
	if s.typed != "" {
		p.fields(cyan, string(s.where), strings.Split(strings.TrimRight(s.typed, "\n"), "\n"))
	}
	p.field(faint, "expected", s.expect)
}

func (p printer) after(s step, h happened) {
	mark, i := "✓", green
	if !h.asExpected {
		mark, i = "✗", red
	}
	p.fields(i, mark+" happened", h.lines)
}

// fields prints several lines behind one label.
func (p printer) fields(i ink, label string, lines []string) {
	for _, line := range lines {
		p.field(i, label, line)
		label = ""
	}
}

// labelWidth fits the longest label.
const labelWidth = len("x happened")

func (p printer) field(i ink, label, text string) {
	fmt.Fprintf(p.out, "  %*s  %s\n", labelWidth, label, p.paint(i, text))
}

// pause waits for the Enter key, or for the end of the input or of ctx.
func (p printer) pause(ctx context.Context, keys *bufio.Reader) {
	fmt.Fprintf(p.out, "  %*s  %s", labelWidth, "", p.paint(yellow, "[Enter] "))
	pressed := make(chan struct{})
	go func() { // ends with the input, at the latest with the process
		defer close(pressed)
		keys.ReadString('\n')
	}()
	select {
	case <-pressed:
	case <-ctx.Done():
	}
	fmt.Fprintln(p.out)
}
