package pages

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/e2e/egress"
)

// The task "Circuit Breaking".

func TestTrippingTheCircuitBreaker(t *testing.T) {
	t.Parallel()
	p := egress.New(t, egress.Options{})
	var mu sync.Mutex
	open, most := 0, 0
	p.Net.Web("store.example", 8000, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		open++
		most = max(most, open)
		mu.Unlock()
		time.Sleep(20 * time.Millisecond) // as long as a request lasts
		mu.Lock()
		open--
		mu.Unlock()
	}))
	p.Apply(fixture(t, "circuit-breaking"))
	p.Get("http://store.example:8000/get").Want("200 store.example")
	load := func(clients int) (passed, trapped int) {
		var all sync.WaitGroup
		answers := make(chan *egress.Answer, clients*10)
		for range clients {
			all.Go(func() {
				for range 10 {
					answers <- p.Get("http://store.example:8000/get")
					time.Sleep(5 * time.Millisecond) // what the client does between two of them
				}
			})
		}
		all.Wait()
		close(answers)
		for a := range answers {
			switch {
			case a.Status == 200:
				passed++
			default:
				trapped++
				a.Want("503 UO upstream connect error or disconnect/reset before headers. reset reason: overflow")
				if a.Header.Get("X-Envoy-Overloaded") != "true" {
					t.Errorf("%v", a.Header)
				}
			}
		}
		return passed, trapped
	}
	if passed, _ := load(2); passed < 14 { // almost all: one is on its way, one waits
		t.Errorf("two clients: %d of 20 passed", passed)
	}
	if passed, trapped := load(6); trapped == 0 || passed == 0 {
		t.Errorf("six clients: %d passed, %d were trapped", passed, trapped)
	}
	if most > 1 {
		t.Errorf("%d requests at a time", most)
	}
	// maxRequestsPerConnection: 1
	if c, r := p.Net.Connections("store.example"), len(p.Net.Seen("store.example")); c < r {
		t.Errorf("%d connections for %d requests", c, r)
	}
}

// The page's outlierDetection: a host is left out at its first error, for three minutes.
func TestOutlierDetection(t *testing.T) {
	t.Parallel()
	p := egress.New(t, egress.Options{})
	p.Net.Name("store.example", "203.0.113.77") // one host, where each address is one
	p.Net.Web("store.example", 8000, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/status/500" {
			w.WriteHeader(500)
		}
	}))
	p.Apply(fixture(t, "circuit-breaking"))
	both(p, "http://store.example:8000/get", "200 store.example")
	p.Get("http://store.example:8000/status/500").Want("500 store.example")
	both(p, "http://store.example:8000/get", "503 UH no healthy upstream")
}
