package rules_test

import "testing"

func TestNamingTheVirtualRangesChangesNothingWhereDNSIsCaptured(t *testing.T) {
	const named, unnamed = `"10.0.0.0/8,2001:2::/48,240.240.0.0/16"`, `"10.0.0.0/8"`
	with := func(ranges, capture string) string {
		return parse(t, `{"includeIPRanges":`+ranges+`,"dnsCapture":`+capture+`}`).Hash()
	}
	if with(named, "true") != with(unnamed, "true") {
		t.Error("the same meaning has two hashes")
	}
	if with(named, "false") == with(unnamed, "false") {
		t.Error("without DNS capture they are ranges like any other")
	}
	if plan(t, `{"includeIPRanges":`+named+`,"dnsCapture":true}`).String() != plan(t, `{"includeIPRanges":`+unnamed+`,"dnsCapture":true}`).String() {
		t.Error("the same meaning has two plans")
	}
}
