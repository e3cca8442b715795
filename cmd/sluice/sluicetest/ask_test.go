package sluicetest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/cmd/sluice/sluicetest"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/proxy/admin"
)

// asked is what a question to a running proxy is answered with.
func asked[T any](t *testing.T, command, socket string) []T {
	t.Helper()
	var list admin.List[T]
	if err := json.Unmarshal([]byte(fine(t, "", command, "--admin", socket, "-o", "json").out), &list); err != nil {
		t.Fatal(err)
	}
	return list.Items
}

func TestARunningProxySaysWhatItDoes(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "admin.sock")
	p := startProxy(t, "--admin", socket)
	p.serve(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })
	if c := asked[admin.Connection](t, "connections", socket); len(c) != 0 {
		t.Errorf("before anybody came: %v", c)
	}
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return p.Dial(ctx, network, webAddress+":80")
	}}}
	defer client.CloseIdleConnections()
	resp, err := client.Get("http://web.example/")
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()

	const name, place = "outbound|80||web.example", "web.yaml:2"
	if c := asked[admin.Connection](t, "connections", socket); len(c) != 1 || c[0].Protocol != "http/1.1" || c[0].Cluster != name || c[0].Destination != webAddress+":80" {
		t.Errorf("connections: %+v", c)
	}
	if r := asked[admin.Route](t, "routes", socket); len(r) != 2 || r[0].Host != "web.example" || !strings.HasSuffix(r[0].Source.Place(), place) {
		t.Errorf("routes: %+v", r)
	}
	if c := asked[admin.Cluster](t, "clusters", socket); len(c) != 1 || c[0].Name != name || c[0].Active+c[0].Idle != 1 {
		t.Errorf("clusters: %+v", c)
	}
	if e := asked[admin.Endpoint](t, "endpoints", socket); len(e) != 1 || e[0].Address != webAddress || e[0].Port != 80 || e[0].State != admin.StaticEndpoint {
		t.Errorf("endpoints: %+v", e)
	}
	table := fine(t, "", "connections", "--admin", socket, "WEB.example", "--port", "80").out
	if lines := strings.Split(table, "\n"); len(lines) != 3 || !strings.HasPrefix(lines[0], "SOURCE ") || !strings.Contains(lines[1], name) {
		t.Errorf("the table is\n%s", table)
	}
	text := fine(t, "", "explain", "--admin", socket, "--url", "http://web.example/x").out
	for _, want := range []string{"\nallowed: to " + name + "\n", "by the proxy at " + socket, "web.yaml:2)", "endpoint     " + webAddress + ":80, static"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if no := sluice(t, "", "explain", "--admin", socket, "--dst", "192.0.2.1:80"); no.code != 1 || !strings.Contains(no.out, "refused: the connection is reset, not registered") {
		t.Errorf("what is not registered: %+v", no)
	}
	netns := fmt.Sprintf("/proc/%d/ns/net", p.cmd.Process.Pid)
	all := fine(t, "", "explain", "--netns", netns, "--config", p.config, "--url", "http://web.example/", "--dst", webAddress).out
	for _, want := range []string{"captured: to the proxy, port ", "rule \"included IPv4 range\"", "  they agree\n", "allowed: to " + name + "\n", "web.yaml:2)"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
	if past := fine(t, "", "explain", "--netns", netns, "--config", p.config, "--dst", "192.0.2.1:80").out; !strings.Contains(past, "not captured: direct") || strings.Contains(past, "refused") {
		t.Errorf("what the rules let by:\n%s", past)
	}
	if second := sluice(t, "", "proxy", "--config", p.config, "--listen", "0", "--metrics-listen", "off", "--admin", socket); second.code != 1 || !strings.Contains(second.err, "another proxy answers there") {
		t.Errorf("a second proxy at the same socket: %+v", second)
	}
}

func TestWithoutTheSocketOfTheEnvironmentEgressGoesOnAndSaysWhy(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "mine.txt")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p := &proxy{Namespace: labtest.New(t), config: t.TempDir(), ended: make(chan struct{})}
	cmd := exec.Command(sluicetest.File(), "proxy", "--config", p.config, "--listen", "0", "--metrics-listen", "off")
	cmd.Env = append(os.Environ(), "SLUICE_ADMIN="+path)
	p.launch(t, cmd)
	p.waitFor(t, "msg=ready")
	if p.said(`SLUICE_ADMIN \"`+path+`\": is there and is no socket`) != 1 {
		t.Errorf("it says\n%s", strings.Join(p.log, "\n"))
	}
}
