package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// The longest texts that are printed, in characters.
const (
	maxCell = 160  // in a table's cell
	maxFact = 4000 // of a fact: several mistakes in several files fit
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
