package main

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"github.com/sluice-cni/sluice/cidr/discover"
	"github.com/sluice-cni/sluice/rules"
)

// printRanges prints what was found, or only the ranges in a form to paste.
func printRanges(w io.Writer, output string, found, used discover.Findings) error {
	list := used.Ranges().String()
	switch output {
	case "list":
		_, err := fmt.Fprintln(w, list)
		return err
	case "annotation":
		_, err := fmt.Fprintf(w, "%s: %q\n", rangesField().Annotation, list)
		return err
	case "conf":
		return writeJSON(w, map[string][]string{rangesField().Name: strings.Split(list, ",")})
	case "json":
		return writeJSON(w, rangesReport(found, used))
	}
	return printTable(w, found, used)
}

func printTable(w io.Writer, found, used discover.Findings) error {
	rows := [][]string{{"RANGE", "OF", "FOUND IN", "AT"}}
	for _, f := range found {
		rows = append(rows, []string{f.Prefix.String(), string(f.Kind), f.Form, f.Source.String()})
	}
	if err := longTable(w, rows); err != nil {
		return err
	}
	fmt.Fprintf(w, "%s: %s\n", rangesField().Name, used.Ranges())
	for _, j := range used.Joins() {
		fmt.Fprintf(w, "  %s is %s merged\n", j.Range, strings.Join(prefixTexts(j.Of), " and "))
	}
	if left := len(found) - len(used); left > 0 {
		fmt.Fprintf(w, "  without %s of other kinds; --kinds includes them\n", count(left, "range"))
	}
	return nil
}

func prefixTexts(prefixes []netip.Prefix) []string {
	var out []string
	for _, p := range prefixes {
		out = append(out, p.String())
	}
	return out
}

// rangesField is the field that the ranges are for.
func rangesField() rules.Field {
	fields := rules.Fields()
	return fields[slices.IndexFunc(fields, func(f rules.Field) bool { return f.Name == "includeIPRanges" })]
}

type foundJSON struct {
	Range    string `json:"range"`
	Written  string `json:"written"`
	Kind     string `json:"kind"`
	Form     string `json:"form"`
	Source   string `json:"source"`
	File     string `json:"file"`
	Line     int    `json:"line,omitempty"`
	Object   string `json:"object,omitempty"`
	Path     string `json:"path,omitempty"`
	Notice   string `json:"notice,omitempty"`
	Included bool   `json:"included"`
}

type mergedJSON struct {
	Range string   `json:"range"`
	Of    []string `json:"of"`
}

type reportJSON struct {
	IncludeIPRanges []string     `json:"includeIPRanges"`
	Found           []foundJSON  `json:"found"`
	Merged          []mergedJSON `json:"merged"`
}

func rangesReport(found, used discover.Findings) reportJSON {
	out := reportJSON{IncludeIPRanges: strings.Split(used.Ranges().String(), ","), Merged: []mergedJSON{}}
	for _, f := range found {
		out.Found = append(out.Found, foundJSON{
			f.Prefix.String(), f.Written, string(f.Kind), f.Form, f.Source.String(),
			f.Source.File, f.Source.Line, f.Source.Object, f.Source.Path, f.Notice, slices.Contains(used, f),
		})
	}
	for _, j := range used.Joins() {
		out.Merged = append(out.Merged, mergedJSON{j.Range.String(), prefixTexts(j.Of)})
	}
	return out
}
