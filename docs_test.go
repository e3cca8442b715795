package sluice_test

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What a page claims is shown by a test is worth nothing once that test has another
// name.
func TestTestsThatPagesNameExist(t *testing.T) {
	t.Parallel()
	tests := strings.Join(slices.Collect(maps.Values(tracked(t, "*_test.go"))), "\n")
	expected := map[string]int{"docs/security-model.md": 30, "docs/complaints.md": 30}
	for page, text := range pages(t) {
		named := regexp.MustCompile("`Test[A-Z]\\w*").FindAllString(text, -1)
		if len(named) < expected[page] {
			t.Errorf("%s names %d tests", page, len(named))
		}
		delete(expected, page)
		for _, name := range named {
			if !strings.Contains(tests, "func "+name[1:]+"(") {
				t.Errorf("%s: there is no test %s", page, name[1:])
			}
		}
	}
	for page := range expected {
		t.Errorf("%s: is not there, or not in git", page)
	}
}

// What the security model says that holds is held by something that runs.
func TestEachClaimOfTheSecurityModelNamesATest(t *testing.T) {
	t.Parallel()
	_, text, _ := strings.Cut(pages(t)["docs/security-model.md"], "\n## What holds\n")
	text, _, found := strings.Cut(text, "\n## ")
	claims := strings.Split(text, "\n- ")[1:]
	if !found || len(claims) < 15 {
		t.Fatalf("only %d claims were found: is this test blind?", len(claims))
	}
	for _, claim := range claims {
		if !strings.Contains(claim, "`Test") {
			t.Errorf("no test shows that %s", claim)
		}
	}
}
