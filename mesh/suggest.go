package mesh

import (
	"fmt"
	"slices"
	"strings"
)

// suggest says what was probably meant by a field that is not known: one of the
// names that could stand there, else the place where the field does belong, else
// all the names.
func suggest(kind, path, written string, names []string) string {
	if name := nearest(written, names); name != "" {
		return fmt.Sprintf("did you mean %q?", name)
	}
	if place := belongs(kind, path, written); place != "" {
		return "did you mean " + place + "?"
	}
	return "there are " + strings.Join(names, ", ")
}

// metadataFields are the fields of metadata that sluice reads.
var metadataFields = []string{"name", "namespace", "labels", "annotations"}

// belongs finds where a kind has a field of that name, given where it was written:
// as near to there as can be, then as far up.
func belongs(kind, path, written string) string {
	var places []string
	for place, row := range supported[kind] {
		if row == nil || row.Stance != Refused {
			places = append(places, place)
		}
	}
	for _, name := range metadataFields {
		places = append(places, join("metadata", name))
	}
	here := strings.Split(general(path), ".")
	best := ""
	for _, place := range places {
		field := strings.Split(place, ".")
		last := strings.TrimSuffix(field[len(field)-1], "[]")
		if last != written || strings.HasSuffix(place, "[]") {
			continue
		}
		if best == "" || nearer(here, field, strings.Split(best, ".")) {
			best = place
		}
	}
	return best
}

// nearer says whether field a is a better guess than b for what stands in here.
func nearer(here, a, b []string) bool {
	shared := func(field []string) int {
		n := 0
		for n < len(here) && n < len(field) && here[n] == field[n] {
			n++
		}
		return n
	}
	switch {
	case shared(a) != shared(b):
		return shared(a) > shared(b)
	case len(a) != len(b):
		return len(a) < len(b)
	}
	return slices.Compare(a, b) < 0
}

// nearest finds the name that differs from what was written by a slip or two, ""
// when none does.
func nearest(written string, names []string) string {
	best, distance := "", 3
	for _, name := range names {
		n := editDistance(bare(written), bare(name))
		if n < distance && 2*n <= max(len(written), len(name)) {
			best, distance = name, n
		}
	}
	return best
}

var hyphens = strings.NewReplacer("_", "", "-", "")

func bare(name string) string { return strings.ToLower(hyphens.Replace(name)) }

func editDistance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := diagonal
			if a[i-1] != b[j-1] {
				change++
			}
			diagonal, row[j] = row[j], min(change, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
