package proxy

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestTheObservabilityPageListsEveryFieldAndRefusal(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../docs/observability.md")
	if err != nil {
		t.Fatal(err)
	}
	_, page, _ := strings.Cut(string(data), "## Access log")
	e := fullEntry()
	at := 0
	for _, field := range regexp.MustCompile(`"([a-z_]+)":`).FindAllStringSubmatch(string(appendJSON(nil, e, e.start)), -1) {
		row := strings.Index(page, "| `"+field[1]+"` |")
		if row < at {
			t.Errorf("%s has no row, or not in the order of the line", field[1])
		}
		at = max(at, row)
	}
	for _, r := range Refusals {
		if !strings.Contains(page, "| `"+string(r)+"` |") {
			t.Errorf("the refusal %s has no row", r)
		}
		if refusalTexts[r].message == "" {
			t.Errorf("the refusal %s has no words", r)
		}
	}
	page = string(data)
	for _, f := range []ConnectFailure{ConnectRefused, ConnectTimeout, TLSCertificate, TLSNotSpoken, TLSHandshake, ConnectCanceled} {
		if !strings.Contains(page, "`"+string(f)+"`") {
			t.Errorf("the failure %s is not explained", f)
		}
	}
}
