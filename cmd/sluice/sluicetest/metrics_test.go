package sluicetest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/internal/lab"
)

// scrape asks the proxy's endpoint from inside its namespace.
func (p *proxy) scrape(ctx context.Context, address, path string) (string, error) {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return p.Dial(ctx, network, address)
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://proxy"+path, nil)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return fmt.Sprintf("%d %s", response.StatusCode, body), err
}

func TestProxyShowsMetricsAndHealthOnLoopback(t *testing.T) {
	t.Parallel()
	p := startProxy(t, "--workload", "shop", "--labels", "app=shop,version=v2")
	p.serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") })
	if got, err := p.get(t.Context(), "/"); got != "200 hello" {
		t.Fatal(got, err)
	}
	for path, wants := range map[string][]string{
		"/readyz":  {"200 ready"},
		"/healthz": {"200 ok"},
		"/metrics": {`source_app="shop"`, `source_version="v2"`, `source_workload="shop"`, `destination_service="web.example"`,
			"sluice_config_resources 1\n", "sluice_config_errors 0\n", "process_open_fds", "go_goroutines", "sluice_build_info"},
	} {
		got, err := p.scrape(t.Context(), "127.0.0.1:15090", path)
		for _, want := range wants {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %v: %q is not in\n%s", path, err, want, got)
			}
		}
	}
	own := netip.MustParsePrefix("198.51.100.9/32") // as the pod's address, not captured
	if err := p.Do(func() error { return lab.AddAddress("lo", own) }); err != nil {
		t.Fatal(err)
	}
	if _, err := p.scrape(t.Context(), own.Addr().String()+":15090", "/metrics"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Log(err)
		t.Error("the metrics are served on an address that neighbours can reach")
	}
}

func TestProxyGoesOnWithoutMetricsWhereTheDefaultAddressIsTaken(t *testing.T) {
	t.Parallel()
	p := startProxy(t)
	second := &proxy{Namespace: p.Namespace, config: p.config, ended: make(chan struct{})}
	second.start(t)
	second.waitFor(t, "no metrics: the address is in use")
	second.waitFor(t, "msg=ready")
}

func TestProxyOpensItsAccessLogAnewOnSIGUSR1(t *testing.T) {
	t.Parallel()
	access := filepath.Join(t.TempDir(), "access.log")
	p := startProxy(t, "--access-log", access, "--access-log-format", "text", "--metrics-listen", "off")
	p.serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") })
	holds := func(name, want string) {
		t.Helper()
		var data []byte
		if !await.Within(await.Patience, func() bool { data, _ = os.ReadFile(name); return strings.Contains(string(data), want) }) {
			t.Errorf("%s holds %q, not %q", name, data, want)
		}
	}
	p.get(t.Context(), "/before")
	holds(access, `"GET /before HTTP/1.1" 200 - via_upstream`)
	if err := os.Rename(access, access+".1"); err != nil {
		t.Fatal(err)
	}
	p.cmd.Process.Signal(syscall.SIGUSR1)
	await.True(t, "the log is opened anew", func() bool { _, err := os.Stat(access); return err == nil })
	p.get(t.Context(), "/after")
	holds(access, `"GET /after HTTP/1.1" 200 - via_upstream`)
}
