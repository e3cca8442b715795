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
	_, list, _ := strings.Cut(string(data), "|| a in [")
	list, _, _ = strings.Cut(list, "]")
	got := regexp.MustCompile(`sluice\.dev/\w+`).FindAllString(list, -1)
	want := []string{selection.AnnotationInject}
	for _, f := range rules.Fields() {
		if strings.HasPrefix(f.Annotation, "sluice.dev/") {
			want = append(want, f.Annotation)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("admission.yaml has\n%q, and there are\n%q", got, want)
	}
}
