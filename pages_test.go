package sluice_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"go.yaml.in/yaml/v3"

	"github.com/sluice-cni/sluice/agent"
	"github.com/sluice-cni/sluice/proxy/metrics"
)

// pages are the texts for people, by their paths.
func pages(t *testing.T) map[string]string { return tracked(t, "*.md") }

// tracked are the files of the repository whose names fit a pattern, by their paths.
func tracked(t *testing.T, pattern string) map[string]string {
	t.Helper()
	out, err := exec.Command("git", "ls-files", pattern).Output()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for path := range strings.Lines(string(out)) {
		path = strings.TrimSpace(path)
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all[path] = string(content)
	}
	return all
}

var (
	fenced  = regexp.MustCompile("(?ms)^ *```.*?^ *```")
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
)

// A link to a page of ours, or to a heading of one, that is not there leads nobody anywhere.
func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	all := pages(t)
	anchors := map[string]map[string]bool{}
	for path, text := range all {
		anchors[path] = map[string]bool{}
		for _, h := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
			anchors[path][anchor(h[1])] = true
		}
	}
	links := 0
	for path, text := range all {
		for _, m := range link.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			links++
			to, fragment, _ := strings.Cut(m[1], "#")
			target := path
			if to != "" {
				target = filepath.Join(filepath.Dir(path), to)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %s is not there", path, m[1])
			} else if known := anchors[target]; fragment != "" && known != nil && !known[fragment] {
				t.Errorf("%s: %s has no heading #%s", path, target, fragment)
			}
		}
	}
	if links < 200 {
		t.Errorf("only %d links were found: is this test blind?", links)
	}
}

// anchor is what GitHub makes of a heading.
func anchor(heading string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(link.ReplaceAllString(heading, "")) {
		switch {
		case r == ' ':
			b.WriteByte('-')
		case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
			b.WriteRune(r)
		}
	}
	return b.String()
}

// What people are told to watch must be there to be watched.
func TestMetricsThatPagesNameExist(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, m := range append(metrics.Catalogue, agent.Metrics...) {
		known[m.Name] = true
		if m.Kind == "histogram" {
			for _, part := range []string{"_bucket", "_sum", "_count"} {
				known[m.Name+part] = true
			}
		}
	}
	named := 0
	for path, text := range pages(t) {
		for _, name := range regexp.MustCompile(`\b(?:sluice|istio)_[a-z_]+\b`).FindAllString(text, -1) {
			if named++; !known[name] {
				t.Errorf("%s: there is no metric %s", path, name)
			}
		}
	}
	if named < 50 {
		t.Errorf("only %d metrics are named: is this test blind?", named)
	}
}

// Values of the chart that a page names, as --set does or in `quotes`, are values that it has.
func TestValuesThatPagesNameExist(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("deploy/chart/sluice/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]any
	if err := yaml.Unmarshal(content, &values); err != nil {
		t.Fatal(err)
	}
	set := regexp.MustCompile(`--set(?:-string)? '?([a-zA-Z][\w.]*)=`)
	quoted := regexp.MustCompile("`([a-z][\\w]*(?:\\.[a-zA-Z]\\w*)+)(?:=[^`]*)?`")
	named := 0
	for path, text := range pages(t) {
		for _, m := range set.FindAllStringSubmatch(text, -1) {
			if of, _, _ := strings.Cut(m[1], "."); of == "socketLB" || m[1] == "cni.exclusive" {
				continue // Cilium's
			}
			if named++; !has(values, m[1]) {
				t.Errorf("%s: the chart has no value %s", path, m[1])
			}
		}
		for _, m := range quoted.FindAllStringSubmatch(text, -1) {
			of, _, _ := strings.Cut(m[1], ".")
			if _, ours := values[of].(map[string]any); !ours || notValues[m[1]] {
				continue
			}
			if named++; !has(values, m[1]) {
				t.Errorf("%s: the chart has no value %s; if it is meant to be none, notValues has to know it", path, m[1])
			}
		}
	}
	if named < 40 {
		t.Errorf("only %d values are named: is this test blind?", named)
	}
}

// notValues look like values and are files, or others'.
var notValues = map[string]bool{
	"agent.sock": true, "holder.sock": true, "holder.lock": true, "agents.json": true, "policy.json": true, "policy.d": true,
	"agent.md": true, "cni.md": true, "cni.exclusive": true, "cni.dev": true, "security.istio.io": true,
}

// has says whether values have a path. Below policy anything may stand that a policy's file
// may hold, and below resources what Kubernetes knows.
func has(values map[string]any, path string) bool {
	var at any = values
	for part := range strings.SplitSeq(path, ".") {
		of, is := at.(map[string]any)
		if !is {
			return false
		}
		if at, is = of[part]; !is {
			return strings.HasPrefix(path, "policy.") || strings.Contains(path, ".resources.")
		}
	}
	return true
}

// Who comes with a question finds each page from the list of them.
func TestEachPageIsInTheListOfPages(t *testing.T) {
	t.Parallel()
	all := pages(t)
	for path := range all {
		if dir, file := filepath.Split(path); (dir == "docs/" || dir == "docs/decisions/") && file != "README.md" &&
			!strings.Contains(all[dir+"README.md"], "]("+file) {
			t.Errorf("%s: %sREADME.md does not lead there", path, dir)
		}
	}
}

// Targets of make, and variables of the environment, that pages name are there.
func TestTargetsAndVariablesThatPagesNameExist(t *testing.T) {
	t.Parallel()
	makefile := tracked(t, "Makefile")["Makefile"]
	variables, err := exec.Command("git", "grep", "-hoE", `\b(SLUICE|E2E|KIND)_[A-Z_]+\b`, "--", "*.go", "*.sh", "Makefile").Output()
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for path, text := range pages(t) {
		for _, m := range regexp.MustCompile("(?m)(?:`|^)make ([a-z0-9-]+)").FindAllStringSubmatch(text, -1) {
			if named++; !strings.Contains(makefile, "\n"+m[1]+":") {
				t.Errorf("%s: there is no target %s", path, m[1])
			}
		}
		for _, name := range regexp.MustCompile(`\b(?:SLUICE|E2E|KIND)_[A-Z_]+\b`).FindAllString(text, -1) {
			if named++; !strings.Contains("\n"+string(variables), "\n"+name+"\n") {
				t.Errorf("%s: nothing reads %s", path, name)
			}
		}
	}
	if named < 60 {
		t.Errorf("only %d are named: is this test blind?", named)
	}
}
