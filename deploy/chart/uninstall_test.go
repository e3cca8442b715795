package chart_test

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Each of those that wait waits longer than the one it waits for.
func TestAnUninstallHasTheTimeThatConnectionsMayTake(t *testing.T) {
	t.Parallel()
	second := func(text, pattern string) int {
		t.Helper()
		m := regexp.MustCompile(pattern).FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("nothing matches %s", pattern)
		}
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, c := range []struct {
		values []string
		node   int
	}{
		{nil, 900},
		{[]string{"agent.drainSeconds=86400"}, 86460},
		{[]string{"agent.drainSeconds=5", "uninstall.timeoutSeconds=70"}, 70},
	} {
		text := render(t, c.values...)
		_, job, _ := strings.Cut(text, "kind: Job")
		node := second(uninstaller(t, text), `--wait=(\d+)s`)
		all, deadline := second(job, `--wait=(\d+)s`), second(job, `activeDeadlineSeconds: (\d+)`)
		if node != c.node || all <= node || deadline <= all {
			t.Errorf("%q: a node has %d s, all have %d, the Job has %d", c.values, node, all, deadline)
		}
	}
}
