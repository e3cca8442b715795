package chart_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/selection"
)

// The list of annotations in admission.yaml is that of the program: one that it knows and
// the list does not would be denied.
func TestAdmissionKnowsEveryAnnotation(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("sluice/admission.yaml")
	if err != nil {
		t.Fatal(err)
	}
	lists := regexp.MustCompile(`(?s)!\(a in \[(.*?)\]`).FindAllStringSubmatch(string(data), -1)
	if len(lists) != 2 {
		t.Fatalf("there are %d lists, of a namespace's and a pod's", len(lists))
	}
	var fields []string
	for _, f := range rules.Fields() {
		if strings.HasPrefix(f.Annotation, "sluice.dev/") {
			fields = append(fields, f.Annotation)
		}
	}
	for i, own := range []string{selection.AnnotationOutboundPolicy, selection.AnnotationInject} {
		got := regexp.MustCompile(`sluice\.dev/\w+`).FindAllString(lists[i][1], -1)
		want := append(slices.Clone(fields), own)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("list %d of admission.yaml has\n%q, and there are\n%q", i, got, want)
		}
	}
}
