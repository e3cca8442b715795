package agent

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/agent/core"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/proxy/metrics"
)

// endpoint is what the kubelet asks.
func (r *runningAgent) endpoint() (ask func(path string) (code int, text string)) {
	s := httptest.NewServer(r.Health(metrics.Endpoint{Metrics: metrics.New("test"), Ready: r.Ready, Log: r.n.log}.Handler()))
	r.n.t.Cleanup(s.Close)
	return func(path string) (int, string) {
		r.n.t.Helper()
		a, err := http.Get(s.URL + path)
		must(r.n.t, err)
		defer a.Body.Close()
		body, err := io.ReadAll(a.Body)
		must(r.n.t, err)
		return a.StatusCode, string(body)
	}
}

// A probe is told whose word it is: another pod's agent may answer at the socket.
func TestAProbeIsToldWhoServes(t *testing.T) {
	a := newNode(t).startAgent()
	s := httptest.NewServer(a.Handler(http.NotFoundHandler()))
	t.Cleanup(s.Close)
	answer, err := http.Get(s.URL + ServingPath)
	must(t, err)
	defer answer.Body.Close()
	var got Serving
	must(t, json.NewDecoder(answer.Body).Decode(&got))
	if got.PID != os.Getpid() || got.Instance != a.cfg.Instance || !strings.Contains(got.NotReady, "no session with the holder") {
		t.Errorf("%+v", got)
	}
}

// /readyz answers 200 from when the agent serves every pod that the holder has until
// another has taken over, and 503 with what is missing else; /healthz answers 200 as
// long as the core turns, whatever is missing.
func TestReadyzAndHealthz(t *testing.T) {
	n := newNode(t)
	pods := []*pod{n.pod("shop", "web"), n.pod("shop", "cart"), n.pod("shop", "till")}
	first := n.startAgent()
	ask := first.endpoint()
	wants := func(ask func(string) (int, string), what string) {
		t.Helper()
		await.Silence(t, func() string {
			code, text := ask("/readyz")
			if ok, _ := ask("/healthz"); ok != http.StatusOK {
				t.Errorf("/healthz answers %d while /readyz says %q", ok, text)
			}
			if code == http.StatusServiceUnavailable && strings.Contains(text, what) {
				return ""
			}
			return fmt.Sprintf("/readyz answers %d %q, not 503 and %q", code, text, what)
		})
	}
	ready := func(ask func(string) (int, string)) {
		t.Helper()
		await.Silence(t, func() string {
			if code, text := ask("/readyz"); code != http.StatusOK {
				return fmt.Sprintf("/readyz answers %d %q", code, text)
			}
			return ""
		})
	}

	wants(ask, "no session with the holder")
	h := n.startHolder()
	first.selects("shop")
	ready(ask)
	for _, p := range pods {
		first.state(p, "enrolled")
	}
	_, hangUp := pods[0].stream("long") // the first agent drains, and does not end

	second := n.startAgent()
	second.selects("shop")
	askSecond := second.endpoint()
	ready(askSecond)
	if second.serving.Load() == nil {
		t.Error("ready before it told the holder that it serves every pod")
	}
	wants(ask, "another agent has taken over")
	for _, p := range pods { // the first accepts nothing any more
		p.governed()
	}
	h.stop()
	wants(askSecond, "no session with the holder")
	hangUp()
	second.loop.tell(core.Leave{}) // an uninstall that may fail on other nodes
	wants(askSecond, "sluice is being uninstalled")
}
