package sluice_test

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// What a page claims is shown by a test is worth nothing once that test has another
// name.
func TestTestsThatPagesNameExist(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("git", "ls-files", "*_test.go").Output()
	if err != nil {
		t.Fatal(err)
	}
	var tests bytes.Buffer
	for path := range strings.Lines(string(out)) {
		content, err := os.ReadFile(strings.TrimSpace(path))
		if err != nil {
			t.Fatal(err)
		}
		tests.Write(content)
	}
	out, err = exec.Command("git", "ls-files", "*.md").Output()
	if err != nil {
		t.Fatal(err)
	}
	expected := map[string]int{"docs/security-model.md": 30, "docs/complaints.md": 30}
	for page := range strings.Lines(string(out)) {
		page = strings.TrimSpace(page)
		content, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		named := regexp.MustCompile("`Test[A-Z]\\w*").FindAllString(string(content), -1)
		if len(named) < expected[page] {
			t.Errorf("%s names %d tests", page, len(named))
		}
		delete(expected, page)
		for _, name := range named {
			if !bytes.Contains(tests.Bytes(), []byte("func "+name[1:]+"(")) {
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
	content, err := os.ReadFile("docs/security-model.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(content), "\n## What holds\n")
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
