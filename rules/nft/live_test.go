package nft_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/nft"
	"github.com/sluice-cni/sluice/rules/rulestest"
)

// applierEnv makes the test binary a process that applies plans until it is killed.
const applierEnv = "SLUICE_NFT_APPLIER"

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(applierEnv) != "":
		applyUntilKilled()
	case os.Getenv(agentEnv) != "":
		beAgent()
	case os.Getenv(zeroEnv) != "":
		beAtZero(os.Getenv(zeroEnv))
	}
	labtest.Main(m)
}

func TestOtherRangesTouchNoRuleAndNoConnection(t *testing.T) {
	t.Parallel()
	p := rulestest.NewPair(t)
	port := rulestest.Echo(t, p.Server, ":0", "there")
	rulestest.Echo(t, p.Pod, ":15001", "proxy")
	apply(t, p.Pod, rulestest.Plan(t, "includeIPRanges=10.50.0.1", "includeOutboundPorts=9"))
	before := handles(t, p.Pod)
	redirected, direct := dial(t, p.Pod, "10.50.0.1", port), dial(t, p.Pod, "fd50::1", port)

	other := rulestest.Plan(t, "includeIPRanges=fd50::1", "includeOutboundPorts=9", "excludeIPRanges=10.9.0.0/16")
	apply(t, p.Pod, other)
	if after := handles(t, p.Pod); after != before {
		t.Errorf("rules %s became %s", before, after)
	}
	if err := nft.Check(p.Pod.FD(), other); err != nil {
		t.Error(err)
	}
	for c, want := range map[net.Conn]string{redirected: "proxy", direct: "there"} {
		if who := rulestest.Ask(c); who != want {
			t.Errorf("the connection to %s: %s, want %s", c.RemoteAddr(), who, want)
		}
	}
	for host, want := range map[string]string{"10.50.0.1": "there", "fd50::1": "proxy"} {
		if who := rulestest.Ask(dial(t, p.Pod, host, port)); who != want {
			t.Errorf("a new connection to %s: %s, want %s", host, who, want)
		}
	}
}

// manyRanges holds the server and a lot of ranges that it is not in.
func manyRanges(t *testing.T, first int) rules.Plan {
	texts := []string{"10.50.0.1"}
	for i := range 10000 {
		texts = append(texts, fmt.Sprintf("%d.%d.%d.0/25", first+i>>16, i>>8&255, i&255))
	}
	return rulestest.Plan(t, "includeIPRanges="+strings.Join(texts, ","))
}

func TestTenThousandRangesAreReplacedUnderLoad(t *testing.T) {
	t.Parallel()
	labtest.NeedsOtherUsers(t) // only root may send so large a message
	p := rulestest.NewPair(t)
	port := rulestest.Echo(t, p.Server, ":0", "there")
	rulestest.Echo(t, p.Pod, ":15001", "proxy")
	plans := []rules.Plan{manyRanges(t, 20), manyRanges(t, 100)}
	apply(t, p.Pod, plans[0])
	old := map[net.Conn]string{dial(t, p.Pod, "10.50.0.1", port): "proxy", dial(t, p.Pod, "fd50::1", port): "there"}

	ctx, stop := context.WithCancel(context.Background())
	var made atomic.Int64
	var clients sync.WaitGroup
	for host, want := range map[string]string{"10.50.0.1": "proxy", "fd50::1": "there"} {
		clients.Go(func() {
			for ctx.Err() == nil {
				c, err := p.Pod.Dial(context.Background(), "tcp", net.JoinHostPort(host, port))
				if err != nil {
					t.Errorf("%s: %v", host, err)
					return
				}
				if who := rulestest.Ask(c); who != want {
					t.Errorf("a connection to %s: %s, want %s", host, who, want)
				}
				c.(*net.TCPConn).SetLinger(0)
				c.Close()
				made.Add(1)
			}
		})
	}
	for i := range 6 {
		apply(t, p.Pod, plans[(i+1)%2])
		for c, want := range old {
			if who := rulestest.Ask(c); who != want {
				t.Errorf("the old connection to %s: %s, want %s", c.RemoteAddr(), who, want)
			}
		}
	}
	stop()
	clients.Wait()
	if err := nft.Check(p.Pod.FD(), plans[0]); err != nil {
		t.Error(err)
	}
	t.Logf("%d connections meanwhile", made.Load())
}

func TestDisableEndsCaptureAndKeepsConnections(t *testing.T) {
	t.Parallel()
	p := rulestest.NewPair(t)
	port := rulestest.Echo(t, p.Server, ":0", "there")
	rulestest.Echo(t, p.Pod, ":15001", "proxy")
	whole := rulestest.Plan(t, "dnsCapture=true", "includeOutboundPorts=1-65535", "includeInboundPorts=*")
	for range 2 {
		apply(t, p.Pod, whole)
		redirected := dial(t, p.Pod, "10.50.0.1", port)
		for range 2 {
			if err := nft.Disable(p.Pod.FD()); err != nil {
				t.Fatal(err)
			}
		}
		if who := rulestest.Ask(redirected); who != "proxy" {
			t.Errorf("the redirected connection: %s", who)
		}
		for _, host := range []string{"10.50.0.1", "fd50::1"} {
			if who := rulestest.Ask(dial(t, p.Pod, host, port)); who != "there" {
				t.Errorf("a new connection to %s: %s", host, who)
			}
		}
		if err := nft.Check(p.Pod.FD(), whole); err == nil || !strings.Contains(err.Error(), "capture is disabled") {
			t.Errorf("check: %v", err)
		}
	}
	apply(t, p.Pod, whole)
	if err := nft.Check(p.Pod.FD(), whole); err != nil {
		t.Error(err)
	}
	if err := nft.Disable(labtest.New(t).FD()); err != nil {
		t.Errorf("without any rules: %v", err)
	}
}

func TestWhatWasAppliedCanBeReadBack(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	if _, found, err := nft.Stored(ns.FD()); found || err != nil {
		t.Errorf("without rules: %t, %v", found, err)
	}
	var many []string
	for i := range 2000 {
		many = append(many, fmt.Sprintf("10.%d.%d.0/25", i>>8, i&255))
	}
	for _, p := range []rules.Plan{rulestest.Plan(t), full(t), running(t, "includeIPRanges="+strings.Join(many, ","))} {
		apply(t, ns, p)
		c, found, err := nft.Stored(ns.FD())
		if err != nil || !found || c.Hash() != p.Hash {
			t.Errorf("%t, %v", found, err)
		}
		if err := nft.Check(ns.FD(), p); err != nil {
			t.Error(err)
		}
	}
	rulestest.Tamper(t, ns, func(c *nftables.Conn) error {
		c.FlushChain(&nftables.Chain{Name: "applied", Table: &nftables.Table{Name: "sluice", Family: nftables.TableFamilyINet}})
		return nil
	})
	if _, _, err := nft.Stored(ns.FD()); err == nil || !strings.Contains(err.Error(), "holds no configuration that can be read back") {
		t.Errorf("after it was flushed: %v", err)
	}
}

func TestWithoutHeartbeatsTrafficGoesDirect(t *testing.T) {
	t.Parallel()
	p := rulestest.NewPair(t)
	port := rulestest.Echo(t, p.Server, ":0", "there")
	rulestest.Echo(t, p.Pod, ":15001", "proxy")
	const timeout = 500 * time.Millisecond
	gated, err := rules.NewPlan(rulestest.Config(t, "failurePolicy=bypass"), rules.Gated(timeout))
	if err != nil {
		t.Fatal(err)
	}
	who := func() string { return rulestest.Ask(dial(t, p.Pod, "10.50.0.1", port)) }
	apply(t, p.Pod, gated)
	if got := who(); got != "proxy" {
		t.Errorf("right after it was applied: %s", got)
	}
	await.True(t, "the gate to open", func() bool { return who() == "there" })
	if refused(t, p.Pod, "udp", "10.50.0.1", "443") {
		t.Error("UDP is refused while nobody is there")
	}
	for range 3 { // again and again: a heartbeat must refresh those that are there
		if err := nft.Beat(p.Pod.FD(), 10*time.Second); err != nil {
			t.Fatal(err)
		}
		if got := who(); got != "proxy" {
			t.Errorf("after a heartbeat: %s", got)
		}
	}
	if !refused(t, p.Pod, "udp", "10.50.0.1", "443") {
		t.Error("UDP goes out past a proxy that is there")
	}
	if err := nft.Check(p.Pod.FD(), gated); err != nil {
		t.Error(err)
	}
	if err := nft.Beat(labtest.New(t).FD(), timeout); err == nil {
		t.Error("a heartbeat without rules succeeds")
	}
	if _, err := rules.NewPlan(rules.Default(), rules.Gated(timeout)); err == nil {
		t.Error("a heartbeat under block is accepted")
	}
}

// applyUntilKilled applies plans in turn to the namespace that is descriptor 3.
func applyUntilKilled() {
	for i := 0; ; i++ {
		c := rules.Default()
		c.DNSCapture = i%2 == 0
		c.ExcludeOutboundPorts = rules.Ports{{First: uint16(i%7 + 1), Last: 100}}
		p, err := rules.NewPlan(c)
		if err == nil {
			err = nft.Apply(3, p)
		}
		if err == nil && i%5 == 4 {
			err = nft.Disable(3)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if i == 0 {
			fmt.Println("began")
		}
	}
}

func TestKilledAnywhereApplyAgainIsOneApply(t *testing.T) {
	t.Parallel()
	ns := labtest.New(t)
	file := os.NewFile(uintptr(dup(t, ns.FD())), "namespace")
	defer file.Close()
	wanted := full(t)
	for range 12 {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), applierEnv+"=1")
		cmd.ExtraFiles = []*os.File{file}
		var log strings.Builder
		cmd.Stderr = &log
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		out.Read(make([]byte, 8))
		unix.Poll(nil, rand.IntN(12)) // anywhere in what it does
		cmd.Process.Kill()
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() == 1 {
			t.Fatalf("the process ended by itself: %v %s", err, log.String())
		}
		apply(t, ns, wanted)
		if err := nft.Check(ns.FD(), wanted); err != nil {
			t.Fatal(err)
		}
	}
}

func dup(t testing.TB, fd int) int {
	t.Helper()
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
