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
	for _, page := range []string{"docs/security-model.md", "docs/complaints.md"} {
		content, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		named := regexp.MustCompile("`Test[A-Z]\\w*").FindAllString(string(content), -1)
		if len(named) < 20 {
			t.Errorf("%s names %d tests", page, len(named))
		}
		for _, name := range named {
			if !bytes.Contains(tests.Bytes(), []byte("func "+name[1:]+"(")) {
				t.Errorf("%s: there is no test %s", page, name[1:])
			}
		}
	}
}
