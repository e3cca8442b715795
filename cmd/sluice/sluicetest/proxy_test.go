package sluicetest_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/cmd/sluice/sluicetest"
	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/nft"
)

func TestMain(m *testing.M) {
	if _, err := sluicetest.Build(); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	labtest.Main(m)
}

const webAddress = "203.0.113.10"

const registered = `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: web}
spec:
  hosts: [web.example]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 203.0.113.10}]
`

// proxy is a `sluice proxy` in a namespace of its own, where TCP to webAddress
// is redirected to it.
type proxy struct {
	*lab.Namespace
	cmd    *exec.Cmd
	config string
	mu     sync.Mutex
	log    []string
	ended  chan struct{}
}

const mark = 0x51

// startProxy starts the program and waits until it serves.
func startProxy(t *testing.T, args ...string) *proxy {
	t.Helper()
	p := &proxy{Namespace: labtest.New(t), config: t.TempDir(), ended: make(chan struct{})}
	p.write(t, "web.yaml", registered)
	address := netip.PrefixFrom(netip.MustParseAddr(webAddress), 32)
	if err := p.Do(func() error { return lab.AddAddress("lo", address) }); err != nil {
		t.Fatal(err)
	}
	p.start(t, args...)
	p.waitFor(t, "msg=ready")
	p.redirect(t)
	return p
}

// start starts the program.
func (p *proxy) start(t *testing.T, args ...string) {
	t.Helper()
	args = append([]string{"proxy", "--config", p.config, "--listen", "0", "--mark", fmt.Sprint(mark), "--admin", "off"}, args...)
	p.launch(t, exec.Command(sluicetest.File(), args...))
}

// launch starts it by a command.
func (p *proxy) launch(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	p.cmd = cmd
	p.cmd.Stdout = io.Discard
	pipe, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(p.cmd); err != nil {
		t.Fatal(err)
	}
	go p.read(pipe)
	t.Cleanup(func() { p.cmd.Process.Kill(); <-p.ended })
}

func (p *proxy) read(r io.Reader) {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		p.mu.Lock()
		p.log = append(p.log, lines.Text())
		p.mu.Unlock()
	}
	p.cmd.Wait()
	close(p.ended)
}

func (p *proxy) said(text string) (times int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.log {
		if strings.Contains(line, text) {
			times++
		}
	}
	return times
}

func (p *proxy) waitFor(t *testing.T, text string) {
	t.Helper()
	p.waitForTimes(t, text, 1)
}

func (p *proxy) waitForTimes(t *testing.T, text string, times int) {
	t.Helper()
	if !await.Within(await.Patience, func() bool { return p.said(text) >= times }) {
		t.Fatalf("the proxy does not say %q often enough; it says:\n%s", text, strings.Join(p.log, "\n"))
	}
}

// port is where the proxy listens, the same in both families.
func (p *proxy) port(t *testing.T) uint16 {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	found := regexp.MustCompile(`msg=listening address=(\S+)`).FindAllStringSubmatch(strings.Join(p.log, "\n"), -1)
	ports := map[string]bool{}
	for _, f := range found {
		_, port, _ := net.SplitHostPort(strings.Trim(f[1], `"`))
		ports[port] = true
	}
	if len(found) != 2 || len(ports) != 1 {
		t.Fatalf("want one port in both families, got %v", found)
	}
	for port := range ports {
		n, err := rules.ParsePort(port)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return 0
}

func (p *proxy) redirect(t *testing.T) {
	t.Helper()
	c := rules.Default()
	c.OutboundPort, c.Exemption, c.ExemptMark = p.port(t), rules.ExemptByMark, mark
	if _, err := c.Set("includeIPRanges", webAddress); err != nil {
		t.Fatal(err)
	}
	plan, err := rules.NewPlan(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := nft.Apply(p.FD(), plan); err != nil {
		t.Fatal(err)
	}
}

func (p *proxy) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(p.config, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// serve starts a web server on webAddress.
func (p *proxy) serve(t *testing.T, h http.HandlerFunc) {
	t.Helper()
	l, err := p.Listen("tcp", webAddress+":80")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
}

func (p *proxy) get(ctx context.Context, path string) (string, error) {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return p.Dial(ctx, network, webAddress+":80")
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://web.example"+path, nil)
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

func (p *proxy) exit(t *testing.T) int {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(await.Patience):
		t.Fatal("the proxy does not end")
	}
	return p.cmd.ProcessState.ExitCode()
}

func TestProxyFinishesRequestsUnderWayOnTheFirstSignal(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		p := startProxy(t)
		began, release := make(chan struct{}), make(chan struct{})
		p.serve(t, func(w http.ResponseWriter, r *http.Request) { close(began); <-release; io.WriteString(w, "late") })
		answer := make(chan string, 1)
		go func() {
			got, err := p.get(context.Background(), "/")
			answer <- fmt.Sprint(got, err)
		}()
		<-began
		p.cmd.Process.Signal(sig)
		p.waitFor(t, "stopping")
		close(release)
		if got := <-answer; got != "200 late<nil>" {
			t.Errorf("%v: the request under way got %q", sig, got)
		}
		if code := p.exit(t); code != 0 {
			t.Errorf("%v: exit code %d", sig, code)
		}
	}
}

func TestProxyEndsAtOnceOnTheSecondSignal(t *testing.T) {
	t.Parallel()
	p := startProxy(t)
	began, never := make(chan struct{}), make(chan struct{})
	defer close(never)
	p.serve(t, func(w http.ResponseWriter, r *http.Request) { close(began); <-never })
	go p.get(t.Context(), "/")
	<-began
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.waitFor(t, "stopping")
	p.cmd.Process.Signal(syscall.SIGTERM)
	if code := p.exit(t); code != 128+int(syscall.SIGTERM) {
		t.Errorf("exit code %d", code)
	}
}

func TestProxySaysOnceThatAChangeIsInForce(t *testing.T) {
	t.Parallel()
	access := filepath.Join(t.TempDir(), "access.log")
	p := startProxy(t, "--access-log", access)
	p.serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") })
	if got, err := p.get(t.Context(), "/a"); got != "200 hello" {
		t.Errorf("registered: %q, %v", got, err)
	}
	if err := os.Remove(filepath.Join(p.config, "web.yaml")); err != nil {
		t.Fatal(err)
	}
	p.waitFor(t, `msg="configuration in force" resources=0`)
	if got, err := p.get(t.Context(), "/b"); !strings.HasPrefix(got, "502 ") {
		t.Errorf("unregistered: %q, %v", got, err)
	}
	p.waitFor(t, "| sluice create -f - --config "+p.config+`"`)
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.exit(t)
	if n := p.said("configuration in force"); n != 2 {
		t.Errorf("it spoke of %d configurations, want 2", n)
	}
	lines, err := os.ReadFile(access)
	if err != nil || bytes.Count(lines, []byte("\n")) != 2 || !bytes.Contains(lines, []byte(`"path":"/a"`)) {
		t.Errorf("access log: %v\n%s", err, lines)
	}
}

func TestProxySaysThatAFileWithErrorsIsNotInForce(t *testing.T) {
	t.Parallel()
	p := startProxy(t)
	p.serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") })
	file := filepath.Join(p.config, "web.yaml")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(good, "nonsense: true\n"...), 0o644); err != nil {
		t.Fatal(err)
	}
	p.waitFor(t, `level=WARN msg="configuration in force; files with errors keep their last good content" resources=1 errors=1`)
	if got, err := p.get(t.Context(), "/"); got != "200 hello" {
		t.Errorf("%q, %v", got, err)
	}
	if err := os.WriteFile(file, append(good, "# well\n"...), 0o644); err != nil {
		t.Fatal(err)
	}
	p.waitForTimes(t, `level=INFO msg="configuration in force" resources=1`, 2)
	if n := p.said("files with errors"); n != 1 {
		t.Errorf("it spoke of errors %d times, want once", n)
	}
}

func TestProxyRefusesToStartOnErrorsAndNamesThemAll(t *testing.T) {
	t.Parallel()
	empty, bad := t.TempDir(), t.TempDir()
	for name, text := range map[string]string{
		"one.yaml": "kind: Nonsense\n",
		"two.yaml": strings.Replace(registered, "hosts", "host", 1),
	} {
		if err := os.WriteFile(filepath.Join(bad, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	n := labtest.New(t)
	taken, err := n.Listen("tcp4", "0.0.0.0:15001")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, c := range []struct {
		args []string
		code int
		says []string
	}{
		{[]string{"--config", bad}, 1, []string{"one.yaml", "two.yaml", "hint: "}},
		{[]string{"--config", empty + "/missing"}, 1, []string{"does not exist", "hint: mkdir"}},
		{[]string{"--config", empty, "--listen", "70000", "--mark", "x", "--outbound-policy", "SOME"}, 2,
			[]string{`--listen "70000"`, `--mark "x"`, `--outbound-policy "SOME"`}},
		{[]string{"--config", empty, "--metrics-listen", "15090", "--access-log-format", "xml", "--labels", "a=b,c", "--pod", "No"}, 2,
			[]string{`--metrics-listen "15090"`, `--access-log-format "xml"`, `--labels "c"`, `--pod "No"`}},
		{[]string{"--config", empty, "--metrics-listen", "127.0.0.1:15001"}, 1, []string{`--metrics-listen "127.0.0.1:15001"`, "address already in use", "off"}},
		{[]string{"--config", empty, "--mark", "0"}, 2, []string{`--mark "0"`}},
		{[]string{"--config", empty}, 1, []string{"listen on port 15001", "address already in use", "hint: --listen"}},
		{[]string{"--config", empty, "--access-log", "/no/such/folder/log"}, 1, []string{"--access-log"}},
		{[]string{"--config", empty, "surplus"}, 2, []string{"hint: usage"}},
	} {
		cmd := exec.Command(sluicetest.File(), append([]string{"proxy"}, c.args...)...)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		err := n.Do(cmd.Run)
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != c.code {
			t.Errorf("%v: %v, want exit code %d\n%s", c.args, err, c.code, out.String())
		}
		for _, want := range c.says {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%v: %q is not in:\n%s", c.args, want, out.String())
			}
		}
	}
}
