package sluicetest_test

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/vip"
	"github.com/sluice-cni/sluice/vip/ledger"
)

// lookup asks the program for a name's addresses, on the socket its log names.
func (p *proxy) lookup(t *testing.T, network, name string) []string {
	t.Helper()
	p.mu.Lock()
	found := regexp.MustCompile(`msg="answering DNS" address=(127\.0\.0\.1:\d+)`).FindStringSubmatch(strings.Join(p.log, "\n"))
	p.mu.Unlock()
	if found == nil {
		t.Fatal("the log does not say where DNS is answered")
	}
	c, err := p.Dial(t.Context(), network, found[1])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(await.Patience))
	m, _, err := new(dns.Client).ExchangeWithConn(new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA), &dns.Conn{Conn: c})
	if err != nil {
		t.Fatal(err)
	}
	out := []string{dns.RcodeToString[m.Rcode]}
	for _, rr := range m.Answer {
		if a, ok := rr.(*dns.A); ok {
			out = append(out, a.A.String())
		}
	}
	return out
}

// routable gives the namespace a route to every address, so that virtual ones can
// be reached.
func (p *proxy) routable(t *testing.T) {
	t.Helper()
	if err := p.Do(func() error { return lab.AddRoute("lo", netip.MustParsePrefix("0.0.0.0/0"), netip.Addr{}) }); err != nil {
		t.Fatal(err)
	}
}

func TestProxyAnswersDNSAndKeepsAddressesOverARestart(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	var before []string
	for range 2 {
		p := startProxy(t, "--dns-listen", "0", "--dns-policy", "registry-only", "--state-dir", state)
		p.routable(t)
		got := p.lookup(t, "udp", "web.example")
		if len(got) != 2 || got[0] != "NOERROR" || !vip.Contains(netip.MustParseAddr(got[1])) || strings.Join(p.lookup(t, "tcp", "web.example"), " ") != strings.Join(got, " ") {
			t.Fatalf("got %v", got)
		}
		if got := p.lookup(t, "udp", "attacker.example"); len(got) != 1 || got[0] != "NXDOMAIN" {
			t.Errorf("an unregistered name: %v", got)
		}
		if before != nil && got[1] != before[1] {
			t.Errorf("%v became %v", before, got)
		}
		before = got
		p.cmd.Process.Signal(syscall.SIGTERM)
		if code := p.exit(t); code != 0 {
			t.Errorf("exit code %d", code)
		}
	}
	if data, err := os.ReadFile(filepath.Join(state, ledger.Name)); err != nil || !strings.Contains(string(data), before[1]) {
		t.Errorf("%s, %v", data, err)
	}
}

func TestMistakesAboutDNSAreSaidAllAtOnce(t *testing.T) {
	t.Parallel()
	config := t.TempDir()
	for _, c := range []struct {
		args string
		says []string
	}{
		{"--dns-listen fast --dns-policy some --dns-allow *.a.test,10.0.0.1,b_c", []string{`--dns-listen "fast": not a port`, `--dns-policy "some"`,
			`element 1 "*.a.test": a wildcard; write a.test`, `element 2 "10.0.0.1": an address`, `element 3 "b_c": not a DNS name`}},
		{"--state-dir /tmp --dns-policy registry-only --dns-allow a.test", []string{`--state-dir "/tmp": has no effect without --dns-listen`, `--dns-policy "registry-only"`, "--dns-allow"}},
		{"--dns-listen 15053 --dns-allow a.test", []string{`--dns-allow "a.test": has no effect when --dns-policy is forward`}},
	} {
		p := sluice(t, "", append([]string{"proxy", "--config", config}, strings.Fields(c.args)...)...)
		for _, want := range c.says {
			if p.code != 2 || !strings.Contains(p.err, want) {
				t.Errorf("%s: no %q in %d\n%s", c.args, want, p.code, p.err)
			}
		}
	}
	p := sluice(t, "", "proxy", "--config", config, "--listen", "0", "--dns-listen", "0", "--state-dir", filepath.Join(config, "nosuch"))
	if p.code != 1 || !strings.Contains(p.err, "--state-dir names a directory") {
		t.Errorf("%+v", p)
	}
}

func TestDNSIsAnsweredOnLoopbackAlone(t *testing.T) {
	t.Parallel()
	p := startProxy(t, "--dns-listen", "0")
	port := regexp.MustCompile(`answering DNS" address=127\.0\.0\.1:(\d+)`).FindStringSubmatch(strings.Join(p.log, "\n"))
	if port == nil {
		t.Fatalf("%v", p.log)
	}
	own := netip.MustParsePrefix("192.0.2.9/32")
	if err := p.Do(func() error { return lab.AddAddress("lo", own) }); err != nil {
		t.Fatal(err)
	}
	if c, err := p.Dial(t.Context(), "tcp", net.JoinHostPort(own.Addr().String(), port[1])); err == nil {
		c.Close()
		t.Error("anybody who reaches the pod can ask")
	}
}

func TestProxyShowsWhatItsWorkloadAsksDNS(t *testing.T) {
	t.Parallel()
	p := startProxy(t, "--dns-listen", "0", "--dns-policy", "registry-only", "--workload", "shop")
	p.routable(t)
	p.lookup(t, "udp", "web.example")
	p.lookup(t, "tcp", "attacker.example")
	got, err := p.scrape(t.Context(), "127.0.0.1:15090", "/metrics")
	for _, want := range []string{
		`sluice_dns_requests_total{rcode="NOERROR",source="registry",source_workload="shop",source_workload_namespace="default",transport="udp",type="A"} 1`,
		`sluice_dns_requests_total{rcode="NXDOMAIN",source="refused",source_workload="shop",source_workload_namespace="default",transport="tcp",type="A"} 1`,
		`sluice_dns_request_duration_seconds_count{source="registry",source_workload="shop",source_workload_namespace="default"} 1`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%v: %q is not in\n%s", err, want, got)
		}
	}
}
