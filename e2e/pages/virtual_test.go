package pages

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-cni/sluice/e2e/egress"
)

// The reference of VirtualService, and that of DestinationRule.

func TestReferenceRewrite(t *testing.T) {
	t.Parallel()
	p := egress.New(t, egress.Options{})
	serveReviews(p)
	p.Apply(fixture(t, "reviews") + "\n---\n" + fixture(t, "reference-rewrite"))
	for _, v := range egress.Versions {
		for path, want := range map[string]string{"/shop/catalog/7?a=b": "v2 /goods/7?a=b", "/catalog": "v2 /goods", "/catalogue": "v2 /goodsue", "/other": "v1 /other"} {
			a := p.Ask(egress.Request{URL: "http://reviews.example:9080" + path, Version: v})
			if got := strings.TrimSuffix(strings.TrimPrefix(a.Server.Name, "reviews-"), ".example") + " " + a.Server.Path; got != want {
				t.Errorf("%s %s: %s, want %s", v, path, got, want)
			}
			if l := a.Line(); l.Path != path || l.Route != map[bool]string{true: "new-catalog", false: "the-rest"}[want[:2] == "v2"] {
				t.Errorf("%s", l.Text)
			}
		}
	}
}

func TestReferenceRedirectAndDirectResponse(t *testing.T) {
	t.Parallel()
	p := egress.New(t, egress.Options{})
	serveReviews(p)
	p.Apply(fixture(t, "reviews") + "\n---\n" + fixture(t, "reference-answers"))
	for _, v := range egress.Versions {
		a := p.Ask(egress.Request{URL: "http://reviews.example:9080/v1/productRatings", Version: v}).Want("301 -")
		if got := a.Header.Get("Location"); got != "http://ratings.example/v2/ratings" {
			t.Errorf("%s: redirected to %s", v, got)
		}
		p.Ask(egress.Request{URL: "http://reviews.example:9080/v1/closed", Version: v}).Want("503 - closed for the night")
		p.Ask(egress.Request{URL: "http://reviews.example:9080/v1/closed/not", Version: v}).Want("200 reviews-v1.example")
	}
}

func TestReferenceHeaders(t *testing.T) {
	t.Parallel()
	p := egress.New(t, egress.Options{})
	p.Net.Name("reviews.example", "203.0.113.250")
	for _, host := range []string{"reviews-v1.example", "reviews-v2.example"} {
		p.Net.Web(host, 9080, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Internal", "secret") }))
	}
	p.Apply(fixture(t, "reviews") + "\n---\n" + fixture(t, "reference-headers"))
	for _, v := range egress.Versions {
		got := map[string]int{}
		for range 200 {
			a := p.Ask(egress.Request{URL: "http://reviews.example:9080/", Version: v, Header: map[string]string{"X-Test": "no"}})
			got[a.Server.Name]++
			if tests := a.Server.Header["X-Test"]; len(tests) != 1 || tests[0] != "yes" {
				t.Fatalf("%s: %v", v, tests)
			}
			if there := a.Header.Get("X-Internal") != ""; there != (a.Server.Name == "reviews-v2.example") {
				t.Fatalf("%s: %s's answer: %v", v, a.Server.Name, a.Header)
			}
		}
		if n := got["reviews-v1.example"]; n < 120 || n > 180 || n+got["reviews-v2.example"] != 200 {
			t.Errorf("%s: %v", v, got)
		}
	}
}

func TestReferenceLoadBalancers(t *testing.T) {
	t.Parallel()
	p := egress.New(t, egress.Options{})
	serveReviews(p)
	entry, _, _ := strings.Cut(fixture(t, "reviews"), "\n---\n")
	if issues := p.Apply(entry + "\n---\n" + fixture(t, "reference-rules")); len(issues) != 0 {
		t.Errorf("%s", issues)
	}
	for _, v := range egress.Versions { // in turn: each version once in three
		got := map[string]int{}
		for range 30 {
			got[p.Ask(egress.Request{URL: "http://reviews.example:9080/", Version: v}).String()]++
		}
		if len(got) != 3 || got["200 reviews-v1.example"] != 10 || got["200 reviews-v2.example"] != 10 {
			t.Errorf("%s: %v", v, got)
		}
	}
}

func TestReferenceRetries(t *testing.T) {
	t.Parallel()
	p := egress.New(t, egress.Options{})
	p.Net.Name("reviews.example", "203.0.113.250")
	var mu sync.Mutex
	tries := map[string]int{}
	p.Net.Web("reviews-v1.example", 9080, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		tries[r.URL.Path]++
		n := tries[r.URL.Path]
		mu.Unlock()
		switch what := r.URL.Query().Get("do"); {
		case what == "fail always", what == "fail twice" && n < 3:
			w.WriteHeader(503)
		case what == "wait once" && n == 1:
			<-r.Context().Done()
		case what == "err":
			w.WriteHeader(500)
		}
	}))
	p.Apply(fixture(t, "reviews") + "\n---\n" + fixture(t, "reference-retries"))
	for _, v := range egress.Versions {
		for i, c := range []struct {
			do, want string
			tries    int
		}{
			{"fail+twice", "200 reviews-v1.example", 3},
			{"fail+always", "503 reviews-v1.example", 4},
			{"wait+once", "200 reviews-v1.example", 2},
			{"err", "500 reviews-v1.example", 1}, // 500 is no gateway error
		} {
			path := fmt.Sprintf("/%s/%d", v[5:], i)
			p.Ask(egress.Request{URL: "http://reviews.example:9080" + path + "?do=" + c.do, Version: v}).Want(c.want)
			mu.Lock()
			if tries[path] != c.tries {
				t.Errorf("%s, %s: tried %d times, want %d", v, c.do, tries[path], c.tries)
			}
			mu.Unlock()
		}
	}
}
