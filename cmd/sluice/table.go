package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf8"
)

// table writes rows of equal length; the first is the header.
func table(w io.Writer, rows [][]string) error { return tableUpTo(w, rows, maxCell) }

// longTable is table where what a cell has is not said elsewhere.
func longTable(w io.Writer, rows [][]string) error { return tableUpTo(w, rows, maxFact) }

func tableUpTo(w io.Writer, rows [][]string, most int) error {
	t := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
	for _, row := range rows {
		for i := range row {
			row[i] = cmp.Or(printableUpTo(row[i], most), "-")
		}
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	return t.Flush()
}

// maxFact is the longest of them, in characters: several mistakes in several files fit.
const maxFact = 4000

// facts writes names and values below each other; those without a value are left out.
func facts(w io.Writer, pairs ...[2]string) error {
	t := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
	for _, p := range pairs {
		if p[1] != "" {
			fmt.Fprintf(t, "%s\t%s\n", p[0], printableUpTo(p[1], maxFact))
		}
	}
	return t.Flush()
}

// maxCell is the longest text in a table's cell, in characters.
const maxCell = 160

// printable is a text that somebody else may have written, safe for a terminal and a
// table: no control characters, nothing invisible, not too long.
func printable(s string) string { return printableUpTo(s, maxCell) }

func printableUpTo(s string, most int) string {
	var b strings.Builder
	n := 0
	for i, r := range s {
		if n++; n > most {
			b.WriteString("…")
			break
		}
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == ' ' || unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}
