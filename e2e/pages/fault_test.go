package pages

import (
	"testing"
	"time"

	"github.com/sluice-cni/sluice/e2e/egress"
)

// The task "Fault Injection".

func TestInjectingAnHTTPDelayFault(t *testing.T) {
	t.Parallel()
	p := egress.New(t, egress.Options{})
	serveReviews(p)
	p.Apply(fixture(t, "reviews") + "\n---\n" + fixture(t, "fault-delay"))
	for _, v := range egress.Versions {
		begin := time.Now()
		p.Ask(egress.Request{URL: "http://reviews.example:9080/", Version: v, Header: map[string]string{"end-user": "mary"}}).
			Want("200 reviews-v1.example").WantLine("DI", "outbound|9080|v1|reviews.example")
		if took := time.Since(begin); took < 400*time.Millisecond {
			t.Errorf("%s: answered after %s", v, took)
		}
		p.Ask(egress.Request{URL: "http://reviews.example:9080/", Version: v}).
			Want("200 reviews-v1.example").WantLine("-", "outbound|9080|v1|reviews.example")
	}
}

func TestInjectingAnHTTPAbortFault(t *testing.T) {
	t.Parallel()
	p := egress.New(t, egress.Options{})
	serveReviews(p)
	p.Apply(fixture(t, "reviews") + "\n---\n" + fixture(t, "fault-abort"))
	for _, v := range egress.Versions {
		p.Ask(egress.Request{URL: "http://reviews.example:9080/", Version: v, Header: map[string]string{"end-user": "mary"}}).
			Want("500 FI fault filter abort")
		p.Ask(egress.Request{URL: "http://reviews.example:9080/", Version: v}).Want("200 reviews-v1.example")
	}
	if n := len(p.Net.Seen("reviews-v1.example")); n != 2 {
		t.Errorf("%d requests came to the server, want 2", n)
	}
}
